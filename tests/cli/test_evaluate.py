"""edgeguard evaluate: runs and files, on which records, attacked by whom."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from click.testing import Result
from short_work import SHORT, STRICT

from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split
from edgeguard.models.run import load_run
from edgeguard.runtime.metadata import ModelMetadata

Call = Callable[..., Result]
Refused = Callable[[Result], str]
OnlyJson = Callable[[Result], dict[str, Any]]

QUICK = ("--steps", 2, "--smooth-steps", 2, "--alpha", 5, "--no-checks")
GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,9000] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {1, -1, 0, 0}, float[4] bias = {0, 0, -9999, -9999}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    passed = Identity (mean)
    scaled = MatMul (passed, weight)
    logits = Add (scaled, bias)
}
"""


def write_int8(path: Path, run: Path, *, step: float) -> Path:
    """The small file with its input rounded to codes of `step` microvolts."""
    rounded = GRAPH.replace("float[4] bias", f"float step = {{{step}}}, int8 zero = {{0}}, float[4] bias").replace(
        "mean = ReduceMean <keepdims = 0> (ecg, time)",
        "codes = QuantizeLinear (ecg, step, zero)\n"
        "    samples = DequantizeLinear (codes, step, zero)\n"
        "    mean = ReduceMean <keepdims = 0> (samples, time)",
    )
    return write_file(path, run, graph=rounded)


def write_file(
    path: Path, run: Path | None = None, *, operator: str = "Identity", said: bool = True, graph: str = GRAPH
) -> Path:
    """A small ONNX file; of the run, where one is given; through an operator; with metadata or without."""
    model = onnx.parser.parse_model(graph.replace("Identity", operator))
    parent = load_run(run) if run else None
    about = ModelMetadata(
        classes=("N", "A", "O", "~"),
        sampling_rate=300,
        window=9000,
        parent_sha256=parent and parent.weights_sha256,
        data=parent and parent.config["data"],
        split=parent and parent.config["split"],
    )
    if said:
        onnx.helper.set_model_props(model, about.to_props())
    onnx.save(model, path)
    return path


def test_the_json_object_is_that_of_the_contract(edgeguard: Call, own_run: Path, waves: Path, only_json: OnlyJson):
    result = edgeguard("evaluate", own_run, *QUICK, "--json")
    report = only_json(result)
    assert report["schema"] == "edgeguard.evaluate/1"
    assert {"model", "data", "n", "profile", "attacks", "worst_case"} <= set(report)
    parts = split(load_dataset(str(waves)), seed=0)
    assert report["n"] == len(parts.test) and report["profile"] == "paper"
    assert f"{len(parts.test)} test records" in result.stderr
    assert [(a["name"], a["situation"], a["loss"]) for a in report["attacks"]] == [
        ("clean", None, "ce"),
        ("pgd", "II", "ce"),
        ("sap", "II", "ce"),
    ]
    contract = {
        "name",
        "situation",
        "gradient",
        "eps_uv",
        "steps",
        "smooth_steps",
        "loss",
        "accuracy",
        "f1",
        "confusion",
    }
    for attack in report["attacks"]:
        assert contract <= set(attack)
        assert set(attack["accuracy"]) == set(attack["f1"]) == {"value", "low", "high", "n"}
        assert np.sum(attack["confusion"]) == attack["accuracy"]["n"] == report["n"]
    assert set(report["worst_case"]) == {"accuracy", "f1", "f1_nao", "classes"}
    assert report["worst_case"]["accuracy"]["value"] <= min(a["accuracy"]["value"] for a in report["attacks"])


def test_clean_accuracy_is_that_of_the_network_on_the_test_part(
    edgeguard: Call, own_run: Path, waves: Path, only_json: OnlyJson
):
    report = only_json(edgeguard("evaluate", own_run, "--attack", "clean", "--json"))
    dataset = load_dataset(str(waves))
    ecg, _, labels = dataset.batch(split(dataset, seed=0).test)
    with torch.no_grad():
        predicted = load_run(own_run).model(torch.from_numpy(ecg)).argmax(1).numpy()
    assert report["attacks"][0]["accuracy"]["value"] == (predicted == labels).mean()
    assert report["worst_case"]["accuracy"] == report["attacks"][0]["accuracy"]


