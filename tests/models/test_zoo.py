"""The committed networks: whole, small, and as good as their scores say."""

import json
from pathlib import Path

import numpy as np
import pytest

import edgeguard.models
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split_from
from edgeguard.models import load_run
from edgeguard.runtime.session import open_model

ZOO = Path(edgeguard.models.__file__).parent / "zoo"
NETWORKS = ("none-edge-m", "at-edge-m", "adt-edge-m")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_whole_and_small(name: str):
    folder = ZOO / name
    run = load_run(folder)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 1_000_000
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert len(log) == run.config["options"]["epochs"]
    assert json.loads((folder / "metrics.json").read_text())["validation"] == log[-1]["validation"]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_int8_file_is_the_networks(name: str):
    run = load_run(ZOO / name)
    file = open_model(ZOO / name / f"{name}-int8.onnx")
    assert file.metadata.parent_sha256 == run.weights_sha256
    assert file.metadata.split == run.config["split"]


def test_the_student_learnt_from_the_committed_teacher():
    assert (
        load_run(ZOO / "adt-edge-m").config["teacher"]["weights_sha256"] == load_run(ZOO / "at-edge-m").weights_sha256
    )


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
    predicted = open_model(ZOO / name / f"{name}-int8.onnx").labels(ecg)
    # Another processor may round a near-tie the other way.
    assert np.mean(predicted == labels) == pytest.approx(stated["attacks"][0]["accuracy"]["value"], abs=0.005)
