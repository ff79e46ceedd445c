"""A network that tells four rhythms apart, and its export, made once."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import ModelProto
from torch import Tensor, nn

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.ecg.split import Split, split
from edgeguard.export.exporter import Exported, export_run
from edgeguard.export.float_graph import export_float
from edgeguard.export.int8_file import Int8Options
from edgeguard.models.edge import EdgeNet, edge_s
from edgeguard.models.run import Run, save_tensors
from edgeguard.runtime.files import write_json

WINDOW = 2400


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """80 records, twenty a class: waves of four frequencies in noise, some shorter than the window."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(80):
        length = (WINDOW, WINDOW + 100, WINDOW - 301)[number % 3]
        wave = 400 * np.sin(np.arange(length) * (0.03, 0.1, 0.25, 0.6)[number % 4] + rng.uniform(0, 6))
        ecg = np.rint(wave + rng.normal(0, 40, length)).astype(np.float32)
        records.append(Record(f"R{number:02d}", ecg, label="NAO~"[number % 4]))
    return build("waves", records, window=WINDOW)


@pytest.fixture(scope="session")
def parts(dataset: Dataset) -> Split:
    return split(dataset, seed=0, fractions=(0.7, 0.2, 0.1))


@pytest.fixture(scope="session")
def model(dataset: Dataset) -> EdgeNet:
    """An edge-s with batch statistics of its own and a head fitted by least squares, in eval mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = edge_s()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.weight.data.uniform_(0.7, 1.4)
                layer.bias.data.normal_(0, 0.2)
    ecg = torch.from_numpy(dataset.batch(np.arange(len(dataset)))[0])
    features: list[Tensor] = []
    network.pool.register_forward_hook(lambda _m, _i, out: features.append(out[..., 0]))
    with torch.no_grad():
        for _ in range(30):
            network.train()(ecg)
        features.clear()
        network.eval()(ecg)
        inputs = torch.cat([features[0], torch.ones(len(ecg), 1)], 1).double()
        wanted = 10 * nn.functional.one_hot(torch.from_numpy(dataset.labels), 4).double() - 5
        regular = inputs.T @ inputs + 1e-3 * torch.eye(inputs.shape[1])
        head = torch.linalg.solve(regular, inputs.T @ wanted).float()
        network.head.weight.copy_(head[:-1].T)
        network.head.bias.copy_(head[-1])
    network.pool._forward_hooks.clear()
    return network.eval()


@pytest.fixture(scope="session")
def graph(model: EdgeNet) -> ModelProto:
    """The float graph; whoever changes it works on a copy."""
    return export_float(model, window=WINDOW)


@pytest.fixture(scope="session")
def run(model: EdgeNet, dataset: Dataset, parts: Split, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder of the network."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    config = {
        "defense": "adt",
        "arch": "edge-s",
        "seed": 7,
        "classes": list(CLASSES),
        "window": WINDOW,
        "sampling_rate": 300.0,
        "data": {"fingerprint": dataset.fingerprint, "source": "waves", "records": 80},
        "split": {"seed": 0, "fractions": list(parts.fractions), "test_records": None},
    }
    write_json(folder / "config.json", config)
    save_tensors(folder / "weights.safetensors", model.state_dict())
    return Run(folder, config, model)


@pytest.fixture(scope="session")
def exported(
    run: Run, dataset: Dataset, parts: Split, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Exported, list[str]]:
    """Both files, and what was said meanwhile."""
    said: list[str] = []
    out: Path = tmp_path_factory.mktemp("exported")
    options = Int8Options(windows=21)
    return export_run(run, dataset, parts, int8=True, out=out, options=options, seed=3, say=said.append), said