def test_people_get_a_table_of_the_newest_run(edgeguard: Call, own_run: Path):
    result = edgeguard("evaluate", "--attack", "clean,sap", *QUICK)
    assert result.exit_code == 0 and f"run: {own_run}" in result.stderr
    assert "SAP 10 uV (2, 2) ce [II]" in result.stdout and "worst case" in result.stdout
    assert "true class by row, predicted by column" in result.stdout and "[" in result.stdout


def test_the_strict_profile_is_a_cascade(
    edgeguard: Call, own_run: Path, only_json: OnlyJson, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(STRICT, SHORT)
    report = only_json(edgeguard("evaluate", own_run, "--profile", "strict", "--samples", 2, "--no-checks", "--json"))
    assert report["n"] == 2 and report["profile"] == "strict" and len(report["attacks"]) == 20
    clean, *rows = report["attacks"]
    assert all(row["felled"] <= row["records"] <= 2 for row in rows) and "records" not in clean
    assert set(report["by_space"]) == {"plain", "smooth"} and report["profile_version"] == "strict/2"


def test_each_attack_runs_with_each_loss(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    options = ("--attack", "clean,pgd", "--loss", "margin, ce,rescaled", "--limit", 4, *QUICK)
    report = only_json(edgeguard("evaluate", own_run, *options, "--json"))
    assert [(a["name"], a["loss"]) for a in report["attacks"]] == [
        ("clean", "ce"),
        ("pgd", "margin"),
        ("pgd", "ce"),
        ("pgd", "rescaled"),
    ]
    clean, *attacked = report["attacks"]
    assert clean["zero_gradient"] is None
    assert [a["zero_gradient"]["value"] for a in attacked] == [0, 0, 0]
    assert attacked[0]["zero_gradient"]["n"] == report["n"] == 4
    assert "gradient" not in edgeguard("evaluate", own_run, *options).stdout


def test_a_masked_loss_is_said(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    """Logits a million times larger decide alike and have no cross-entropy gradient where they are right."""
    from edgeguard.models.run import save_tensors

    model = load_run(own_run).model
    model.head.weight.data *= 1e6
    model.head.bias.data *= 1e6
    save_tensors(own_run / "weights.safetensors", model.state_dict())
    options = ("evaluate", own_run, "--attack", "clean,pgd", "--loss", "ce,margin", *QUICK)
    clean, ce, margin = only_json(edgeguard(*options, "--json"))["attacks"]
    assert ce["zero_gradient"]["value"] == clean["accuracy"]["value"] == ce["accuracy"]["value"] > 0
    assert margin["zero_gradient"]["value"] == 0
    text = edgeguard(*options).stdout
    assert f"zero ce gradient                  {ce['zero_gradient']['value']:.3f} [" in text
    assert "zero margin gradient" not in text


@pytest.fixture
def other_run(own_run: Path) -> Path:
    """The same network with its classes' logits shifted: right on some other records."""
    from edgeguard.models.run import save_tensors

    other = Path("runs/other")
    shutil.copytree(own_run, other)
    model = load_run(other).model
    model.head.bias.data += torch.tensor([0.0, 1e6, 0.0, 0.0])
    save_tensors(other / "weights.safetensors", model.state_dict())
    return other


@pytest.fixture
def equal_run(own_run: Path) -> Path:
    """A network of other weights that decides alike: all its logits are shifted by one."""
    from edgeguard.models.run import save_tensors

    equal = Path("runs/equal")
    shutil.copytree(own_run, equal)
    model = load_run(equal).model
    model.head.bias.data += 1.0
    save_tensors(equal / "weights.safetensors", model.state_dict())
    return equal


def test_two_runs_are_compared_by_one_portfolio(edgeguard: Call, own_run: Path, other_run: Path, only_json: OnlyJson):
    """Each row is that of an evaluation of its own: of the run on itself, or with the other as source."""
    options = ("--attack", "clean,pgd", *QUICK, "--json")
    runs = {"run": own_run, "other run": other_run}
    alone = {
        (judged, crafting): only_json(edgeguard("evaluate", runs[judged], "--source", runs[crafting], *options))
        for judged in runs
        for crafting in runs
    }
    result = edgeguard("evaluate", own_run, "--compare", other_run, *options)
    report = only_json(result)
    compare = report["compare"]
    assert "records that neither has seen in training or validation" in result.stderr
    for judged, attacks in (("run", report["attacks"]), ("other run", compare["attacks"])):
        assert attacks[0] == alone[judged, judged]["attacks"][0]
        for crafting, row in zip(runs, attacks[1:], strict=True):
            assert row == alone[judged, crafting]["attacks"][1] | {"gradient": crafting}
            assert row["situation"] == ("II" if crafting == judged else "I")
    about = compare["worst_case"]
    assert {"difference", "low", "high", "n", "mcnemar_p"} <= set(about) and about["n"] == report["n"]
    assert about["difference"] == pytest.approx(
        report["worst_case"]["accuracy"]["value"] - compare["accuracy"]["other"]["value"]
    )
    assert compare["accuracy"]["model"]["value"] == report["worst_case"]["accuracy"]["value"]
    for crafting in runs:
        assert compare["transfer"][crafting]["model"]["value"] == report["by_gradient"][crafting]["accuracy"]["value"]
    table = compare["table"]
    assert sum(table.values()) == report["n"]
    assert (table["both_right"] + table["only_exported"]) / report["n"] == compare["accuracy"]["model"]["value"]
    assert compare["model"] == str(other_run) and compare["margin"] == 0.02 and compare["needed"] > report["n"]
    assert compare["holds"] is (compare["verdict"] == "survives") is (about["low"] > -0.02)


def test_the_exit_code_is_the_verdict_where_a_margin_is_given(
    edgeguard: Call, own_run: Path, equal_run: Path, other_run: Path
):
    """Two networks that decide alike: the difference is 0 +- 32 points on 8 records."""
    options = ("--attack", "clean,pgd", *QUICK)
    for margin, code, verdict in (
        ((), 0, "inconclusive: worst case +0.0 [-32."),
        (("--margin", 2), 1, "inconclusive: worst case +0.0 [-32."),
        (("--margin", 33), 0, "survives: worst case +0.0 [-32."),
    ):
        result = edgeguard("evaluate", own_run, "--compare", equal_run, *options, *margin)
        assert result.exit_code == code and verdict in result.stdout
        assert f"model {own_run} less other {equal_run}, n = 8" in result.stdout
    result = edgeguard("evaluate", other_run, "--compare", own_run, *options, "--margin", 2, "--json")
    compare = json.loads(result.stdout)["compare"]
    assert (result.exit_code, compare["holds"], compare["verdict"]) == (1, False, "degraded")


def test_what_cannot_be_compared_is_refused(
    edgeguard: Call, own_run: Path, other_run: Path, refused: Refused, tmp_path: Path
):
    compare = ("evaluate", own_run, "--compare", other_run)
    assert "a comparison is on records that neither has seen" in refused(edgeguard(*compare, "--split", "all"))
    for margin in ("-1", "0", "100", "nan"):
        message = refused(edgeguard(*compare, "--margin", margin))
        assert f"--margin {margin}: above 0 and below 100 points needed" in message
    assert "clean records tell nothing of robustness" in refused(edgeguard(*compare, "--attack", "clean"))
    assert "crafts on both that it compares; leave it out" in refused(edgeguard(*compare, "--source", other_run))
    assert f"the same network as {own_run}" in refused(edgeguard("evaluate", own_run, "--compare", own_run))
    file = write_file(own_run / "a.onnx", own_run)
    message = refused(edgeguard("evaluate", file, "--compare", own_run, "--gradient", "parent"))
    assert "attacks would be crafted on parent alone; choose more with --gradient" in message
    config = json.loads((other_run / "config.json").read_text())
    (other_run / "config.json").write_text(json.dumps(config | {"window": 6000}))
    assert "runs/other: takes 6000 samples" in refused(edgeguard(*compare))
    assert "nowhere: neither a run folder" in refused(edgeguard("evaluate", own_run, "--compare", "nowhere"))
    alone = write_file(tmp_path / "alone.onnx", operator="Atan")
    assert "alone.onnx: operator Atan" in refused(edgeguard("evaluate", own_run, "--compare", alone))


def test_an_int8_file_is_compared_with_its_float_file(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    """A float file's run stands for its twin; both files are of that run, so that all is situation II."""
    int8, fp32 = write_int8(own_run / "int8.onnx", own_run, step=1), write_file(own_run / "fp32.onnx", own_run)
    options = ("--attack", "clean,pgd", "--limit", 4, *QUICK, "--json")
    for compared in (fp32, own_run):
        report = only_json(edgeguard("evaluate", int8, "--compare", compared, *options))
        for attacks in (report["attacks"], report["compare"]["attacks"]):
            rows = [(row["gradient"], row["situation"]) for row in attacks]
            assert rows == [(None, None), ("twin", "II"), ("parent", "II")]
        assert list(report["compare"]["transfer"]) == ["twin", "parent"]


def test_masking_checks_are_told_and_leave_the_exit_code(
    edgeguard: Call, own_run: Path, equal_run: Path, only_json: OnlyJson
):
    """An input step that swallows eps: no gradient, straight through or not, moves anything."""
    options = ("--attack", "pgd", "--limit", 4, "--steps", 2, "--alpha", 5)
    fine, coarse = (write_int8(own_run / f"{step}.onnx", own_run, step=step) for step in (0.5, 4000))
    report = only_json(edgeguard("evaluate", coarse, *options, "--json"))
    checks = {check["name"]: check for check in report["checks"]}
    assert len(checks) == 13 and set(checks["reach"]) == {"name", "holds", "figure", "bar", "message", "eps_uv"}
    assert checks["straight_through"]["holds"] is False and checks["reach"]["holds"] is True
    held = sum(check["holds"] is True for check in report["checks"])
    text = edgeguard("evaluate", coarse, *options).stdout
    untold = [check for check in report["checks"] if check["figure"] is None]
    assert f"{held} of {13 - len(untold)} masking checks hold" in text
    assert f"TRIPPED    straight_through: {checks['straight_through']['message']}" in text
    assert "TRIPPED    straight_through" not in edgeguard("evaluate", fine, *options).stdout
    text = edgeguard("evaluate", own_run, *options).stdout
    assert "masking checks hold; not applicable: straight_through, transfer" in text
    for without in (("--no-checks",), ("--eps", 0), ("--attack", "clean"), ("--source", coarse)):
        assert only_json(edgeguard("evaluate", equal_run, *options, *without, "--json"))["checks"] == []


def test_divergences_are_hunted_and_kept(
    edgeguard: Call, own_run: Path, other_run: Path, only_json: OnlyJson, refused: Refused
):
    """A network that calls everything A diverges on every record that the other has right, as it is."""
    from edgeguard.evaluation.divergences import load_divergences

    options = ("evaluate", own_run, "--compare", other_run, "--attack", "clean,pgd", *QUICK, "--hunt")
    report = only_json(edgeguard(*options, "new/found.npz", "--json"))
    found, hunt = load_divergences(Path("new/found.npz")), report["hunt"]
    assert found.parties == (str(own_run), str(other_run)) and found.eps == hunt["eps_uv"] == 10
    assert found.tried == hunt["either"]["n"] == report["n"] and hunt["witnesses"] == "new/found.npz"
    assert found.only_first.sum() == round(hunt["only_first_right"]["value"] * report["n"]) > 0
    for run, column in ((own_run, 0), (other_run, 1)):
        with torch.no_grad():
            logits = load_run(run).model(torch.from_numpy(found.adversarial[:, None]))
        assert np.array_equal(logits.argmax(1).numpy(), found.predicted[:, column])
    assert "model right, other wrong" in edgeguard(*options, "new/found.npz").stdout
    for bad in ("new", "found.txt", "new/found.npz/below.npz"):
        assert f"--hunt {bad}: no place for a file of that name" in refused(edgeguard(*options, bad))
    message = refused(edgeguard("evaluate", own_run, "--hunt", "found.npz"))
    assert "--hunt found.npz: nothing to compare with; add --compare OTHER" in message


def test_limit_and_split(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    options = ("--attack", "clean", "--json")
    result = edgeguard("evaluate", own_run, "--limit", 4, *options)
    assert only_json(result)["n"] == 4 and "4 of them" in result.stderr
    confusion = only_json(result)["attacks"][0]["confusion"]
    assert [sum(row) for row in confusion] == [1, 1, 1, 1]
    result = edgeguard("evaluate", own_run, "--split", "all", *options)
    assert only_json(result)["n"] == 80 and "of them seen in training or validation" in result.stderr


def test_steps_that_cannot_reach_eps_are_said(edgeguard: Call, own_run: Path):
    result = edgeguard("evaluate", own_run, "--attack", "pgd", "--steps", 2, "--alpha", 1, "--limit", 1, "--no-checks")
    assert result.exit_code == 0 and "2 steps of 1 uV cannot reach eps 10 uV" in result.stderr


def test_a_source_of_its_own_weights_is_situation_two(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    shutil.copytree(own_run, "runs/twin")
    shutil.copytree(own_run, "runs/other")
    run = load_run(Path("runs/other"))
    run.model.head.bias.data += 0.01
    from edgeguard.models.run import save_tensors

    save_tensors(Path("runs/other/weights.safetensors"), run.model.state_dict())
    apart, stranger = Path("apart"), Path("stranger")
    apart.mkdir()
    stranger.mkdir()
    file, foreign = write_file(apart / "a.onnx", own_run), write_file(stranger / "b.onnx")
    beside = write_file(own_run / "c.onnx", own_run)
    options = ("--attack", "pgd", "--limit", 2, *QUICK, "--data")
    data = json.loads((own_run / "config.json").read_text())["options"]["data"]
    for model, source, situation in (
        (own_run, None, "II"),
        (own_run, "runs/twin", "II"),
        (own_run, "runs/other", "I"),
        (beside, None, "II"),
        (file, own_run, "II"),
        (file, "runs/other", "I"),
        (foreign, own_run, "I"),
    ):
        crafting = ("--source", source) if source else ()
        report = only_json(edgeguard("evaluate", model, *options, data, *crafting, "--json"))
        assert report["attacks"][0]["situation"] == situation, (model, source)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eps", "-1"], "--eps -1: at least 0 needed"),
        (["--eps", "nan"], "--eps nan: at least 0 needed"),
        (["--steps", "-1"], "--steps -1: at least 0 needed"),
        (["--attack", "fgsm"], "--attack fgsm: unknown; choose clean, pgd, sap"),
        (["--attack", ""], "--attack: names none"),
        (["--attack", " , "], "--attack: names none"),
        (["--loss", "cw"], "--loss cw: unknown; choose ce, margin, dlr or rescaled"),
        (["--loss", ""], "--loss: names none; choose from ce, margin, dlr, rescaled"),
        (["--loss", "ce", "--full"], "--loss: the full profile has its own, ce, margin and dlr"),
        (["--gradient", "twin"], "--gradient twin: runs/none-edge-s is a run and crafts on itself; leave it out"),
        (["--gradient", "ste"], "--gradient ste: unknown; choose twin, twin-pure, parent, mean or none"),
        (["--loss", "ce", "--profile", "strict"], "--loss: the strict profile has its own, ce and dlr"),
        (["--margin", "2"], "--margin 2: nothing to compare with; add --compare OTHER or leave it out"),
        (["--profile", "lax"], "--profile lax: unknown; choose paper, strict or full"),
        (["--split", "train"], "--split train: unknown; choose test or all"),
        (["--kernels", "nest"], "--kernels nest: unknown; did you mean nest25? choose nest25 or zip5"),
        (["--mask", "never"], "--mask never: unknown; choose loop or end"),
        (["--limit", "0"], "--limit 0: at least 1 needed"),
        (["--seed", "-1"], "--seed -1: at least 0 needed"),
        (["--source", "nowhere"], "nowhere: neither a run folder nor an ONNX file"),
        (["--data", "nowhere.zip"], "nowhere.zip: no such file or folder"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    edgeguard: Call, own_run: Path, refused: Refused, options: list[str], message: str
):
    assert message in refused(edgeguard("evaluate", own_run, *options))


def test_a_spoilt_model_is_refused_in_one_line(edgeguard: Call, own_run: Path, refused: Refused):
    weights = own_run / "weights.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-10])
    assert "weights.safetensors: cannot be read" in refused(edgeguard("evaluate", own_run))
    weights.unlink()
    assert "weights.safetensors is missing; finish the run" in refused(edgeguard("evaluate", own_run))
    assert "no finished run; make one with edgeguard train" in refused(edgeguard("evaluate"))
    Path("text.onnx").write_text("not a model")
    assert "text.onnx" in refused(edgeguard("evaluate", "text.onnx"))
    assert "nowhere: neither a run folder nor an ONNX file" in refused(edgeguard("evaluate", "nowhere"))


def test_a_file_is_attacked_through_its_twin_and_its_run(
    edgeguard: Call, own_run: Path, only_json: OnlyJson, refused: Refused, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(STRICT, SHORT)
    file = write_file(own_run / "a.onnx", own_run)
    options = ("evaluate", file, "--attack", "clean,pgd", "--limit", 2)

    def crafted(*more: object) -> list[str | None]:
        return [row["gradient"] for row in only_json(edgeguard(*options, *more, "--json"))["attacks"]]

    assert crafted(*QUICK) == [None, "twin"]
    assert crafted(*QUICK, "--gradient", "none, twin-pure,mean,parent") == [None, "none", "twin-pure", "mean", "parent"]
    for strict in (("--profile", "strict"), ()):
        assert crafted(*strict, "--no-checks") == [None, *["twin", "parent"] * 9], "strict is what a file gets"
    text = edgeguard(*options, *QUICK, "--gradient", "twin,none").stdout
    assert "PGD 10 uV (2) ce, twin [II]" in text and "worst case, none alone" in text
    assert "zero" not in text  # nothing is rounded in this file, so that its own gradient is one
    assert "--gradient parent: no run beside" in refused(
        edgeguard("evaluate", write_file(Path("b.onnx")), "--gradient", "parent", "--data", own_run)
    )


def test_the_full_profile_aims_at_every_class(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    file = write_file(own_run / "a.onnx", own_run)
    options = ("--full", "--limit", 1, "--attack", "cw-smooth", "--gradient", "twin-pure", "--no-checks")
    report = only_json(edgeguard("evaluate", file, *options, "--json"))
    assert report["profile"] == "full"
    assert [(row["target"], row["gradient"]) for row in report["attacks"]] == [(k, "twin-pure") for k in range(4)]


def test_a_foreign_file_is_attacked_without_a_run(
    edgeguard: Call, waves: Path, tmp_path: Path, refused: Refused, only_json: OnlyJson
):
    bare = write_file(tmp_path / "bare.onnx", said=False)
    options = ("--data", waves, "--attack", "clean,pgd", "--limit", 8, *QUICK)
    assert "--sampling-rate HZ --unit" in refused(edgeguard("evaluate", bare, *options))
    facts = ("--sampling-rate", 300, "--unit", "mV", "--classes", "N,A,O,~")
    report = only_json(edgeguard("evaluate", bare, *options, *facts, "--json"))
    assert [row["gradient"] for row in report["attacks"]] == [None, "twin"] and report["n"] == 8
    clean, attacked = (row["accuracy"]["value"] for row in report["attacks"])
    assert attacked < clean


def test_where_the_twin_lacks_an_operator(
    edgeguard: Call, waves: Path, own_run: Path, tmp_path: Path, refused: Refused, only_json: OnlyJson
):
    alone = write_file(tmp_path / "alone.onnx", operator="Atan")
    message = refused(edgeguard("evaluate", alone, "--data", waves))
    assert "alone.onnx: operator Atan" in message
    assert message.endswith("; or craft on another network with --source RUN")
    report = only_json(edgeguard("evaluate", alone, "--data", waves, "--attack", "clean", "--json"))
    assert report["n"] == 80
    beside = write_file(own_run / "beside.onnx", own_run, operator="Atan")
    result = edgeguard("evaluate", beside, "--attack", "pgd", "--limit", 2, *QUICK, "--json")
    assert [row["gradient"] for row in only_json(result)["attacks"]] == ["parent"]
    assert "operator Atan" in result.stderr and "crafting on its float run alone" in result.stderr


def test_a_model_of_another_window_is_refused(
    edgeguard: Call, own_run: Path, tmp_path: Path, waves: Path, refused: Refused
):
    model = onnx.parser.parse_model(GRAPH.replace("9000", "600").replace("60099", "-9999"))
    about = ModelMetadata(classes=("N", "A", "O", "~"), sampling_rate=300, window=600)
    onnx.helper.set_model_props(model, about.to_props())
    onnx.save(model, tmp_path / "short.onnx")
    short = edgeguard("evaluate", tmp_path / "short.onnx", "--data", waves, "--attack", "clean")
    assert short.exit_code == 0, "records are cut to the model's window"
    config = json.loads((own_run / "config.json").read_text())
    shutil.copytree(own_run, "runs/short")
    Path("runs/short/config.json").write_text(json.dumps(config | {"window": 6000}))
    message = refused(edgeguard("evaluate", own_run, "--source", "runs/short"))
    assert "runs/short: takes 6000 samples" in message
