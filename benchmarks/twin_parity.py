"""Claim: the twin is the file. Its logits equal ONNX Runtime's, bit for bit, on 99.9 % of rows; others by one step.

Rows of the zoo's int8 `edge-m` (10,000), of a `cnn13` with random weights (64) and of files that torch's exporters and
ONNX Runtime's quantiser made (1,000 each): records, adversarial ones that were crafted through the twin, uniform
noise, and points on decision boundaries, where a single step decides. The logits of a quantised file are whole steps
of its last codes, or sums of them in float: "apart" is the largest difference over the logits' range. A file that
quantises nothing is float throughout; there 1e-5 of the range is the bar.

    EDGEGUARD_CINC2017=training2017.zip python benchmarks/twin_parity.py [--small]

Without records, synthetic ones; --small takes a fiftieth of the rows.
"""

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from onnx import helper

from edgeguard.attacks.gradient import pgd, sap
from edgeguard.attacks.losses import margin
from edgeguard.ecg.record import CLASSES
from edgeguard.ecg.sources import load_dataset
from edgeguard.export.calibrate import minmax, observe
from edgeguard.export.float_graph import export_float
from edgeguard.export.quantize import quantize
from edgeguard.export.twin import Twin, build_twin
from edgeguard.models.cnn13 import CNN13
from edgeguard.models.registry import build
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import OnnxModel, open_model

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
from foreign_graphs import FOREIGN, make, rows

NAME = "adt-edge-m"
ZOO = Path(__file__).parents[1] / "models" / "zoo"
ROWS, CNN13_ROWS, FOREIGN_ROWS = 10_000, 64, 1_000
BAR, FLOAT_BAR = 0.999, 1e-5
HALVINGS = 14
WINDOW = 9000


@dataclass(frozen=True)
class Effort:
    """What the rows of one file may cost.

    Attributes:
        adversarial: share of adversarial rows.
        steps: gradient steps for each of them.
        batch: windows that go through the twin together.
    """

    adversarial: float = 0.2
    steps: int = 6
    batch: int = 32


LARGE = Effort(adversarial=0.1, steps=2, batch=2)


