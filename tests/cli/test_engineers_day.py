"""A colleague's network of another rate, unit and class list: exported, quantised, verified, audited, played.

Facts are given once, to the first command; the quantised file carries them to the others.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import nn

from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.sources import iter_records, load_dataset
from edgeguard.evaluation.audit import run as audit_run
from edgeguard.runtime import loading

Call = Callable[..., Result]

RATE, WINDOW, CLASSES = 250, 2500, ("N", "A", "O")
FACTS = ("--classes", "N,A,O", "--sampling-rate", RATE, "--unit", "mV")


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv1d(channels, channels, 7, padding=3),
            nn.BatchNorm1d(channels),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 7, padding=3),
            nn.BatchNorm1d(channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.convolutions(x))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records at 300 Hz in four classes."""
    folder = tmp_path_factory.mktemp("day") / "records"
    write_cinc(folder, iter_records("synthetic:240", seed=3))
    return folder


@pytest.fixture(scope="module")
def her(folder: Path) -> Path:
    """Trained in millivolts on records at 250 Hz, exported with torch's defaults."""
    data = load_dataset("synthetic:320", sampling_rate=RATE, window=WINDOW, classes=CLASSES)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv1d(1, 12, 15, stride=5, padding=7),
        nn.BatchNorm1d(12),
        nn.ReLU(),
        nn.MaxPool1d(2),
        Block(12),
        nn.MaxPool1d(2),
        Block(12),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(12, 3),
    )
    ecg, _, labels = data.batch(np.arange(len(data)))
    signal, target = torch.from_numpy(ecg / 1000), torch.from_numpy(labels)
    optimiser = torch.optim.Adam(network.parameters(), 5e-3)
    for epoch in range(12):
        order = torch.randperm(len(signal), generator=torch.Generator().manual_seed(epoch))
        for part in order.split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(signal[part]), target[part]).backward()
            optimiser.step()
    path = folder.parent / "her.onnx"
    torch.onnx.export(network.eval(), (torch.zeros(1, 1, WINDOW),), path, verbose=False)
    return path


@pytest.fixture(scope="module")
def quantised(edgeguard: Call, her: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    result = edgeguard("export", her, "--int8", "--data", folder, *FACTS, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    return Path(report["int8"]), report


def test_int8_is_within_a_point_of_float(quantised: tuple[Path, dict[str, Any]]) -> None:
    _, report = quantised
    accuracy = report["accuracy"]
    assert accuracy["int8"] > 0.4 * accuracy["n"], "the network has learnt something"
    assert accuracy["int8"] >= accuracy["fp32"] - 0.01 * accuracy["n"]


def test_it_is_verified_and_played_without_a_word_more(
    edgeguard: Call, quantised: tuple[Path, dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    file, _ = quantised
    verified = edgeguard("verify", file, "--rows", 16)
    assert verified.exit_code == 0, verified.output
    played = edgeguard("simulate", file, "--data", folder, "--records", 3, "--out", tmp_path / "played", "--json")
    assert played.exit_code == 0, played.output
    assert json.loads(played.stdout)["decisions"] > 20


def test_the_audit_says_first_what_the_export_lost_and_reads_each_file_once(
    edgeguard: Call,
    quantised: tuple[Path, dict[str, Any]],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = {"records": 192, "attacked": 4, "queries": 40, "checked": 8, "proof_hops": 10, "stream_seconds": 60}
    monkeypatch.setattr("edgeguard.evaluation.portfolio._STRICT_STEPS", 4)
    monkeypatch.setitem(audit_run.SIZES, "quick", replace(audit_run.SIZES["quick"], **few))
    read: Counter[Path] = Counter()
    parse = loading.onnx.load_from_string

    def counted(path: Path, *, inner: Any = Path.read_bytes) -> bytes:
        if path.suffix == ".onnx":
            read[path.resolve()] += 1
        return inner(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    assert parse is loading.onnx.load_from_string
    file, _ = quantised
    result = edgeguard("audit", file, "--quick", "--data", folder, "--out", tmp_path / "audit")
    assert result.exit_code == 0, result.output
    first, second = result.stdout.splitlines()[:2]
    assert first.split()[:2] == ["export", "SURVIVES"] and "her.onnx" in first
    assert second.startswith("robustness  REPORTED")
    assert "trained on is unknown" in result.output
    assert read[file.resolve()] == 1 and read[(file.parent / "her.onnx").resolve()] == 1
    assert edgeguard("verify", tmp_path / "audit" / "certificate.json", file).exit_code == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--label-map", "~=Noise"), "Noise"),
        (("--lead", "V5"), "V5"),
        (("--sampling-rate", 300), "--sampling-rate"),
        (("--classes", "N,A"), "--classes"),
    ],
)
def test_what_does_not_fit_is_one_line(
    edgeguard: Call,
    refused: Callable[[Result], str],
    quantised: tuple[Path, dict[str, Any]],
    folder: Path,
    options: tuple,
    says: str,
) -> None:
    assert says in refused(edgeguard("evaluate", quantised[0], "--data", folder, "--limit", 8, "--no-checks", *options))


def test_a_wrong_unit_is_a_warning(edgeguard: Call, her: Path, folder: Path) -> None:
    wrong = ("--classes", "N,A,O", "--sampling-rate", RATE, "--unit", "uV")
    options = ("--data", folder, "--limit", 48, "--attack", "clean", "--no-checks", "--json")
    result = edgeguard("evaluate", her, *wrong, *options)
    assert result.exit_code == 0, result.output
    assert any("--unit" in line for line in json.loads(result.stdout)["warnings"])
    right = edgeguard("evaluate", her, *FACTS, *options)
    assert "warnings" not in json.loads(right.stdout)
