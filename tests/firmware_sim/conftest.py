"""A classifier whose logits can be worked out by hand: each is the window's mean, scaled and shifted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from edgeguard.ecg.record import CLASSES
from edgeguard.runtime.metadata import ModelMetadata

WEIGHT = np.array([-1.0, 1.0, 0.0, 0.25])
BIAS = np.array([0.0, 0.0, 5.0, 1.0])
GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,60] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {-1, 1, 0, 0.25}, float[4] bias = {0, 0, 5, 1}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    scaled = MatMul (mean, weight)
    logits = Add (scaled, bias)
}
"""


class MeanModel:
    """The classifier without a file; keeps the windows that it was given."""

    classes = CLASSES

    def __init__(self, window: int = 60, sampling_rate: float = 20.0) -> None:
        self.window = window
        self.sampling_rate = sampling_rate
        self.seen: list[np.ndarray] = []

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        assert ecg.shape == (1, 1, self.window) and ecg.dtype == np.float32
        self.seen.append(ecg[0, 0].copy())
        return np.float32(WEIGHT * ecg[0, 0].astype(np.float64).mean() + BIAS)[None]


@pytest.fixture(scope="session")
def make_model() -> type[MeanModel]:
    return MeanModel


@pytest.fixture
def mean_logits() -> Callable[[np.ndarray], np.ndarray]:
    """float64 [4] of a window, by the formula."""
    return lambda window: WEIGHT * window.astype(np.float64).mean() + BIAS


@pytest.fixture
def mean_file(tmp_path: Path) -> Path:
    """The classifier as an ONNX file: 60 samples at 20 Hz."""
    model = onnx.parser.parse_model(GRAPH)
    facts = ModelMetadata(classes=CLASSES, sampling_rate=20.0, window=60)
    onnx.helper.set_model_props(model, facts.to_props())
    onnx.save(model, tmp_path / "mean.onnx")
    return tmp_path / "mean.onnx"


@pytest.fixture
def ecg() -> np.ndarray:
    """25 s at 20 Hz of slow waves; their mean over a window crosses the borders between classes."""
    rng = np.random.default_rng(0)
    return (20 * np.sin(np.arange(500) / 40) + rng.normal(0, 3, 500)).astype(np.float32)
