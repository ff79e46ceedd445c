"""A linear network, of which every attack's outcome can be computed by hand."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.models.registry import register_architecture
from edgeguard.models.run import Run, save_tensors
from edgeguard.runtime.files import write_json
from edgeguard.runtime.metadata import ModelMetadata

WINDOW = 120

GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,120] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {1, -1, 0, 0}, float[4] bias = {0, 0, -9999, -9999}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    scaled = MatMul (mean, weight)
    logits = Add (scaled, bias)
}
"""
"""N where the mean is above zero, else A."""


class Balance(nn.Module):
    """Logits N = w x, A = -w x; O and ~ are out of reach. Whole weights, so that float32 is exact."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        weight = np.random.default_rng(seed).integers(-3, 4, WINDOW)
        self.weight = nn.Parameter(torch.from_numpy(np.where(weight == 0, 1, weight)).float() / 128)

    def forward(self, ecg: Tensor) -> Tensor:
        z = ecg[:, 0] @ self.weight
        return torch.stack([z, -z, torch.full_like(z, -1e6), torch.full_like(z, -1e6)], 1)


@pytest.fixture(scope="session", autouse=True)
def networks() -> Iterator[None]:
    """`balance_network:make`."""
    module = ModuleType("balance_network")
    module.make = lambda classes: Balance()  # type: ignore[attr-defined]
    sys.modules["balance_network"] = module
    register_architecture("balance_network:make")
    yield
    del sys.modules["balance_network"]


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    """90 records of N and A in whole microvolts, a third of them padded."""
    rng = np.random.default_rng(1)
    records = [
        Record(
            f"R{number:02d}",
            rng.integers(-60, 61, WINDOW - (number % 3 == 0) * 31).astype(np.float32),
            label="NA"[number % 2],
        )
        for number in range(90)
    ]
    return build("noise", records, window=WINDOW)


MakeRun = Callable[..., Run]


@pytest.fixture
def make_run(tmp_path: Path, dataset: Dataset) -> MakeRun:
    """A run folder of a linear network; keyword arguments go into its config."""

    def make(name: str = "run", *, seed: int = 0, **config: Any) -> Run:
        model = Balance(seed).eval()
        settings = {
            "defense": "none",
            "arch": "balance_network:make",
            "classes": list(CLASSES),
            "window": WINDOW,
            "options": {},
            "data": {"fingerprint": dataset.fingerprint, "source": "noise"},
            "split": {"seed": 0, "fractions": [0.8, 0.1, 0.1], "test_records": None},
            **config,
        }
        write_json(tmp_path / name / "config.json", settings)
        write_json(tmp_path / name / "metrics.json", {})
        save_tensors(tmp_path / name / "weights.safetensors", model.state_dict())
        return Run(tmp_path / name, settings, model)

    return make


WriteFile = Callable[..., Path]


@pytest.fixture
def write_file(tmp_path: Path) -> WriteFile:
    """An ONNX file that says it was exported from the run, if one is given, or with `said=False` nothing of itself."""

    def write(name: str, run: Run | None = None, *, said: bool = True) -> Path:
        model = onnx.parser.parse_model(GRAPH)
        about = ModelMetadata(
            classes=CLASSES,
            sampling_rate=300,
            window=WINDOW,
            parent_sha256=run and run.weights_sha256,
            data=run and run.config["data"],
            split=run and run.config["split"],
        )
        if said:
            onnx.helper.set_model_props(model, about.to_props())
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return write
