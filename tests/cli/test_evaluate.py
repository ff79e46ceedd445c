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
