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

from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split
from edgeguard.models.run import load_run
from edgeguard.runtime.metadata import ModelMetadata

Call = Callable[..., Result]
Refused = Callable[[Result], str]
OnlyJson = Callable[[Result], dict[str, Any]]

QUICK = ("--steps", 2, "--smooth-steps", 2, "--alpha", 5)
GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,9000] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {1, -1, 0, 0}, float[4] bias = {0, 0, -9999, -9999}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    scaled = MatMul (mean, weight)
    logits = Add (scaled, bias)
}
"""


def write_file(path: Path, run: Path | None = None) -> Path:
    """A small ONNX file; of the run, where one is given."""
    model = onnx.parser.parse_model(GRAPH)
    parent = load_run(run) if run else None
    about = ModelMetadata(
        classes=("N", "A", "O", "~"),
        sampling_rate=300,
        window=9000,
        parent_sha256=parent and parent.weights_sha256,
        data=parent and parent.config["data"],
        split=parent and parent.config["split"],
    )
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
    assert set(report["worst_case"]) == {"accuracy", "f1"}
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


def test_the_strict_profile_has_nine_rows(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    report = only_json(edgeguard("evaluate", own_run, "--profile", "strict", "--limit", 2, "--json"))
    assert report["n"] == 2 and report["profile"] == "strict" and len(report["attacks"]) == 9
    assert {a["steps"] for a in report["attacks"]} == {0, 40}


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
    assert "zero ce gradient, other" in edgeguard(*options, "--compare", own_run).stdout


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


def test_two_runs_are_compared_on_the_same_records(
    edgeguard: Call, own_run: Path, other_run: Path, only_json: OnlyJson
):
    options = ("--attack", "clean,pgd", *QUICK, "--json")
    alone = [only_json(edgeguard("evaluate", run, *options)) for run in (own_run, other_run)]
    result = edgeguard("evaluate", own_run, "--compare", other_run, *options)
    report = only_json(result)
    compare = report.pop("compare")
    assert report == alone[0] and compare["model"] == str(other_run)
    assert compare["attacks"] == alone[1]["attacks"]
    assert "records that neither has seen in training or validation" in result.stderr
    for name, rates in (
        ("clean", [one["attacks"][0]["accuracy"] for one in alone]),
        ("worst_case", [one["worst_case"]["accuracy"] for one in alone]),
    ):
        about = compare[name]
        assert {"difference", "low", "high", "n", "mcnemar_p"} <= set(about) and about["n"] == report["n"]
        assert about["difference"] == pytest.approx(rates[0]["value"] - rates[1]["value"])
        assert about["low"] <= about["difference"] <= about["high"] and 0 < about["mcnemar_p"] <= 1
    assert compare["margin"] == 0.02 and compare["holds"] is (compare["worst_case"]["low"] > -0.02)


def test_the_exit_code_is_the_verdict_where_a_margin_is_given(edgeguard: Call, own_run: Path):
    """Against itself the difference is 0 +- 32 points on 8 records."""
    options = ("evaluate", own_run, "--compare", own_run, "--attack", "clean")
    for margin, code, verdict in (
        ((), 0, "inferior or undecided: lower bound -32."),
        (("--margin", 2), 1, "inferior or undecided: lower bound -32."),
        (("--margin", 33), 0, "not inferior by more than 33 points"),
    ):
        result = edgeguard(*options, *margin)
        assert result.exit_code == code and verdict in result.stdout
        assert f"{own_run} minus {own_run}, n = 8" in result.stdout
    result = edgeguard(*options, "--margin", 0, "--json")
    assert result.exit_code == 1 and json.loads(result.stdout)["compare"]["holds"] is False


def test_what_cannot_be_compared_is_refused(
    edgeguard: Call, own_run: Path, other_run: Path, refused: Refused, tmp_path: Path
):
    compare = ("evaluate", own_run, "--compare", other_run)
    assert "a comparison is on records that neither has seen" in refused(edgeguard(*compare, "--split", "all"))
    assert "--margin -1: 0 to 100 points needed" in refused(edgeguard(*compare, "--margin", -1))
    assert "--margin nan: 0 to 100 points needed" in refused(edgeguard(*compare, "--margin", "nan"))
    config = json.loads((other_run / "config.json").read_text())
    (other_run / "config.json").write_text(json.dumps(config | {"window": 6000}))
    assert "runs/other: takes 6000 samples" in refused(edgeguard(*compare))
    assert "nowhere: neither a run folder" in refused(edgeguard("evaluate", own_run, "--compare", "nowhere"))
    alone = write_file(tmp_path / "alone.onnx")
    assert "alone.onnx: its run is not beside it" in refused(edgeguard("evaluate", own_run, "--compare", alone))


def test_limit_and_split(edgeguard: Call, own_run: Path, only_json: OnlyJson):
    options = ("--attack", "clean", "--json")
    result = edgeguard("evaluate", own_run, "--limit", 4, *options)
    assert only_json(result)["n"] == 4 and "4 of them" in result.stderr
    confusion = only_json(result)["attacks"][0]["confusion"]
    assert [sum(row) for row in confusion] == [1, 1, 1, 1]
    result = edgeguard("evaluate", own_run, "--split", "all", *options)
    assert only_json(result)["n"] == 80 and "of them seen in training or validation" in result.stderr


def test_steps_that_cannot_reach_eps_are_said(edgeguard: Call, own_run: Path):
    result = edgeguard("evaluate", own_run, "--attack", "pgd", "--steps", 2, "--alpha", 1, "--limit", 1)
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
        (["--attack", "fgsm"], "--attack fgsm: unknown; choose from clean, pgd, sap"),
        (["--attack", ""], "--attack: names none"),
        (["--attack", " , "], "--attack: names none"),
        (["--loss", "dlr"], "--loss dlr: unknown; choose from ce, margin, rescaled"),
        (["--loss", ""], "--loss: names none; choose from ce, margin, rescaled"),
        (["--loss", "ce", "--profile", "strict"], "--loss: the strict profile has its own, ce and margin"),
        (["--margin", "2"], "--margin 2: nothing to compare with; add --compare RUN or leave it out"),
        (["--profile", "lax"], "--profile lax: unknown; choose paper or strict"),
        (["--split", "train"], "--split train: choose test or all"),
        (["--kernels", "nest"], "--kernels nest: choose nest25 or zip5"),
        (["--mask", "never"], "--mask never: choose loop or end"),
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


def test_a_file_without_its_run_cannot_be_attacked_without_a_source(
    edgeguard: Call, waves: Path, tmp_path: Path, refused: Refused, only_json: OnlyJson
):
    file = write_file(tmp_path / "alone.onnx")
    message = refused(edgeguard("evaluate", file, "--data", waves))
    assert "its run is not beside it, so nothing can craft; name one with --source RUN" in message
    report = only_json(edgeguard("evaluate", file, "--data", waves, "--attack", "clean", "--json"))
    assert report["n"] == 80


def test_a_model_of_another_window_is_refused(
    edgeguard: Call, own_run: Path, tmp_path: Path, waves: Path, refused: Refused
):
    model = onnx.parser.parse_model(GRAPH.replace("9000", "600").replace("60099", "-9999"))
    about = ModelMetadata(classes=("N", "A", "O", "~"), sampling_rate=300, window=600)
    onnx.helper.set_model_props(model, about.to_props())
    onnx.save(model, tmp_path / "short.onnx")
    message = refused(edgeguard("evaluate", tmp_path / "short.onnx", "--data", waves, "--attack", "clean"))
    assert "short.onnx: takes 600 samples" in message
    config = json.loads((own_run / "config.json").read_text())
    shutil.copytree(own_run, "runs/short")
    Path("runs/short/config.json").write_text(json.dumps(config | {"window": 6000}))
    message = refused(edgeguard("evaluate", own_run, "--source", "runs/short"))
    assert "runs/short: takes 6000 samples" in message
