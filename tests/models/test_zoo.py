"""The committed networks: whole, of one making in all their forms, and as good as their scores say."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.defenses.runs import settings_of
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split_from
from edgeguard.models.run import load_run, split_file
from edgeguard.report.zoo.recipes import read_recipes, teacher_of
from edgeguard.runtime.files import read_json, sha256_file
from edgeguard.runtime.session import open_model
from edgeguard.runtime.streaming import open_stream
from edgeguard.runtime.zoo import zoo_folder

ZOO = zoo_folder()
INDEX: dict[str, Any] = read_json(ZOO / "index.json")["models"] if (ZOO / "index.json").is_file() else {}
NETWORKS = list(INDEX)
RECIPES = read_recipes(ZOO)

every_network = pytest.mark.parametrize("name", NETWORKS)


def scores_of(name: str) -> dict[str, Any]:
    """Of a network, in every form."""
    scores: dict[str, Any] = read_json(ZOO / name / "scores.json")
    return scores


def test_the_index_follows_the_recipes() -> None:
    assert NETWORKS, "no network is published: write the index"
    assert [name for name in RECIPES if name in INDEX] == NETWORKS


@every_network
def test_a_network_is_whole(name: str) -> None:
    """Every file of the folder is in the index, by the hash that it has, and so is the split, which all share."""
    files = [*(ZOO / name).iterdir(), ZOO / "split.json"]
    assert INDEX[name]["files"] == {path.name: sha256_file(path) for path in files}
    assert {f"{name}-int8.onnx", f"{name}-int8-streaming.onnx", "card.md", "scores.json"} <= set(INDEX[name]["files"])
    weights, file = (ZOO / name / kind for kind in ("weights.safetensors", f"{name}-int8.onnx"))
    assert file.stat().st_size < weights.stat().st_size / 2


@every_network
def test_a_network_was_trained_by_its_recipe(name: str) -> None:
    run, recipe = load_run(ZOO / name), RECIPES[name]
    log = [json.loads(line) for line in (ZOO / name / "log.jsonl").read_text().splitlines()]
    metrics = read_json(ZOO / name / "metrics.json")
    assert len(log) == settings_of(run.config).stage_epochs == metrics["epochs"][-1]
    assert metrics["validation"] == log[-1]["validation"]
    assert metrics["parameters"] == sum(parameter.numel() for parameter in run.model.parameters())
    assert {key: run.config["options"][key] for key in recipe.options} == recipe.options
    about = {key: INDEX[name][key] for key in ("defense", "arch", "preset", "seed", "parameters")}
    assert about == {
        **{key: run.config[key] for key in about if key in run.config},
        "parameters": metrics["parameters"],
    }
    assert recipe.command() in (ZOO / name / "card.md").read_text(encoding="utf-8")


@every_network
def test_the_files_are_the_networks(name: str) -> None:
    run = load_run(ZOO / name)
    window = open_model(ZOO / name / f"{name}-int8.onnx")
    stream = open_stream(ZOO / name / f"{name}-int8-streaming.onnx")
    assert window.metadata.parent_sha256 == stream.metadata.parent_sha256 == run.weights_sha256
    assert window.metadata.split == run.config["split"] and window.window == run.config["window"]
    assert stream.metadata.window_sha256 == window.sha256 and stream.metadata.equality == "equal"
    assert list(window.classes) == list(stream.classes) == run.config["classes"]


@every_network
def test_the_scores_are_of_this_network(name: str) -> None:
    scores, recipe = scores_of(name), RECIPES[name]
    assert scores["weights_sha256"] == INDEX[name]["files"]["weights.safetensors"]
    int8 = [row for row in scores["rows"] if row["form"] == "int8"]
    assert {("paper", 10.0), *(("strict", eps) for eps in recipe.strict)} <= {
        (row["profile"], row["eps_uv"]) for row in int8
    }
    assert INDEX[name]["clean"] == int8[0]["clean"] and int8[0]["profile"] == "paper"
    assert INDEX[name]["worst_case"] == {
        f"{row['eps_uv']:g}": row["worst_case"]["accuracy"] for row in int8 if row["profile"] == "strict"
    }
    assert scores["stream"]["equal"] == scores["stream"]["compared"] > 0


@every_network
def test_a_further_seed_is_another_network(name: str) -> None:
    scores = scores_of(name)
    entries = scores.get("seeds", [])
    assert {entry["seed"] for entry in entries} <= set(range(1, RECIPES[name].seeds))
    hashes = [scores["weights_sha256"], *(entry["weights_sha256"] for entry in entries)]
    assert len(set(hashes)) == len(hashes)


def weights_of(token: str) -> str | None:
    """Hash of a teacher that is published, or that a published network names as its further seed, else None."""
    teacher, seed = teacher_of(token)
    if teacher not in INDEX:
        return None
    if seed is None:
        return str(INDEX[teacher]["files"]["weights.safetensors"])
    return next(
        (entry["weights_sha256"] for entry in scores_of(teacher).get("seeds", ()) if entry["seed"] == seed), None
    )


@every_network
def test_a_student_learnt_from_the_teachers_of_its_recipe(name: str) -> None:
    """Those that the recipe names, in its order, by the weights that are published."""
    taught = read_json(ZOO / name / "config.json")["teacher"]
    given = taught if isinstance(taught, list) else [taught] if taught else []
    if tokens := RECIPES[name].teachers:
        assert len(given) == len(tokens)
        for token, found in zip(tokens, given, strict=True):
            assert found["defense"] == RECIPES[teacher_of(token)[0]].options["defense"]
            assert found["weights_sha256"] == (weights_of(token) or found["weights_sha256"])
        return
    row = settings_of(read_json(ZOO / name / "config.json")).row
    assert [one["defense"] for one in given] == ([row.teacher] if row.teacher else [])
    for found in given:
        # The preset's own teacher is the network of the same preset and seed, where that is published.
        same = [
            entry
            for entry in INDEX.values()
            if entry["defense"] == found["defense"]
            and all(entry[key] == INDEX[name][key] for key in ("arch", "preset", "seed"))
        ]
        assert not same or found["weights_sha256"] in [entry["files"]["weights.safetensors"] for entry in same]


@pytest.mark.real
@every_network
def test_the_clean_score_holds_on_the_test_part(name: str, cinc2017: Path) -> None:
    dataset = load_dataset(str(cinc2017))
    run = load_run(ZOO / name)
    if dataset.fingerprint != run.config["data"]["fingerprint"]:
        pytest.skip("other records than the networks were trained on")
    test = split_from(dataset, run.config["split"]).test
    assert [dataset.names[i] for i in test] == read_json(split_file(run.path))["test"]
    (stated,) = (row for row in scores_of(name)["rows"] if (row["form"], row["profile"]) == ("int8", "paper"))
    assert stated["n"] == len(test)
    ecg, _, labels = dataset.batch(test)
    predicted = open_model(ZOO / name / f"{name}-int8.onnx").labels(ecg)
    # Another processor may round a near-tie the other way.
    assert np.mean(predicted == labels) == pytest.approx(stated["clean"]["accuracy"]["value"], abs=0.005)


def test_the_documents_have_the_scores(capsys: pytest.CaptureFixture[str]) -> None:
    """The results every table, the readme the first, and neither a row that is out of date."""
    root = Path(__file__).parents[2]
    runpy.run_path(str(root / "benchmarks" / "zoo_tables.py"), run_name="__main__")
    printed = {line for line in capsys.readouterr().out.splitlines() if line.startswith("| `")}
    first = {line for line in printed if line.startswith("| `zoo:")}
    for document in ("README.md", "docs/results.md"):
        lines = (root / document).read_text(encoding="utf-8").splitlines()
        assert {line for line in lines if line.startswith("| `zoo:")} == first
    assert len(first) > 4 and len(printed) > len(NETWORKS) and printed <= set(lines)
