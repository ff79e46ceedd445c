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

from edgeguard.attacks.witnesses import ANY_WRONG, Witnesses, save_witnesses
from edgeguard.cli import main
from edgeguard.evaluation.divergences import Divergences, save_divergences
from edgeguard.export.golden import load_golden
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import open_model

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


def write_witnesses(path: Path, model: Path, *, count: int = 2, scale: float = 1.0) -> Path:
    """White noise turned into other noise that the model calls by another class, were it not scaled."""
    opened = open_model(model)
    noise = np.rint(np.random.default_rng(0).normal(0, 200, (64, 1, WINDOW))).astype(np.float32)
    called = opened.labels(noise)
    first = np.resize(np.flatnonzero(called == called[0]), count)
    second = np.resize(np.flatnonzero(called != called[0]), count)
    original = noise[first, 0]
    adversarial = np.rint(original + scale * (noise[second, 0] - original)).astype(np.float32)
    difference = (adversarial - original).astype(float)
    save_witnesses(
        path,
        Witnesses(
            attack="boundary",
            settings="{}",
            model_sha256=opened.sha256,
            classes=opened.classes,
            sampling_rate=opened.sampling_rate,
            budget=10,
            seed=0,
            fingerprint="",
            rail_uv=None,
            eps_uv=None,
            tasks=tuple(f"R{i}" for i in range(count)),
            ledger=np.full(count, 10),
            rows=np.arange(count),
            labels=called[first],
            targets=np.full(count, ANY_WRONG),
            left=np.zeros(count, int),
            length=np.full(count, WINDOW),
            original=original,
            adversarial=adversarial,
            adversarial_linf=adversarial,
            l2_uv=np.linalg.norm(difference, axis=1),
            linf_uv=np.abs(difference).max(1),
            found_at=np.full(count, 10),
            band_hz=np.full(count, np.nan),
        ),
    )
    return path


def test_witnesses_of_an_attack(model: Path, tmp_path: Path) -> None:
    path = write_witnesses(tmp_path / "w.npz", model)
    result = verify(path, model)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "2 of 2 records hold"
    assert (
        "-           eps                      not claimed" in result.stdout
        and "judged all the same" not in result.stderr
    )
    found = json.loads(verify(path, model, "--json").stdout)
    assert found["schema"] == "edgeguard.verify/1" and found["holds"] is found["same_file"] is True
    assert found["failures"] == [] and found["rows"] == 2
    assert {rung["name"]: rung["figure"] for rung in found["rungs"]}["fools"] == 2


def test_witnesses_that_fool_nobody_are_exit_code_1(model: Path, tmp_path: Path) -> None:
    path = write_witnesses(tmp_path / "w.npz", model, count=22, scale=0.0)
    result = verify(path, model)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[-1] == "0 of 22 records hold"
    assert lines[-2] == "fails       2 more, all in --json" and lines[-3] == "fails       R19: fools"
    found = json.loads(verify(path, model, "--json").stdout)
    assert found["failures"] == [{"name": f"R{i}", "checks": ["fools"]} for i in range(22)]


def test_witnesses_of_another_file_are_judged_and_said(model: Path, tmp_path: Path) -> None:
    path = write_witnesses(tmp_path / "w.npz", model)
    write_model(model, replace(METADATA, seed=1))
    result = verify(path, model)
    assert result.exit_code == 0
    assert "was found on another file than" in result.stderr
    assert result.stdout.splitlines()[-1] == "2 of 2 records hold on this other file"
    assert json.loads(verify(path, model, "--json").stdout)["same_file"] is False


def test_divergences_of_a_hunt(model: Path, tmp_path: Path) -> None:
    """Two files of one network differ nowhere, so the stated divergence fails on one of them."""
    twin = write_model(tmp_path / "twin.onnx", replace(METADATA, seed=1))
    one, other = open_model(model), open_model(twin)
    ecg = np.rint(np.random.default_rng(1).normal(0, 200, (1, WINDOW))).astype(np.float32)
    label = int(one.labels(ecg[:, None])[0])
    found = Divergences(
        parties=(str(model), str(twin)),
        sha256=(one.sha256, other.sha256),
        names=np.array(["R0"]),
        labels=np.array([label]),
        original=ecg,
        adversarial=ecg,
        predicted=np.array([[label, (label + 1) % 4]]),
        eps=5.0,
        tried=1,
    )
    path = tmp_path / "d.npz"
    save_divergences(found, path, classes=one.classes, sampling_rate=300.0)
    assert verify(path, model).exit_code == 0
    for files in ((twin,), (model, twin), (twin, model)):
        result = verify(path, *files)
        assert result.exit_code == 1 and "fails       R0: second" in result.stdout
    save_divergences(replace(found, sha256=("", "")), path, classes=one.classes, sampling_rate=300.0)
    assert "judged all the same" in verify(path, model, twin).stderr


def test_bad_witnesses(model: Path, tmp_path: Path, refused: Callable[[Result], str]) -> None:
    path = write_witnesses(tmp_path / "w.npz", model)
    assert "name the ONNX file to judge it by" in refused(verify(path))
    assert "name the ONNX file to judge it by" in refused(verify(path, model, model))
    assert "not found" in refused(verify(tmp_path / "none.npz", model))
    assert "--rows: has no meaning" in refused(verify(path, model, "--rows", 64))
    assert "--golden: has no meaning" in refused(verify(path, model, "--golden", tmp_path))
    other = write_model(tmp_path / "other.onnx", replace(METADATA, classes=("~", "O", "A", "N")))
    assert "classes ~,O,A,N, the witnesses have N,A,O,~" in refused(verify(path, other))
    path.write_bytes(path.read_bytes()[:-100])
    assert "write them anew" in refused(verify(path, model))
    np.savez(path, schema=np.array("edgeguard.golden/1"))
    assert "schema edgeguard.golden/1, no witnesses" in refused(verify(path, model))
    np.savez(path, other=np.array(1))
    assert "no witnesses (lacks 'schema" in refused(verify(path, model))
