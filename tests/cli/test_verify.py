"""edgeguard verify: the ladder on the command line, its exit codes and its refusals."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from edgeguard.cli import main
from edgeguard.export.golden import load_golden
from edgeguard.runtime.metadata import ModelMetadata

WINDOW = 600
METADATA = ModelMetadata(classes=("N", "A", "O", "~"), sampling_rate=300.0, window=WINDOW)
FACTS = ("--sampling-rate", 300, "--unit", "uV", "--classes", "N,A,O,~")


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["verify", *(str(argument) for argument in arguments)])


def write_model(path: Path, metadata: ModelMetadata | None = METADATA, *, window: int = WINDOW) -> Path:
    """logits = weight times ecg rounded to codes of 31.25 uV."""
    weight = np.random.default_rng(0).normal(0, 1, (window, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("QuantizeLinear", ["ecg", "step", "zero"], ["codes"], name="quantise"),
            helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["read"], name="read"),
            helper.make_node("Flatten", ["read"], ["rows"], name="flatten"),
            helper.make_node("MatMul", ["rows", "weight"], ["logits"], name="head"),
        ],
        "linear",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, window])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [
            numpy_helper.from_array(np.float32(31.25), "step"),
            numpy_helper.from_array(np.int8(0), "zero"),
            numpy_helper.from_array(weight, "weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, metadata.to_props() if metadata else {})
    onnx.save(model, path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "m.onnx")


def test_a_good_file(model: Path) -> None:
    result = verify(model, "--rows", 9)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[-1] == "every check that applies holds"
    assert [line.split()[0] for line in lines if line.split()[1:2] in (["checker"], ["reference"], ["batch"])] == [
        "holds"
    ] * 3
    assert "windows: 9 of silence" in result.stderr


def test_one_json_object(model: Path, tmp_path: Path) -> None:
    result = verify(model, "--rows", 8, "--json", "--golden", tmp_path / "golden")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["schema"] == "edgeguard.verify/1" and found["holds"] is True and found["rows"] == 8
    rungs = {rung.pop("name"): rung for rung in found["rungs"]}
    assert list(rungs) == [
        "checker",
        "torch_fp32",
        "census",
        "host_form",
        "twin",
        "reference",
        "batch",
        "saturation",
        "golden",
    ]
    assert all(set(rung) == {"holds", "figure", "meaning", "note"} for rung in rungs.values())
    assert rungs["saturation"]["holds"] is None and rungs["golden"]["figure"] == 1
    npz, header = found["golden"]
    assert load_golden(Path(npz)).sha256 == found["model_sha256"]
    assert Path(header).read_text().startswith("/* Golden vectors of m.onnx")


def test_a_rung_that_fails_is_exit_code_1(model: Path, tmp_path: Path) -> None:
    """Golden vectors of an earlier file lie beside it."""
    assert verify(model, "--rows", 4, "--golden", tmp_path).exit_code == 0
    write_model(model, replace(METADATA, seed=1))
    result = verify(model, "--rows", 4)
    assert result.exit_code == 1
    assert "FAILS" in result.stdout and result.stdout.splitlines()[-1] == "the file is not what it claims to be"
    assert json.loads(verify(model, "--rows", 4, "--json").stdout)["holds"] is False


def test_a_foreign_file_with_its_facts(tmp_path: Path, refused: Callable[[Result], str]) -> None:
    foreign = write_model(tmp_path / "foreign.onnx", None)
    assert "--sampling-rate" in refused(verify(foreign))
    result = verify(foreign, *FACTS, "--rows", 4)
    assert result.exit_code == 0, result.output


def test_records_to_compare_on(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.onnx", replace(METADATA, window=9000), window=9000)
    result = verify(path, "--data", "synthetic:8", "--rows", 5)
    assert result.exit_code == 0, result.output
    assert "windows: 5 of all 8 records" in result.stderr


def test_the_newest_file_is_taken(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runs").mkdir()
    write_model(tmp_path / "runs" / "newest.onnx")
    monkeypatch.chdir(tmp_path)
    result = verify("--rows", 2)
    assert result.exit_code == 0 and "model: runs/newest.onnx" in result.stderr


def test_bad_input(model: Path, tmp_path: Path, refused: Callable[[Result], str]) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no model")
    assert "not an ONNX file" in refused(verify(text))
    assert "not found" in refused(verify(tmp_path / "none.onnx"))
    assert "one ONNX file at a time" in refused(verify(model, model))
    assert "--rows" in refused(verify(model, "--rows", 0))
    assert "no such file" in refused(verify(model, "--data", tmp_path / "nowhere"))
