import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.ecg.split import split
from edgeguard.ecg.unseen import Training, unseen_records
from edgeguard.errors import InputError
from edgeguard.evaluation.subject import Subject, open_subject, parent_run, training_of
from edgeguard.models.run import Run
from edgeguard.runtime.files import write_json
from edgeguard.runtime.model_spec import ModelSpec

MakeRun = Callable[..., Run]
WriteFile = Callable[..., Path]


def test_a_run_is_judged_by_its_network(make_run: MakeRun, dataset: Dataset):
    run = make_run()
    subject = open_subject(run.path)
    ecg = dataset.batch(np.arange(20))[0]
    with torch.no_grad():
        expected = run.model(torch.from_numpy(ecg)).argmax(1).numpy()
    labels = dataset.labels[:20]
    np.testing.assert_array_equal(subject.judge(ecg, labels), expected)
    assert subject.judge(ecg, labels).dtype == np.int64
    assert (subject.classes, subject.window, subject.is_file) == (CLASSES, 120, False)
    assert subject.weights_sha256 == run.weights_sha256


def test_a_file_is_judged_by_onnx_runtime_and_knows_its_run(make_run: MakeRun, write_file: WriteFile, dataset: Dataset):
    run = make_run()
    subject = open_subject(write_file("run/some.onnx", run))
    ecg, _, labels = dataset.batch(np.arange(20))
    np.testing.assert_array_equal(subject.judge(ecg, labels), (ecg.mean((1, 2)) < 0).astype(int))
    assert subject.is_file and subject.run is not None and subject.run.path == run.path
    assert subject.weights_sha256 == run.weights_sha256
    assert subject.data == run.config["data"] and subject.split == run.config["split"]


def test_a_file_apart_from_its_run_has_none(make_run: MakeRun, write_file: WriteFile):
    run = make_run()
    make_run("other", seed=1)
    apart = open_subject(write_file("some.onnx", run))
    assert apart.run is None and apart.weights_sha256 == run.weights_sha256
    assert open_subject(write_file("other/some.onnx", run)).run is None
    assert open_subject(write_file("run/none.onnx")).run is None
    assert parent_run(run.path / "any.onnx", None) is None


def test_what_a_file_does_not_say_is_said_for_it(write_file: WriteFile):
    file = write_file("bare.onnx", said=False)
    with pytest.raises(InputError, match=r"bare\.onnx: does not say its class names, its sampling rate"):
        open_subject(file)
    subject = open_subject(file, sampling_rate=300.0, unit="mV", classes=CLASSES)
    assert (subject.classes, subject.window) == (CLASSES, 120)


def given_logits(make_run: MakeRun, rows: list[list[float]]) -> Subject:
    return replace(open_subject(make_run().path), logits=lambda ecg: np.array(rows, np.float32))


def test_ties_go_to_the_attacker(make_run: MakeRun):
    """The right class is 1 throughout; equal largest logits count as any wrong one of them."""
    inf, nan = math.inf, math.nan
    rows = [
        [0, 5, 5, 1],
        [5, 5, 5, 1],
        [0, 5, 4, 1],
        [7, 5, 7, 1],
        [2, 2, 2, 2],
        [0, inf, inf, 0],
        [nan] * 4,
        [0, 3, nan, 0],
    ]
    predicted = given_logits(make_run, rows).judge(np.zeros((8, 1, 120), np.float32), np.ones(8, np.int64))
    assert predicted.tolist()[:6] == [2, 0, 1, 0, 0, 2] and 1 not in predicted[6:]


