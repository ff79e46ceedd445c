"""The committed networks: whole, small, and as good as their scores say."""

import json
from pathlib import Path

import numpy as np
import pytest

import edgeguard.models
from edgeguard.defenses.recipes import DEFENSES
from edgeguard.defenses.runs import settings_of
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split_from
from edgeguard.models import load_run
from edgeguard.runtime.session import open_model

ZOO = Path(edgeguard.models.__file__).parent / "zoo"
NETWORKS = sorted(folder.name for folder in ZOO.iterdir() if folder.is_dir())
TEACHERS = {"dd": "none", "dist-adt": "none", "init-adt": "at", "adt": "at"}


def int8_file(name: str) -> Path:
    (file,) = (ZOO / name).glob("*-int8.onnx")
    return file


def test_every_defence_is_there():
    assert {*DEFENSES} == {load_run(ZOO / name).config["defense"] for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_whole_and_small(name: str):
    folder = ZOO / name
    run = load_run(folder)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len(log) == settings_of(run.config).stage_epochs
    assert json.loads((folder / "metrics.json").read_text())["validation"] == log[-1]["validation"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_int8_file_is_the_networks(name: str):
    run = load_run(ZOO / name)
    file = open_model(int8_file(name))
    assert file.metadata.parent_sha256 == run.weights_sha256
    assert file.metadata.split == run.config["split"]


@pytest.mark.parametrize("student", TEACHERS)
def test_a_student_learnt_from_the_committed_teacher(student: str):
    taught = load_run(ZOO / f"{student}-edge-m").config["teacher"]
    teacher = load_run(ZOO / f"{TEACHERS[student]}-edge-m")
    assert taught == {"defense": TEACHERS[student], "weights_sha256": teacher.weights_sha256}


@pytest.mark.real
@pytest.mark.parametrize("name", NETWORKS)
def test_the_clean_score_holds_on_the_test_part(name: str, cinc2017: Path):
    dataset = load_dataset(str(cinc2017))
    run = load_run(ZOO / name)
    if dataset.fingerprint != run.config["data"]["fingerprint"]:
        pytest.skip("other records than the networks were trained on")
    test = split_from(dataset, run.config["split"]).test
    names = json.loads((ZOO / name / "split.json").read_text())
    assert [dataset.names[i] for i in test] == names["test"]
    stated = json.loads((ZOO / name / "scores.json").read_text())["int8"]
    ecg, _, labels = dataset.batch(test)
    predicted = open_model(int8_file(name)).labels(ecg)
    # Another processor may round a near-tie the other way.
    assert np.mean(predicted == labels) == pytest.approx(stated["attacks"][0]["accuracy"]["value"], abs=0.005)