def main(share: float) -> None:
    """Print a line for every file and kind of row."""
    torch.set_num_threads(1)
    windows = _records(int(ROWS * share))
    print(f"{'file':<32} {'rows':<14} {'equal':>15} {'apart':>9} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as folder:
        edge = open_model(ZOO / NAME / f"{NAME}-int8.onnx")
        _report(NAME, edge, windows, int(ROWS * share))
        count = max(10, int(CNN13_ROWS * share))
        large = open_model(_cnn13(windows[:4], Path(folder)))
        _report("cnn13, random weights", large, windows[:count], count, effort=LARGE)
        for name in FOREIGN:
            path = make(name, Path(folder))
            model = open_model(path, sampling_rate=300, unit=FOREIGN[name].unit, classes="NAO~")
            count = int(FOREIGN_ROWS * share)
            _report(name, model, rows(count, seed=3), count, quantised=FOREIGN[name].quantiser is not None)


def _report(
    name: str,
    model: OnnxModel,
    windows: np.ndarray,
    count: int,
    *,
    effort: Effort | None = None,
    quantised: bool = True,
) -> None:
    effort, twin = effort or Effort(), build_twin(model)
    total = equal = 0
    worst = 0.0
    for kind, ecg in _kinds(model, twin, windows, count, effort):
        begin = perf_counter()
        want = model.logits(ecg)
        with torch.no_grad():
            got = np.concatenate([twin(torch.from_numpy(part)).numpy() for part in _parts(ecg, effort.batch)])
        same = int((want == got).all(axis=1).sum())
        apart = float(np.abs(want - got).max() / max(np.ptp(want), 1e-9))
        total, equal, worst = total + len(ecg), equal + same, max(worst, apart)
        _line(name, kind, same, len(ecg), apart, f"{perf_counter() - begin:8.1f}")
    holds = equal >= BAR * total if quantised else worst <= FLOAT_BAR
    _line(name, "all", equal, total, worst, "   holds" if holds else "   DOES NOT HOLD")


def _line(name: str, kind: str, equal: int, count: int, apart: float, last: str) -> None:
    print(f"{name:<32} {kind:<14} {equal:>7,}/{count:<7,} {apart:>9.1e} {last}", flush=True)


def _kinds(
    model: OnnxModel, twin: Twin, windows: np.ndarray, count: int, effort: Effort
) -> Iterator[tuple[str, np.ndarray]]:
    """(kind, ecg [B, 1, T]), `count` rows in all."""
    rng = np.random.default_rng(0)
    attacked, noisy, boundary = int(effort.adversarial * count), count // 5, count // 5
    chosen = np.resize(np.arange(len(windows)), count)
    yield "records", windows[chosen[: count - attacked - noisy - boundary]]
    yield (
        "adversarial",
        np.concatenate(
            [_attacked(twin, part, effort.steps) for part in _parts(windows[chosen[-attacked:]], effort.batch)]
        ),
    )
    scale = 10 ** rng.uniform(0.5, 3.7, (noisy, 1, 1))
    yield "noise", np.rint(rng.uniform(-1, 1, (noisy, *windows.shape[1:])) * scale).astype(np.float32)
    yield "boundaries", _boundaries(model, windows, boundary, rng)


def _attacked(twin: Twin, ecg: np.ndarray, steps: int) -> np.ndarray:
    """The first half by PGD, the other by SAP, through the twin, in whole microvolts."""
    clean = torch.from_numpy(ecg)
    with torch.no_grad():
        labels = twin(clean).argmax(1)
    mask, half = torch.ones_like(clean, dtype=torch.bool), len(clean) // 2
    first, second = slice(half), slice(half, None)
    by_pgd = pgd(twin, clean[first], labels[first], mask[first], eps=25, alpha=8, steps=steps, loss=margin)
    by_sap = sap(
        twin, clean[second], labels[second], mask[second], eps=25, alpha=8, steps=steps // 2, smooth_steps=steps // 2
    )
    return torch.cat([by_pgd, by_sap]).round().numpy()


def _boundaries(model: OnnxModel, windows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Points between two windows of different class, next to where the class changes; on this side and on that."""
    labels = model.labels(windows)
    first = rng.integers(0, len(windows), count)
    second = np.array([rng.choice(np.flatnonzero(labels != labels[one]), 1) for one in first])[:, 0]
    low, high = np.zeros((count, 1, 1)), np.ones((count, 1, 1))

    def between(share: np.ndarray) -> np.ndarray:
        return (windows[first] * (1 - share) + windows[second] * share).astype(np.float32)

    for _ in range(HALVINGS):
        middle = (low + high) / 2
        stays = (model.labels(between(middle)) == labels[first])[:, None, None]
        low, high = np.where(stays, middle, low), np.where(stays, high, middle)
    return between(np.where(rng.random((count, 1, 1)) < 0.5, low, high))


def _parts(ecg: np.ndarray, size: int) -> list[np.ndarray]:
    return [ecg[start : start + size] for start in range(0, len(ecg), size)]


def _records(count: int) -> np.ndarray:
    """float32 [N, 1, 9000] microvolts, at most `count` different ones."""
    named = os.environ.get("EDGEGUARD_CINC2017")
    dataset = load_dataset(named or f"synthetic:{min(count, 1_600)}")
    order = np.random.default_rng(1).permutation(len(dataset))[:count]
    return dataset.batch(order)[0]


def _cnn13(windows: np.ndarray, folder: Path) -> Path:
    """An int8 file of a network whose normalisation has seen a few windows, and whose classes are equally likely."""
    network = build("cnn13", seed=0).train()
    assert isinstance(network, CNN13)
    with torch.no_grad():
        for part in _parts(windows, 2):
            network(torch.from_numpy(part))
        network.head.bias -= network.eval()(torch.from_numpy(windows)).mean(0)
    graph = export_float(network.eval(), window=WINDOW)
    ranges = {name: minmax(histogram) for name, histogram in observe(graph, list(windows[:2, None])).items()}
    model = quantize(graph, ranges)
    about = ModelMetadata(classes=CLASSES, sampling_rate=300.0, window=WINDOW, unit="uV")
    helper.set_model_props(model, about.to_props())
    path = folder / "cnn13.onnx"
    path.write_bytes(model.SerializeToString())
    return path


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if sys.argv[1:] not in ([], ["--small"]):
        sys.exit(__doc__)
    main(0.02 if sys.argv[1:] else 1.0)
