"""edgeguard attack-onnx, end to end on a small linear model and a small CinC-style zip."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper, numpy_helper

from edgeguard.cli import main
from edgeguard.ecg.record import CLASSES
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import open_model

METADATA = ModelMetadata(classes=CLASSES, sampling_rate=300.0, window=9000)


def write_model(path: Path, metadata: ModelMetadata | None = METADATA) -> Path:
    """logits = ecg @ weight with smooth random weights: every class is the largest for some records."""
    rng = np.random.default_rng(0)
    slow = np.kron(rng.normal(0, 1, (180, 4)), np.ones((50, 1))).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["ecg"], ["rows"]),
            helper.make_node("MatMul", ["rows", "weight"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, 9000])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(slow, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(model, metadata.to_props() if metadata else {})
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture
def reference(tmp_path: Path, cinc_zip: Path) -> Path:
    """Labels that the model gives, but for every tenth record: it is right nine times in ten."""
    dataset = load_dataset(str(cinc_zip))
    model = open_model(write_model(tmp_path / "first.onnx"))
    labels = model.labels(dataset.batch(np.arange(len(dataset)))[0])
    labels[::10] = (labels[::10] + 1) % 4
    path = tmp_path / "REFERENCE-own.csv"
    path.write_text("".join(f"{n},{CLASSES[c]}\n" for n, c in zip(dataset.names, labels, strict=True)))
    return path


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    path = tmp_path / "work"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


def attack(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["attack-onnx", *map(str, arguments)])


def test_machine_output_and_witnesses(folder: Path, cinc_zip: Path, reference: Path) -> None:
    model = write_model(folder / "model.onnx")
    outcome = attack(
        model,
        "--data",
        cinc_zip,
        "--labels",
        reference,
        "--queries",
        60,
        "--samples",
        20,
        "--json",
        "--out",
        "o",
    )
    assert outcome.exit_code == 0, outcome.output
    result = json.loads(outcome.stdout)
    assert result["schema"] == "edgeguard.attack-onnx/1"
    assert {"model", "attack", "samples", "queries", "seconds", "curve", "skipped", "witnesses"} <= set(result)
    assert (result["attack"], result["samples"], result["queries"]) == ("boundary", 20, 60)
    assert result["attacked"] + result["skipped"] == 20
    assert result["skipped"] > 0
    curve = result["curve"]
    assert [point["queries"] for point in curve] == [1, 2, 5, 10, 20, 50, 60]
    distances = [point["median_l2_uv"] or np.inf for point in curve]
    assert distances == sorted(distances, reverse=True)
    assert np.isfinite(distances[-1])
    assert set(curve[0]["success"]) == {"10", "50", "200", "1000"}
    assert curve[-1]["success"]["1000"]["n"] == result["attacked"]
    assert Path(result["figure"]).read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path("o/result.json").read_text())["model_sha256"] == open_model(model).sha256

    with np.load(result["witnesses"], allow_pickle=False) as witnesses:
        found = {name: witnesses[name] for name in witnesses.files}
    assert str(found["schema"]) == "edgeguard.witnesses/1"
    assert str(found["model_sha256"]) == result["model_sha256"]
    assert len(found["ledger"]) == 20
    assert found["ledger"].max() <= 60
    assert found["ledger"].sum() == result["queries_made"]
    assert len(found["names"]) == result["attacked"]
    dataset = load_dataset(str(cinc_zip), labels=reference)
    index = [dataset.names.index(name) for name in found["names"]]
    np.testing.assert_array_equal(found["labels"], dataset.labels[index])
    np.testing.assert_array_equal(found["original"], dataset.windows[index])
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for name, norm, distance in (
        ("adversarial", lambda d: np.linalg.norm(d, axis=1), "l2_uv"),
        ("adversarial_linf", lambda d: np.abs(d).max(axis=1), "linf_uv"),
    ):
        assert found[name].dtype == np.int16
        logits = session.run(None, {"ecg": found[name].astype(np.float32)[:, None]})[0]
        assert (logits.argmax(axis=1) != found["labels"]).all()
        difference = found[name].astype(np.float64) - found["original"]
        np.testing.assert_allclose(norm(difference), found[distance])
        assert not difference[~dataset.mask(np.array(index))[:, 0]].any()


def test_people_get_a_table(folder: Path, cinc_zip: Path, reference: Path) -> None:
    write_model(folder / "runs" / "a" / "model.onnx")
    int8 = write_model(folder / "runs" / "b" / "model-int8.onnx")
    write_model(folder / "runs" / "b" / "model-int8-streaming.onnx")
    outcome = attack("--data", cinc_zip, "--labels", reference, "--queries", 30, "--samples", 8)
    assert outcome.exit_code == 0, outcome.output
    assert f"model: {int8.relative_to(folder)}" in outcome.stderr
    assert "records: 8 of all 40 records" in outcome.stderr
    rows = [line.split() for line in outcome.stdout.splitlines()]
    assert [row[0] for row in rows if row and row[0].isdecimal()] == ["1", "2", "5", "10", "20", "30"]
    assert (folder / "runs/attack-onnx/witnesses.npz").is_file()


def test_the_test_part_of_the_file_s_own_data_is_taken(folder: Path, cinc_zip: Path, reference: Path) -> None:
    dataset = load_dataset(str(cinc_zip), labels=reference)
    fractions = (0.5, 0.25, 0.25)
    facts = {
        "data": {"fingerprint": dataset.fingerprint, "source": "x"},
        "split": {"seed": 3, "fractions": list(fractions), "test_records": None},
    }
    model = write_model(folder / "m.onnx", ModelMetadata(**{**vars(METADATA), **facts}))
    data = ("--data", cinc_zip, "--labels", reference, "--queries", 2)
    outcome = attack(model, *data, "--out", "own")
    test = split(dataset, seed=3, fractions=fractions).test
    assert f"records: {len(test)} of the test part" in outcome.stderr
    with np.load("own/witnesses.npz") as witnesses:
        assert sorted(witnesses["all_names"]) == sorted(dataset.names[i] for i in test)
    outcome = attack(model, *data, "--split", "all", "--out", "all")
    assert "records: 40 of all 40" in outcome.stderr


def test_the_sample_keeps_the_shares_of_the_classes_and_follows_the_seed(folder: Path, cinc_zip: Path) -> None:
    model = write_model(folder / "m.onnx")
    drawn = []
    for seed in (0, 0, 1):
        attack(model, "--data", cinc_zip, "--queries", 1, "--samples", 12, "--seed", seed)
        with np.load("runs/attack-onnx/witnesses.npz") as witnesses:
            drawn.append(witnesses["all_names"].tolist())
    assert drawn[0] == drawn[1] != drawn[2]
    labels = load_dataset(str(cinc_zip))
    counts = np.bincount([labels.labels[labels.names.index(name)] for name in drawn[0]])
    assert counts.tolist() == [3, 3, 3, 3]


def test_a_target_is_reached(folder: Path, cinc_zip: Path, reference: Path) -> None:
    model = write_model(folder / "m.onnx")
    data = ("--data", cinc_zip, "--labels", reference, "--queries", 40, "--target", "A")
    assert attack(model, *data).exit_code == 0
    with np.load("runs/attack-onnx/witnesses.npz") as witnesses:
        assert len(witnesses["adversarial"]) > 0
        answers = open_model(model).labels(witnesses["adversarial"].astype(np.float32)[:, None])
    assert set(answers.tolist()) == {CLASSES.index("A")}
    outcome = attack(model, *data[:-1], "X")
    assert outcome.exit_code == 2
    assert "target" in outcome.stderr


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ("nothing under runs", "edgeguard export --int8"),
        ("text", "not an ONNX file"),
        ("silent", "--sampling-rate"),
        ("other rate", "250 Hz"),
        ("other classes", "--classes"),
        ("even smoothing", "odd"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, cinc_zip: Path, case: str, says: str) -> None:
    arguments: list[str | Path] = ["--data", cinc_zip, "--queries", "5"]
    if case == "text":
        (folder / "m.onnx").write_text("no model\n" * 20)
    elif case == "silent":
        write_model(folder / "m.onnx", None)
    elif case != "nothing under runs":
        write_model(folder / "m.onnx")
    if case != "nothing under runs":
        arguments.insert(0, folder / "m.onnx")
    arguments += {
        "other rate": ["--sampling-rate", "250"],
        "other classes": ["--classes", "a,b,c,d"],
        "even smoothing": ["--smoothing", "40"],
    }.get(case, [])
    outcome = attack(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    line = outcome.stderr.strip().splitlines()[-1]
    assert line.startswith("edgeguard: ")
    assert says in line
    assert not (folder / "runs").exists()


def test_no_torch_on_the_whole_path(folder: Path, cinc_zip: Path, reference: Path) -> None:
    model = write_model(folder / "m.onnx")
    arguments = [
        "attack-onnx",
        str(model),
        "--data",
        str(cinc_zip),
        "--labels",
        str(reference),
        "--queries",
        "5",
    ]
    code = (
        "import sys\nfrom edgeguard.cli import main\n"
        f"main({arguments!r}, standalone_mode=False)\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 0, done.stderr
