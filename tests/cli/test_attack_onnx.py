"""edgeguard attack-onnx, end to end on a small linear model and a small CinC-style zip."""

import hashlib
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


def write_model(
    path: Path, metadata: ModelMetadata | None = METADATA, *, bias: float = 0, step: float | None = None, end: str = ""
) -> Path:
    """logits = ecg @ weight with smooth random weights: every class is the largest for some records.

    Args:
        bias: of the first logit.
        step: of an int8 input quantiser, microvolts; None: a float input.
        end: operator that the logits pass last.
    """
    rng = np.random.default_rng(0)
    slow = np.kron(rng.normal(0, 1, (180, 4)), np.ones((50, 1))).astype(np.float32)
    constants = {"weight": slow, "bias": np.array([bias, 0, 0, 0], np.float32)}
    nodes = [helper.make_node("Flatten", ["seen" if step else "ecg"], ["rows"])]
    if step:
        constants |= {"step": np.float32(step), "zero": np.int8(0)}
        nodes.insert(0, helper.make_node("DequantizeLinear", ["codes", "step", "zero"], ["seen"]))
        nodes.insert(0, helper.make_node("QuantizeLinear", ["ecg", "step", "zero"], ["codes"]))
    nodes.append(helper.make_node("Gemm", ["rows", "weight", "bias"], ["last" if end else "logits"]))
    if end:
        nodes.append(helper.make_node(end, ["last"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, 9000])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
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
    assert (result["attack"], result["samples"], result["queries"]) == ("smooth-geo", 20, 60)
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
    assert str(found["schema"]) == "edgeguard.witnesses/2"
    assert str(found["model_sha256"]) == result["model_sha256"]
    assert len(found["ledger"]) == 20
    assert found["ledger"].max() <= 60
    assert found["ledger"].sum() == result["queries_made"]
    assert len(found["rows"]) == result["attacked"]
    dataset = load_dataset(str(cinc_zip), labels=reference)
    index = [dataset.names.index(found["tasks"][row]) for row in found["rows"]]
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
    assert f"records: 8 of {cinc_zip}: 40 records; which of them the model was trained on is unknown" in outcome.stderr
    rows = [line.split() for line in outcome.stdout.splitlines()]
    numbered = [row[0] for row in rows if row and row[0].isdecimal()]
    assert numbered[:6] == ["1", "2", "5", "10", "20", "30"]
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
    assert f"records: {len(test)} of {cinc_zip}: {len(test)} test records, {40 - len(test)} seen" in outcome.stderr
    with np.load("own/witnesses.npz") as witnesses:
        assert sorted(witnesses["tasks"]) == sorted(dataset.names[i] for i in test)
    outcome = attack(model, *data, "--split", "all", "--out", "all")
    assert f"records: 40 of {cinc_zip}: all 40 records, {40 - len(test)} of them seen" in outcome.stderr


def test_what_the_run_beside_the_file_has_seen_is_left_out(folder: Path, cinc_zip: Path, reference: Path) -> None:
    """On other data than its own too, by name, as `evaluate` does."""
    names = load_dataset(str(cinc_zip), labels=reference).names
    parts = {"train": [*names[:20], "gone"], "validation": list(names[20:27]), "test": list(names[27:])}
    (folder / "split.json").write_text(json.dumps(parts))
    (folder / "weights.safetensors").write_bytes(b"weights")
    parent = hashlib.sha256(b"weights").hexdigest()
    model = write_model(folder / "m.onnx", ModelMetadata(**{**vars(METADATA), "parent_sha256": parent}))
    data = ("--data", cinc_zip, "--labels", reference, "--queries", 2)
    outcome = attack(model, *data, "--out", "own")
    assert outcome.exit_code == 0, outcome.output
    assert f"records: 13 of {cinc_zip}: 13 unseen records, 27 seen ones left out" in outcome.stderr
    with np.load("own/witnesses.npz") as witnesses:
        assert sorted(witnesses["tasks"]) == sorted(names[27:])
    (folder / "weights.safetensors").write_bytes(b"another network's")
    outcome = attack(model, *data, "--out", "unknown")
    assert "40 records; which of them the model was trained on is unknown" in outcome.stderr
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "split.json").write_text(json.dumps({"train": list(names), "validation": []}))
    outcome = attack(model, *data, "--out", "none")
    assert outcome.exit_code == 2 and "the model has seen every record; give other data" in outcome.stderr


