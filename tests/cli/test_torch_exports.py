"""Networks as `torch.onnx.export` writes them with nothing but an example input, in the commands that open files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor, nn

from edgeguard.evaluation.sources import Source, check_agreement
from edgeguard.evaluation.subject import file_subject
from edgeguard.export.twin import build_twin
from edgeguard.runtime.session import open_model

Call = Callable[..., Result]

WINDOW = 9000
FACTS = ("--classes", "N,A,O,~", "--unit", "uV", "--sampling-rate", 300)


class Scaled(nn.Module):
    """Millivolts of microvolts."""

    def forward(self, ecg: Tensor) -> Tensor:
        return ecg / 1000


class Rows(nn.Module):
    """As many rows as it was exported with, written into the graph: it cannot run another number of them."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(self.rows * 4, -1).mean(1).reshape(self.rows, 4)


def pooled(rows: int) -> nn.Module:
    """Ends in AdaptiveAvgPool1d, Flatten, Linear, as most networks do."""
    return nn.Sequential(
        Scaled(),
        nn.Conv1d(1, 8, 15, stride=8),
        nn.BatchNorm1d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    )


def insisting(rows: int) -> nn.Module:
    return nn.Sequential(Scaled(), nn.Conv1d(1, 4, 15, stride=8, padding=7), nn.Tanh(), Rows(rows))


FORMS = {
    "pooled-1": (pooled, 1, True),
    "pooled-3": (pooled, 3, True),
    "pooled-script": (pooled, 1, False),
    "insisting-1": (insisting, 1, True),
    "insisting-3": (insisting, 3, True),
}
"""Name -> network, rows of the example, whether by torch's default exporter or by TorchScript."""


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Name -> file; its weights in a file beside it, where the exporter puts them there."""
    folder, made = tmp_path_factory.mktemp("exports"), {}
    for name, (network, rows, default) in FORMS.items():
        torch.manual_seed(0)
        made[name] = folder / f"{name}.onnx"
        options: dict[str, Any] = {} if default else {"dynamo": False, "opset_version": 17}
        torch.onnx.export(network(rows).eval(), (torch.zeros(rows, 1, WINDOW),), made[name], verbose=False, **options)
    return made


@pytest.mark.parametrize("name", FORMS)
def test_the_twin_is_the_file_in_any_number_of_rows(exports: dict[str, Path], name: str) -> None:
    file = open_model(exports[name], classes="NAO~", unit="uV", sampling_rate=300)
    ecg = np.random.default_rng(0).normal(0, 300, (7, 1, WINDOW)).astype(np.float32)
    twin = build_twin(file)
    check_agreement(Source("twin", twin, name), file_subject(file), ecg)
    rows = torch.from_numpy(ecg).requires_grad_(True)
    twin(rows)[:, 0].sum().backward()
    assert rows.grad is not None and (rows.grad.flatten(1) != 0).any(1).all()
    # One row alone has the gradient that it has among others.
    alone = torch.from_numpy(ecg[4:5]).requires_grad_(True)
    twin(alone)[:, 0].sum().backward()
    assert alone.grad is not None
    torch.testing.assert_close(alone.grad, rows.grad[4:5])


@pytest.mark.parametrize("name", FORMS)
def test_it_is_verified_and_evaluated(edgeguard: Call, exports: dict[str, Path], name: str) -> None:
    verified = edgeguard("verify", exports[name], *FACTS, "--rows", 8, "--json")
    assert verified.exit_code == 0, verified.output
    rungs = {rung["name"]: rung["holds"] for rung in json.loads(verified.stdout)["rungs"]}
    assert rungs["twin"] is True
    short = ("--data", "synthetic:8", "--attack", "clean,pgd", "--steps", 2, "--alpha", 5, "--no-checks", "--json")
    evaluated = edgeguard("evaluate", exports[name], *FACTS, *short)
    assert evaluated.exit_code == 0, evaluated.output
    assert [attack["gradient"] for attack in json.loads(evaluated.stdout)["attacks"]] == [None, "twin"]


def test_it_is_audited(edgeguard: Call, exports: dict[str, Path], tmp_path: Path) -> None:
    """Eight records decide nothing; but every section has its findings."""
    short = ("--data", "synthetic:8", "--quick", "--limit", 8, "--out", tmp_path / "audit", "--json")
    audited = edgeguard("audit", exports["pooled-1"], *FACTS, *short)
    assert audited.exit_code == 0, audited.output
    report = json.loads(audited.stdout)
    assert report["verdict"] == "reported" and report["export"]["verdict"] == "not judged"
    assert report["required"] == ["robustness"] and (tmp_path / "audit" / "report.html").is_file()
    assert {row["form"] for row in report["scores"]} == {"fp32"}
