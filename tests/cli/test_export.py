"""edgeguard export: from a run to checked files, or to one line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from click.testing import Result

from edgeguard.ecg.sources import load_dataset
from edgeguard.evaluation import run_export
from edgeguard.export import parity
from edgeguard.runtime.newest import newest_model
from edgeguard.runtime.session import open_model
from edgeguard.runtime.streaming import open_stream

Call = Callable[..., Result]
Refused = Callable[[Result], str]
OnlyJson = Callable[[Result], dict[str, Any]]


def models(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.glob("*.onnx"))


def test_the_newest_run_becomes_two_files(edgeguard: Call, own_run: Path, waves: Path, only_json: OnlyJson):
    result = edgeguard("export", "--int8", "--calibration-windows", 24, "--json")
    report = only_json(result)
    assert f"run: {own_run}" in result.stderr and "calibrating on 24 training windows" in result.stderr
    assert report["schema"] == "edgeguard.export/1"
    assert {"fp32", "int8", "streaming", "bytes", "calibration", "parity", "census"} <= set(report)
    assert models(own_run) == ["none-edge-s-fp32.onnx", "none-edge-s-int8.onnx"]
    assert report["fp32"] == str(own_run / "none-edge-s-fp32.onnx") and report["streaming"] is None
    for form in ("fp32", "int8"):
        assert report["bytes"][form] == Path(report[form]).stat().st_size
    assert all(check["holds"] and "figure" in check for check in report["parity"].values())
    assert report["census"]["QLinearConv"] == 9
    assert "to rank calibrations" in result.stderr and result.stderr.count("judging ") == 7
    rows = report["calibration"]["candidates"]
    assert len(rows) == 7 and all(row["worst"] <= row["clean"] <= row["n"] for row in rows)
    assert open_model(report["int8"]).metadata.calibration == report["calibration"]
    dataset = load_dataset(str(waves))
    labels = open_model(report["int8"]).labels(dataset.batch(np.arange(80))[0])
    assert (labels == dataset.labels).mean() > 0.5
    evaluated = only_json(
        edgeguard("evaluate", report["int8"], "--attack", "clean,pgd", "--steps", 2, "--limit", 4, "--json")
    )
    assert [a["situation"] for a in evaluated["attacks"]] == [None, "II"]


def test_people_read_sizes_parity_and_operators(edgeguard: Call, own_run: Path):
    result = edgeguard("export", own_run, "--out", "files")
    assert result.exit_code == 0 and models(Path("files")) == ["none-edge-s-fp32.onnx"]
    assert "files/none-edge-s-fp32.onnx" in result.stdout and "bytes)" in result.stdout
    assert "torch_fp32" in result.stdout and "operators" in result.stdout
    assert models(own_run) == []


def test_a_named_method_is_not_ranked(edgeguard: Call, own_run: Path):
    options = ("--calibration", "entropy", "--input-bits", 16, "--portable", "--calibration-windows", 8)
    result = edgeguard("export", own_run, "--int8", *options)
    assert result.exit_code == 0, result.output
    assert "judging" not in result.stderr and "calibration entropy, 8 training windows" in result.stdout
    about = open_model(own_run / "none-edge-s-int8.onnx").metadata
    assert (about.input_bits, about.input_step_uv, about.weight_bits, about.float_convolutions) == (16, 1.0, 7, 1)
    assert about.calibration == {"method": "entropy", "exclude": [], "windows": 8, "seed": 0}


def test_large_networks_are_not_ranked_unasked(edgeguard: Call, own_run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(run_export, "LARGEST_RANKED_MACS", 1.0)
    result = edgeguard("export", own_run, "--int8", "--calibration-windows", 8)
    assert result.exit_code == 0 and "judging" not in result.stderr
    assert "calibration percentile:99.99, 8 training windows" in result.stdout


def test_without_parity_nothing_is_written(
    edgeguard: Call, own_run: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(parity, "LOGIT_TOLERANCE", -1.0)
    message = refused(edgeguard("export", own_run, "--out", "files"))
    assert "export refused: torch_fp32 does not hold" in message and "nothing was written" in message
    assert not Path("files").exists() and models(own_run) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--input-step", "0"], "--input-step 0.0: above 0 microvolts needed"),
        (["--input-step", "nan"], "--input-step nan: above 0 microvolts needed"),
        (["--input-step", "inf"], "--input-step inf: above 0 microvolts needed"),
        (["--calibration-windows", "0"], "--calibration-windows 0: at least 1 window needed"),
        (["--calibration", "200"], "--calibration 200: unknown; choose auto, minmax, percentile:99.99"),
        (["--calibration", "minmax", "--exclude", "Conv_9"], "--exclude Conv_9: no such node; did you mean "),
        (["--data", "nowhere"], "nowhere: no such file or folder"),
        (["--data", "synthetic:8"], "synthetic:8: not the data that the run was trained on"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    edgeguard: Call, own_run: Path, refused: Refused, options: list[str], message: str
):
    assert message in refused(edgeguard("export", own_run, "--int8", *options))
    assert models(own_run) == []


def test_a_spoilt_run_is_refused_in_one_line(edgeguard: Call, own_run: Path, refused: Refused):
    weights = own_run / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    assert "weights.safetensors: cannot be read" in refused(edgeguard("export", own_run))
    weights.unlink()
    assert "weights.safetensors is missing; finish the run" in refused(edgeguard("export", own_run))
    assert "no finished run; make one with edgeguard train" in refused(edgeguard("export"))
    os.makedirs("empty")
    assert "empty: no run folder" in refused(edgeguard("export", "empty"))


def test_a_run_becomes_a_stream_too(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    options = ("--int8", "--streaming", "--hop", 0.8, "--calibration", "minmax", "--calibration-windows", 8, "--json")
    report = only_json(edgeguard("export", own_run, *options))
    assert report["streaming"] == str(own_run / "none-edge-s-int8-stream.onnx")
    assert report["bytes"]["streaming"] == Path(report["streaming"]).stat().st_size
    assert report["parity"]["stream"]["holds"] and report["parity"]["stream"]["figure"] == 0
    assert report["stream"]["hop"] == 240 and report["stream"]["equality"] == "equal"
    stream = open_stream(report["streaming"])
    assert stream.metadata.window_sha256 == open_model(report["int8"]).sha256
    assert newest_model() == Path(report["int8"])


def test_somebody_elses_file_becomes_a_stream(edgeguard: Call, tmp_path: Path):
    source = Path(__file__).parents[2] / "models" / "zoo" / "adt-edge-m" / "adt-edge-m-int8.onnx"
    model = onnx.load(source)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "theirs.onnx")
    facts = ("--sampling-rate", 300, "--unit", "uV", "--classes", "a,b,c,d")
    result = edgeguard("export", tmp_path / "theirs.onnx", "--streaming", *facts, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    stream = open_stream(tmp_path / "out" / "theirs-stream.onnx")
    assert stream.classes == ("a", "b", "c", "d") and stream.hop == 300
    assert "holds       stream" in result.stdout and "multiply-accumulates a hop" in result.stdout
    assert f"next        edgeguard simulate {stream.path}" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--streaming", "--hop", "0.5"], "hop: 0.5 s is 150 samples at 300 Hz; give a multiple of 60 samples (0.2 s)"),
        (["--streaming", "--hop", "nan"], "hop: nan s is nan samples"),
        ([], "is an ONNX file already; add --int8, --streaming or both"),
        (["--int8", "--streaming"], "is quantised already; name the float file that it was made from"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_in_one_line(
    edgeguard: Call, tmp_path: Path, refused: Refused, options: list[str], message: str
):
    source = Path(__file__).parents[2] / "models" / "zoo" / "adt-edge-m" / "adt-edge-m-int8.onnx"
    assert message in refused(edgeguard("export", source, *options, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
