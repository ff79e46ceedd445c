"""An engineer's network from elsewhere: 250 Hz, 10 s, millivolts, three classes, same padding; one command each."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor, nn

from edgeguard.ecg.sources import load_dataset
from edgeguard.runtime.session import open_model
from edgeguard.runtime.streaming import open_stream

Call = Callable[..., Result]
OnlyJson = Callable[[Result], dict[str, Any]]
Refused = Callable[[Result], str]

RATE, WINDOW, CLASSES = 250.0, 2500, ("N", "A", "O")
FACTS = ("--classes", "N,A,O", "--sampling-rate", 250, "--unit", "mV")
QUICK = ("--calibration", "percentile:99.99")


class Block(nn.Module):
    """A residual block with same padding."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers = [nn.Conv1d(channels, channels, 7, padding="same"), nn.BatchNorm1d(channels)]
        self.body = nn.Sequential(*layers, nn.ReLU(), nn.Conv1d(channels, channels, 7, padding="same"))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


def network() -> nn.Module:
    stem = [nn.Conv1d(1, 8, 15, stride=5, padding=7), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(3, 2, 1)]
    return nn.Sequential(*stem, Block(8), Block(8), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, len(CLASSES)))


@pytest.fixture(scope="module")
def hers(waves: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Her script: records resampled to 250 Hz, a short training, and `torch.onnx.export` as it comes."""
    records = load_dataset(str(waves), window=WINDOW, sampling_rate=RATE, classes=CLASSES)
    ecg, labels = torch.from_numpy(records.batch(np.arange(len(records)))[0] / 1000), torch.from_numpy(records.labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = network()
        optimiser = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(40):
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(ecg), labels).backward()
            optimiser.step()
    path = tmp_path_factory.mktemp("hers") / "her.onnx"
    torch.onnx.export(model.eval(), (torch.zeros(1, 1, WINDOW),), path, verbose=False)
    return path


@pytest.fixture(scope="module")
def int8(edgeguard: Call, hers: Path, waves: Path) -> Path:
    """Made beside the float file; it says everything itself from here on."""
    result = edgeguard("export", hers, "--int8", "--data", waves, *FACTS)
    assert result.exit_code == 0, result.output
    return hers.with_name("her-int8.onnx")


def test_the_engineers_day(edgeguard: Call, only_json: OnlyJson, hers: Path, int8: Path, waves: Path) -> None:
    """Facts are stated once; the int8 file keeps the float file's accuracy to a point."""
    made = open_model(int8)
    assert made.spec == open_model(hers, classes=CLASSES, sampling_rate=RATE, unit="mV").spec
    verified = only_json(edgeguard("verify", int8, "--data", waves, "--json"))
    assert verified["holds"] and {rung["name"]: rung["figure"] for rung in verified["rungs"]}["twin"] == 1
    short = ("--data", waves, "--attack", "clean,pgd", "--steps", 2, "--alpha", 5, "--no-checks", "--json")
    by_file = [only_json(edgeguard("evaluate", int8, *short)), only_json(edgeguard("evaluate", hers, *FACTS, *short))]
    clean = [next(a["accuracy"]["value"] for a in each["attacks"] if a["name"] == "clean") for each in by_file]
    assert clean[1] > 0.8 and abs(clean[0] - clean[1]) <= 0.01


def test_the_result_says_what_was_made(
    edgeguard: Call, only_json: OnlyJson, hers: Path, waves: Path, tmp_path: Path
) -> None:
    made = only_json(edgeguard("export", hers, "--int8", "--data", waves, *FACTS, *QUICK, "--out", tmp_path, "--json"))
    assert (made["fp32"], made["int8"]) == (str(hers), str(tmp_path / "her-int8.onnx"))
    assert made["left_in_float"] == {"Gemm": 1} and made["census"]["QLinearConv"] == 5
    assert made["input"]["share"] >= 0.9999 and made["input"]["low_uv"] == -128 * made["input"]["step_uv"]
    accuracy = made["accuracy"]
    assert accuracy["n"] == 30 and accuracy["difference"] == (accuracy["int8"] - accuracy["fp32"]) / 30
    assert any("resampled from 300 to 250 Hz" in note for note in made["notes"])
    assert any("which records the file was trained on is unknown" in note for note in made["notes"])
    about = open_model(made["int8"]).metadata
    assert about.calibration == made["calibration"] and about.calibration["training_records_known"] is False
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "her-int8.golden.h",
        "her-int8.golden.npz",
        "her-int8.onnx",
    ]


def test_records_without_labels_rank_by_agreement(
    edgeguard: Call, only_json: OnlyJson, hers: Path, waves: Path, tmp_path: Path
) -> None:
    options = ("--data", waves, "--labels", "none", "--calibration-windows", 8, "--out", tmp_path, "--json")
    made = only_json(edgeguard("export", hers, "--int8", *FACTS, *options))
    rows = made["calibration"]["candidates"]
    assert "accuracy" not in made and all(row["clean"] is None and row["worst"] is None for row in rows)
    order = [(row["agreement"], -row["difference"]) for row in rows]
    assert order == sorted(order, reverse=True) and made["calibration"]["method"] == rows[0]["method"]


def test_a_stream_of_a_network_that_pads_is_asked_for(
    edgeguard: Call, only_json: OnlyJson, refused: Refused, int8: Path, waves: Path, tmp_path: Path
) -> None:
    message = refused(edgeguard("export", int8, "--streaming", "--out", tmp_path))
    assert "pads the window with zeros" in message and "--close" in message and not list(tmp_path.iterdir())
    made = only_json(edgeguard("export", int8, "--streaming", "--close", "--data", waves, "--out", tmp_path, "--json"))
    cost, stream = made["stream"]["cost"], open_stream(made["streaming"])
    assert made["stream"]["equality"] == stream.metadata.equality == "close"
    assert cost["share"] == cost["changed"] / cost["hops"] and str(waves) in cost["source"]
    assert stream.metadata.proof == {name: cost[name] for name in ("hops", "changed", "difference", "source")}
    assert made["parity"]["stream"]["figure"] == cost["share"]
    played = edgeguard("simulate", made["streaming"], "--record", "day:30", "--out", tmp_path / "played")
    assert played.exit_code == 0 and "close to its window file, not equal" in played.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--int8", *FACTS], "needs records to calibrate on; add --data SRC"),
        (["--int8", "--data", "synthetic:4"], "does not say its class names, its sampling rate and the unit"),
        (["--int8", "--data", "synthetic:4", *FACTS, "--input-step", "0"], "above 0 microvolts needed"),
        (
            ["--int8", "--data", "synthetic:8", *FACTS, *QUICK, "--exclude", "Conv_9"],
            "no such node; choose Add_",
        ),
    ],
)
def test_bad_options_are_refused_in_one_line(
    edgeguard: Call, refused: Refused, hers: Path, tmp_path: Path, options: list[object], message: str
) -> None:
    assert message in refused(edgeguard("export", hers, *options, "--out", tmp_path))
    assert not list(tmp_path.iterdir())
