"""The judge of calibration candidates, on a network small enough to count by hand what it must say."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper, parser
from torch import nn

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import Record
from edgeguard.ecg.split import Split, split
from edgeguard.errors import InputError
from edgeguard.evaluation import calibration
from edgeguard.evaluation.calibration import calibration_score
from edgeguard.models.run import Run
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import open_model

WINDOW = 300
GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
agraph (float[batch,1,300] ecg) => (float[batch,4] logits) {
    %s
    features = Conv <strides = [3]> (heard, weight, bias)
    positive = Relu (features)
    pooled = GlobalAveragePool (positive)
    flat = Flatten (pooled)
    logits = Gemm <transB = 1> (flat, head, offset)
}
"""


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """80 records: four heights of a wave, one a class."""
    rng = np.random.default_rng(0)
    wave = np.sin(np.arange(WINDOW) / 5)
    records = [
        Record(
            f"R{i:02d}",
            np.rint((60 + 80 * (i % 4)) * wave + rng.normal(0, 20, WINDOW)).astype(np.float32),
            label="NAO~"[i % 4],
        )
        for i in range(80)
    ]
    return build("waves", records, window=WINDOW)


@pytest.fixture(scope="module")
def parts(dataset: Dataset) -> Split:
    return split(dataset, seed=0, fractions=(0.4, 0.5, 0.1))


@pytest.fixture(scope="module")
def run(dataset: Dataset) -> Run:
    """Features, their mean over time, and a head fitted by least squares."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(
            nn.Conv1d(1, 8, 7, 3), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 4)
        )
    ecg, _, labels = dataset.batch(np.arange(len(dataset)))
    with torch.no_grad():
        features = network[:4](torch.from_numpy(ecg))
        inputs = torch.cat([features, torch.ones(len(ecg), 1)], 1)
        head = torch.linalg.lstsq(inputs, nn.functional.one_hot(torch.from_numpy(labels), 4).float()).solution
        network[4].weight.copy_(head[:-1].T)
        network[4].bias.copy_(head[-1])
    return Run(Path("nowhere"), {}, network.eval())


def write(run: Run, path: Path, *, first: str = "heard = Identity (ecg)") -> Path:
    """The network as a file; `first` is what stands before it."""
    graph = parser.parse_model(GRAPH % first)
    network = run.model
    assert isinstance(network, nn.Sequential)
    tensors = {
        "weight": network[0].weight,
        "bias": network[0].bias,
        "head": network[4].weight,
        "offset": network[4].bias,
    }
    for name, tensor in tensors.items():
        graph.graph.initializer.append(numpy_helper.from_array(tensor.detach().numpy(), name))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(120.0, np.float32), "step"))
    graph.graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), "zero"))
    about = ModelMetadata(classes=("N", "A", "O", "~"), sampling_rate=300.0, window=WINDOW)
    for key, value in about.to_props().items():
        graph.metadata_props.add(key=key, value=value)
    onnx.save(graph, path)
    return path


COARSE = """
    codes = QuantizeLinear (ecg, step, zero)
    heard = DequantizeLinear (codes, step, zero)
"""


def test_clean_counts_are_those_of_the_file_and_agreement_is_with_the_network(
    run: Run, dataset: Dataset, parts: Split, tmp_path: Path
):
    score = calibration_score(run.model, dataset, parts.validation, records=1000, eps=10)
    ecg, _, labels = dataset.batch(np.sort(parts.validation))
    with torch.no_grad():
        named = run.model(torch.from_numpy(ecg)).argmax(1).numpy()
    same, coarse = write(run, tmp_path / "same.onnx"), write(run, tmp_path / "coarse.onnx", first=COARSE)
    for path in (same, coarse):
        got, predicted = score(path), open_model(path).labels(ecg)
        assert got.n == len(labels) == 40
        assert got.clean == (predicted == labels).sum()
        assert got.agreement == (predicted == named).sum()
        assert got.worst <= got.clean
    assert score(same).agreement == 40 > score(coarse).agreement


def test_the_stronger_the_attack_the_fewer_withstand(run: Run, dataset: Dataset, parts: Split, tmp_path: Path):
    path = write(run, tmp_path / "same.onnx")
    found = {eps: calibration_score(run.model, dataset, parts.validation, eps=eps)(path) for eps in (0.0, 1.0, 10.0)}
    assert found[0].worst == found[0].clean > 20
    assert found[10].worst < found[1].worst <= found[0].worst and found[10].worst <= 5
    assert len({each.clean for each in found.values()}) == 1


def test_the_twin_of_the_file_finds_what_the_float_network_does_not(
    run: Run, dataset: Dataset, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Attacks that are blind in the float network leave the worst case to the twin."""
    path = write(run, tmp_path / "same.onnx")
    blind = nn.Sequential(nn.Flatten(), nn.Linear(WINDOW, 4))
    nn.init.zeros_(blind[1].weight)
    by_twin = calibration_score(blind.eval(), dataset, parts.validation, eps=60)(path)
    monkeypatch.setattr(calibration, "build_twin", lambda path: blind)
    by_none = calibration_score(blind.eval(), dataset, parts.validation, eps=60)(path)
    assert by_twin.worst < by_none.worst == by_none.clean == by_twin.clean


def test_records_are_a_stratified_part_of_the_validation_part(
    run: Run, dataset: Dataset, parts: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    seen: list[np.ndarray] = []
    batch = Dataset.batch
    monkeypatch.setattr(Dataset, "batch", lambda self, index: seen.append(index) or batch(self, index))
    score = calibration_score(run.model, dataset, parts.validation, records=12)
    index = np.concatenate(seen)
    assert np.isin(index, parts.validation).all() and np.bincount(dataset.labels[index]).tolist() == [3, 3, 3, 3]
    assert score(write(run, tmp_path / "same.onnx")).n == 12


def test_a_file_without_a_twin_is_refused_with_a_way_out(run: Run, dataset: Dataset, parts: Split, tmp_path: Path):
    path = write(run, tmp_path / "odd.onnx", first="heard = Sinh (ecg)")
    score = calibration_score(run.model, dataset, parts.validation, records=4)
    with pytest.raises(InputError, match=r"Sinh.*; or name a method: --calibration percentile:99.99"):
        score(path)