def test_the_sample_keeps_the_shares_of_the_classes_and_follows_the_seed(folder: Path, cinc_zip: Path) -> None:
    model = write_model(folder / "m.onnx")
    drawn = []
    for seed in (0, 0, 1):
        attack(model, "--data", cinc_zip, "--queries", 1, "--samples", 12, "--seed", seed)
        with np.load("runs/attack-onnx/witnesses.npz") as witnesses:
            drawn.append(witnesses["tasks"].tolist())
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
        ("other rate", "leave --sampling-rate out"),
        ("other classes", "--classes"),
        ("even smoothing", "odd"),
        ("smoothing of another attack", "smooth-geo has no such setting"),
        ("no queries", "--queries"),
        ("NaN", "NaN"),
        ("two outputs", "output"),
        ("pairs and a target", "--pairs"),
        ("another class list", "classes"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, cinc_zip: Path, case: str, says: str) -> None:
    arguments: list[str | Path] = ["--data", cinc_zip, "--queries", "5"]
    if case == "text":
        (folder / "m.onnx").write_text("no model\n" * 20)
    elif case == "silent":
        write_model(folder / "m.onnx", None)
    elif case == "NaN":
        write_model(folder / "m.onnx", bias=float("nan"))
    elif case == "two outputs":
        model = onnx.load(write_model(folder / "m.onnx"))
        model.graph.output.append(helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", 9000]))
        onnx.save(model, folder / "m.onnx")
    elif case != "nothing under runs":
        write_model(folder / "m.onnx")
    if case == "another class list":
        write_model(folder / "other.onnx", ModelMetadata(**{**vars(METADATA), "classes": ("A", "N", "O", "~")}))
    if case != "nothing under runs":
        arguments.insert(0, folder / "m.onnx")
    arguments += {
        "other rate": ["--sampling-rate", "250"],
        "other classes": ["--classes", "a,b,c,d"],
        "even smoothing": ["--attack", "boundary", "--smoothing", "40"],
        "smoothing of another attack": ["--smoothing", "41"],
        "no queries": ["--queries", "0"],
        "pairs and a target": ["--pairs", "1", "--target", "A"],
        "another class list": ["--compare", str(folder / "other.onnx")],
    }.get(case, [])
    outcome = attack(*arguments)
    assert outcome.exit_code == 2
    assert outcome.stdout == ""
    line = outcome.stderr.strip().splitlines()[-1]
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


def small_attack(model: Path, cinc_zip: Path, reference: Path, *more: str | Path) -> dict:
    data = ("--data", cinc_zip, "--labels", reference, "--samples", 12, "--json")
    outcome = attack(model, *data, *more)
    assert outcome.exit_code == 0, outcome.output
    return json.loads(outcome.stdout)


@pytest.mark.parametrize("name", ["smooth-geo", "rays-sap", "boundary", "hopskipjump"])
def test_every_attack_comes_nearer_and_its_witnesses_replay(
    folder: Path, cinc_zip: Path, reference: Path, name: str
) -> None:
    model = write_model(folder / "m.onnx", step=16)
    result = small_attack(model, cinc_zip, reference, "--attack", name, "--queries", 600)
    norm = "median_linf_uv" if name == "rays-sap" else "median_l2_uv"
    first = next(point[norm] for point in result["curve"] if point[norm])
    assert result["curve"][-1][norm] < 0.9 * first
    verified = CliRunner().invoke(main, ["verify", result["witnesses"], str(model)])
    assert verified.exit_code == 0, verified.output


def test_two_files_are_compared_on_the_same_records(folder: Path, cinc_zip: Path, reference: Path) -> None:
    """A file against itself: every pair has the ratio 1. Against another with a bias: it is the other's records."""
    model = write_model(folder / "m.onnx")
    result = small_attack(model, cinc_zip, reference, "--queries", 60, "--compare", model)
    compared = result["comparison"]
    assert compared["n"] == result["attacked"] == result["compared"]["attacked"]
    assert compared["curve"][-1]["l2"]["ratio"]["value"] == 1
    assert Path(compared["figure"]).is_file()
    assert Path(result["compared"]["witnesses"]).read_bytes()


def test_what_fools_one_file_is_shown_to_others(folder: Path, cinc_zip: Path, reference: Path) -> None:
    """The victim itself is wrong on all of it; a file that always answers one class is right on that class only."""
    model = write_model(folder / "m.onnx")
    always = write_model(folder / "always.onnx", bias=1e9)
    result = small_attack(
        model, cinc_zip, reference, "--attack", "boundary", "--pairs", 1, "--queries", 30, "--transfer", always
    )
    victim, other = result["transfer"]
    assert (victim["role"], victim["adversarial"]["value"], victim["clean"]["value"]) == ("victim", 0, 1)
    n = victim["adversarial"]["n"]
    with np.load(result["witnesses"]) as witnesses:
        assert other["adversarial"]["value"] == pytest.approx((witnesses["labels"] == 0).sum() / n)
        assert (witnesses["labels"] != witnesses["targets"]).all()
        pairs = set(zip(witnesses["labels"].tolist(), witnesses["targets"].tolist(), strict=True))
    assert len(pairs) == n


def test_an_input_step_that_masks_a_plain_attack_is_reported_and_not_called_robust(
    folder: Path, cinc_zip: Path, reference: Path
) -> None:
    """The same network behind a step of 1 uV and of 400 uV: HopSkipJump goes blind, smooth-geo does not."""
    options = ("--attack", "hopskipjump", "--queries", 300)
    fine = small_attack(write_model(folder / "fine.onnx"), cinc_zip, reference, *options)
    assert not fine["masking"]["verdict"]["masked"] and not fine["findings"]
    coarse = write_model(folder / "coarse.onnx", step=400)
    blind = small_attack(coarse, cinc_zip, reference, *options)
    assert blind["masking"]["verdict"]["masked"]
    assert "MASKED" in blind["findings"][0] and "400 uV" in blind["findings"][0]
    compared = small_attack(folder / "fine.onnx", cinc_zip, reference, *options, "--compare", coarse)
    assert "MASKED on coarse.onnx" in compared["comparison"]["sentence"]
    seeing = small_attack(coarse, cinc_zip, reference, "--queries", 300)
    assert not seeing["masking"]["verdict"]["masked"]
    assert seeing["curve"][-1]["median_l2_uv"] < blind["curve"][-1]["median_l2_uv"]


@pytest.mark.parametrize("name", ["smooth-geo", "rays-sap", "boundary", "hopskipjump"])
def test_a_constant_classifier_is_bounded_and_said(folder: Path, cinc_zip: Path, name: str) -> None:
    model = write_model(folder / "m.onnx", bias=1e9)
    outcome = attack(model, "--data", cinc_zip, "--attack", name, "--queries", 80, "--samples", 12, "--json")
    result = json.loads(outcome.stdout)
    assert result["attacked"] > 0 and result["curve"][-1]["median_l2_uv"] is None
    assert result["queries_made"] <= 12 * 80
    assert "every record and every query" in result["findings"][0]


def test_probabilities_are_accepted_and_said(folder: Path, cinc_zip: Path, reference: Path) -> None:
    result = small_attack(write_model(folder / "m.onnx", end="Softmax"), cinc_zip, reference, "--queries", 10)
    assert "probabilities" in result["findings"][0]


def test_workers_and_threads_change_nothing(folder: Path, cinc_zip: Path, reference: Path) -> None:
    """On a file with integer codes, 1 or 2 workers, 1 or 2 threads of ONNX Runtime: the same witnesses."""
    model = write_model(folder / "m.onnx", step=16)
    found = []
    for workers, threads in ((1, 1), (2, 1), (1, 2)):
        out = folder / f"w{workers}t{threads}"
        more = ("--queries", 60, "--workers", workers, "--threads", threads, "--out", out)
        small_attack(model, cinc_zip, reference, *more)
        with np.load(out / "witnesses.npz") as witnesses:
            found.append({name: witnesses[name] for name in witnesses.files})
    for other in found[1:]:
        for name, value in found[0].items():
            np.testing.assert_array_equal(value, other[name])


def test_labels_alone_need_no_less_than_the_gradient(folder: Path, cinc_zip: Path, reference: Path) -> None:
    """On a linear file SAP by the gradient is exact: the black box cannot need less, and nothing is masked."""
    model = write_model(folder / "m.onnx")
    found = small_attack(model, cinc_zip, reference, "--attack", "rays-sap", "--queries", 600, "--white-box")
    compared = found["white_box"]
    assert compared["n"] == found["attacked"]
    assert compared["ratio"]["low_quartile"] >= 0.99
    assert compared["check"]["holds"] is True
    outcome = attack(model, "--data", cinc_zip, "--white-box")
    assert outcome.exit_code == 2 and "--attack rays-sap" in outcome.stderr