@given(st.lists(st.lists(st.integers(-2, 2), min_size=4, max_size=4), min_size=1, max_size=8), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_a_record_is_right_only_where_its_logit_exceeds_every_other(rows: list[list[int]], label: int):
    subject = Subject(
        "it", lambda ecg: np.array(rows, np.float32), ModelSpec(CLASSES, 300.0, 120), None, None, None, None, ""
    )
    predicted = subject.judge(np.zeros((len(rows), 1, 120), np.float32), np.full(len(rows), label))
    for row, found in zip(rows, predicted, strict=True):
        assert row[found] == max(row)
        assert (found == label) == all(row[label] > other for i, other in enumerate(row) if i != label)


def test_what_is_neither_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="nowhere: neither a run folder nor an ONNX file; check the path"):
        open_subject(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no run folder"):
        open_subject(tmp_path)
    (tmp_path / "text.onnx").write_text("not a model")
    with pytest.raises(InputError, match=r"text\.onnx"):
        open_subject(tmp_path / "text.onnx")


@pytest.fixture
def subject(make_run: MakeRun) -> Subject:
    return open_subject(make_run().path)


def test_on_its_own_data_the_test_part_is_judged(subject: Subject, dataset: Dataset):
    found = unseen_records(dataset, training_of(subject), part="test")
    np.testing.assert_array_equal(found.index, split(dataset, seed=0).test)
    assert found.line == f"{len(found.index)} test records, {90 - len(found.index)} seen ones left out" and found.known
    everything = unseen_records(dataset, training_of(subject), part="all")
    assert len(everything.index) == 90 and everything.known
    assert everything.line.startswith(f"all 90 records, {90 - len(found.index)} of them seen")


def test_on_other_data_what_the_run_has_seen_is_left_out(subject: Subject, dataset: Dataset):
    other = replace(dataset, fingerprint="0" * 64)
    assert subject.run is not None
    names = subject.run.path / "split.json"
    write_json(names, {"train": ["R00", "R01", "gone"], "validation": ["R89"], "test": ["R05"]})
    found = unseen_records(other, training_of(subject), part="test")
    assert found.index.tolist() == list(range(2, 89)) and found.known
    assert found.line == "87 unseen records, 3 seen ones left out"
    write_json(names, {"train": ["another"], "validation": []})
    found = unseen_records(other, training_of(subject), part="test")
    assert len(found.index) == 90 and found.line == "90 unseen records"
    write_json(names, {"train": list(dataset.names), "validation": []})
    with pytest.raises(InputError, match="the model has seen every record; give other data, or --split all"):
        unseen_records(other, training_of(subject), part="test")
    assert len(unseen_records(other, training_of(subject), part="all").index) == 90


@pytest.mark.parametrize(
    "content", [{}, [], {"train": ["R00"]}, {"train": 3, "validation": []}, {"train": [[]], "validation": []}]
)
def test_a_split_of_other_content_is_refused(subject: Subject, content: object):
    assert subject.run is not None
    write_json(subject.run.path / "split.json", content)
    with pytest.raises(InputError, match=r"split\.json: lists of names train and validation needed; restore the file"):
        training_of(subject)


@pytest.mark.parametrize("part", ["test", "all"])
def test_of_a_file_of_unknown_origin_nobody_knows_what_it_has_seen(write_file: WriteFile, dataset: Dataset, part: str):
    """Nor of a run whose parts are lost, on other data."""
    stranger = training_of(open_subject(write_file("stranger.onnx")))
    assert stranger == Training()
    found = unseen_records(dataset, stranger, part=part)
    assert len(found.index) == 90 and not found.known
    assert found.line.endswith("90 records; which of them the model was trained on is unknown")


def test_a_duplicate_of_a_fixed_test_record_belongs_to_no_part(subject: Subject):
    rng = np.random.default_rng(0)
    waves = [rng.normal(0, 100, 120).astype(np.float32) for _ in range(40)]
    waves[39] = waves[0]
    records = [Record(f"r{i}", wave, label=CLASSES[i % 4]) for i, wave in enumerate(waves)]
    twins = build("twins", records, window=120)
    named = ["r0", "r1", "r2", "r3"]
    own = replace(
        subject,
        data={"fingerprint": twins.fingerprint},
        split={"seed": 0, "fractions": [0.8, 0.1, 0.1], "test_records": named},
    )
    found = unseen_records(twins, training_of(own), part="test")
    assert [twins.names[i] for i in found.index] == named
    assert found.line == "4 test records, 35 seen ones left out"
