"""edgeguard attack-stream: what it prints, keeps and refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result

from edgeguard.cli import COMMANDS
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.runtime.files import read_json
from edgeguard.runtime.metadata import ModelMetadata

Call = Callable[..., Result]
Refused = Callable[[Result], str]
OnlyJson = Callable[[Result], dict[str, Any]]

MEAN = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,9000] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {1, -1, 0, 0}, float[4] bias = {0, 0, -9999, -9999}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    scaled = MatMul (mean, weight)
    logits = Add (scaled, bias)
}
"""
QUICK = ("--seconds", 32, "--front-end", "ideal", "--alpha", 5, "--steps", 2, "--smooth-steps", 2)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command by its name."""
    monkeypatch.setitem(COMMANDS, "attack-stream", "attack_stream")


@pytest.fixture(scope="module")
def level_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """N above zero, A below: the window's mean."""
    model = onnx.parser.parse_model(MEAN)
    onnx.helper.set_model_props(model, ModelMetadata(classes=CLASSES, sampling_rate=300, window=9000).to_props())
    path = tmp_path_factory.mktemp("file") / "mean.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def levels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six records of 33 s that are 5 microvolts away from the other class, and two that are too short."""
    folder = tmp_path_factory.mktemp("data") / "levels"
    records = [
        Record(f"L{i}", np.full(9900 if i < 6 else 9300, 5 if i % 2 else -5, np.float32), label="AN"[i % 2])
        for i in range(8)
    ]
    write_cinc(folder, records)
    return folder


def test_enough_microvolts_turn_every_decision_and_too_few_none(
    edgeguard: Call, only_json: OnlyJson, level_file: Path, levels: Path, tmp_path: Path
) -> None:
    options = ("attack-stream", level_file, "--data", levels, *QUICK, "--json")
    strong = only_json(edgeguard(*options, "--eps", 10, "--out", tmp_path / "strong"))
    weak = only_json(edgeguard(*options, "--eps", 4, "--out", tmp_path / "weak"))
    assert strong["schema"] == "edgeguard.attack-stream/1"
    assert (strong["streams"], strong["hops_per_stream"], strong["seconds"]) == (6, 2, 32)
    assert strong["clean"]["hops"]["value"] == 1.0
    for result, share in ((strong, 1.0), (weak, 0.0)):
        assert [row["name"] for row in result["attacks"]] == ["window", "electrode"]
        for row in result["attacks"]:
            assert row["linf_uv"] <= result["eps"]
            assert [row["success"][key]["value"] for key in ("hops", "records", "aligned")] == [share] * 3
    assert {**read_json(tmp_path / "strong" / "result.json"), "schema": strong["schema"]} == strong
    with np.load(strong["perturbations"]) as kept:
        assert kept["electrode"].shape == kept["ecg"].shape == (6, 1, 9600)


def test_people_read_a_table(edgeguard: Call, level_file: Path, levels: Path, tmp_path: Path) -> None:
    result = edgeguard(
        "attack-stream", level_file, "--data", levels, *QUICK, "--craft", "electrode", "--out", tmp_path / "out"
    )
    assert result.exit_code == 0, result.output
    assert "electrode           1.000 [0.610, 1.000] n 12" in result.stdout
    assert "6 of 6 records of 32 s" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--front-end", "max3"), "--front-end max3: no such front end"),
        (("--craft", "skin"), "--craft skin: unknown"),
        (("--seconds", 60), "no record of 60 s, the longest has 33 s"),
        (("--seconds", 30.5), "--seconds: a window and a hop, 31 s, needed"),
        (("--hop", 0.0001), "hop: 0.0001 s"),
        (("--eps", -1), "--eps -1"),
        (("--source", "nowhere"), "nowhere: neither a run folder nor an ONNX file"),
        (("--records", 0), "--records 0"),
    ],
)
def test_bad_input_is_one_line(
    edgeguard: Call,
    refused: Refused,
    level_file: Path,
    levels: Path,
    tmp_path: Path,
    options: tuple[object, ...],
    told: str,
) -> None:
    result = edgeguard("attack-stream", level_file, "--data", levels, *QUICK, *options, "--out", tmp_path / "out")
    assert told in refused(result)


def test_a_window_file_is_no_streaming_file(edgeguard: Call, refused: Refused, level_file: Path, levels: Path) -> None:
    result = edgeguard("attack-stream", level_file, "--data", levels, *QUICK, "--stream", level_file)
    assert "is no streaming file" in refused(result)
