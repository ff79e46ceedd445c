"""A small run that tells four waves apart, with its records in a folder and its int8 file beside it."""

from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.dataset import build
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.ecg.split import split
from edgeguard.export.exporter import export_run
from edgeguard.export.int8_file import Int8Options
from edgeguard.models.edge import EdgeNet, edge_s
from edgeguard.models.run import Run, save_tensors
from edgeguard.runtime.files import write_json

WINDOW = 2400
FRACTIONS = (0.4, 0.2, 0.4)

MEANS = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,2400] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {1, -1, 0.5, -0.5}, float factor = {FACTOR}, float[4] bias = {0, 0, -1, -1}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    scaled = MatMul (mean, weight)
    moved = Add (scaled, bias)
    logits = Mul (moved, factor)
}
"""
FACTS = {"sampling_rate": 300.0, "unit": "uV", "classes": ["N", "A", "O", "~"]}
"""Of the file that `float_file` writes."""


def wave_records(count: int, *, seed: int = 0) -> list[Record]:
    """Records in whole microvolts, the classes in turn: waves of four frequencies in noise, some short."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(count):
        length = (WINDOW, WINDOW + 100, WINDOW - 301)[number % 3]
        wave = 400 * np.sin(np.arange(length) * (0.03, 0.1, 0.25, 0.6)[number % 4] + rng.uniform(0, 6))
        ecg = np.rint(wave + rng.normal(0, 40, length)).astype(np.float32)
        records.append(Record(f"R{seed}{number:03d}", ecg, label="NAO~"[number % 4]))
    return records


def make_wave_run(folder: Path, *, count: int = 72) -> tuple[Path, Path]:
    """(run folder with an int8 file, folder of its records) below `folder`; 40 % of the records are test records."""
    records = wave_records(count)
    write_cinc(folder / "waves", records)
    dataset = build("waves", records, window=WINDOW)
    parts = split(dataset, seed=0, fractions=FRACTIONS)
    network = _fitted(torch.from_numpy(dataset.batch(parts.train)[0]), torch.from_numpy(dataset.labels[parts.train]))
    config = {
        "defense": "none",
        "arch": "edge-s",
        "seed": 0,
        "classes": list(CLASSES),
        "window": WINDOW,
        "sampling_rate": 300.0,
        "options": {"data": str(folder / "waves")},
        "data": {"fingerprint": dataset.fingerprint, "source": "waves", "records": count},
        "split": {"seed": 0, "fractions": list(FRACTIONS), "test_records": None},
    }
    run = Run(folder / "wave-edge-s", config, network)
    write_json(run.path / "config.json", config)
    write_json(run.path / "metrics.json", {})
    save_tensors(run.path / "weights.safetensors", network.state_dict())
    made = export_run(run, dataset, parts, int8=True, options=Int8Options(windows=16), say=lambda line: None)
    made.fp32.unlink()
    for golden in made.golden:
        golden.unlink()
    return run.path, folder / "waves"


def float_file(folder: Path, factor: float = 1.0) -> Path:
    """A foreign file that says nothing of itself: logits from the mean of the window, times a factor."""
    path = folder / "foreign.onnx"
    onnx.save(onnx.parser.parse_model(MEANS.replace("FACTOR", str(factor))), path)
    return path


def _fitted(ecg: Tensor, labels: Tensor) -> EdgeNet:
    """An edge-s whose batch statistics are those of the records, and whose head is fitted by least squares."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = edge_s()
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.weight.data.uniform_(0.7, 1.4)
                layer.bias.data.normal_(0, 0.2)
    features: list[Tensor] = []
    hook = network.pool.register_forward_hook(lambda _m, _i, out: features.append(out[..., 0]))
    with torch.no_grad():
        for _ in range(20):
            network.train()(ecg)
        features.clear()
        network.eval()(ecg)
        inputs = torch.cat([features[0], torch.ones(len(ecg), 1)], 1).double()
        wanted = 10 * nn.functional.one_hot(labels, 4).double() - 5
        regular = inputs.T @ inputs + 1e-2 * torch.eye(inputs.shape[1])
        head = torch.linalg.solve(regular, inputs.T @ wanted).float()
        network.head.weight.copy_(head[:-1].T)
        network.head.bias.copy_(head[-1])
    hook.remove()
    return network.eval()
