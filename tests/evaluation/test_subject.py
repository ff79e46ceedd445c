from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.ecg.split import split
from edgeguard.errors import InputError
from edgeguard.evaluation.subject import Subject, open_subject, parent_run, records_to_judge
from edgeguard.models.run import Run
from edgeguard.runtime.files import write_json
from edgeguard.runtime.metadata import ModelMetadata

MakeRun = Callable[..., Run]

GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,120] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {1, -1, 0, 0}, float[4] bias = {0, 0, -9999, -9999}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    scaled = MatMul (mean, weight)
    logits = Add (scaled, bias)
}
"""


def write_file(path: Path, run: Run | None, **about: object) -> Path:
    """An ONNX file that says it was exported from the run."""
    model = onnx.parser.parse_model(GRAPH)
    said = ModelMetadata(
        classes=CLASSES,
        sampling_rate=300,
        window=120,
        parent_sha256=run and run.weights_sha256,
        data=run and run.config["data"],
        split=run and run.config["split"],
        **about,  # type: ignore[arg-type]
    )
    onnx.helper.set_model_props(model, said.to_props())
    onnx.save(model, path)
    return path


def test_a_run_is_judged_by_its_network(make_run: MakeRun, dataset: Dataset):
    run = make_run()
    subject = open_subject(run.path)
    ecg = dataset.batch(np.arange(20))[0]
    with torch.no_grad():
        expected = run.model(torch.from_numpy(ecg)).argmax(1).numpy()
    np.testing.assert_array_equal(subject.judge(ecg), expected)
    assert subject.judge(ecg).dtype == np.int64
    assert (subject.classes, subject.window, subject.is_file) == (CLASSES, 120, False)
    assert subject.weights_sha256 == run.weights_sha256


def test_a_file_is_judged_by_onnx_runtime_and_knows_its_run(make_run: MakeRun, dataset: Dataset):
    run = make_run()
    subject = open_subject(write_file(run.path / "some.onnx", run))
    ecg = dataset.batch(np.arange(20))[0]
    np.testing.assert_array_equal(subject.judge(ecg), (ecg.mean((1, 2)) < 0).astype(int))
    assert subject.is_file and subject.run is not None and subject.run.path == run.path
    assert subject.weights_sha256 == run.weights_sha256
    assert subject.data == run.config["data"] and subject.split == run.config["split"]


def test_a_file_apart_from_its_run_has_none(make_run: MakeRun, tmp_path: Path):
    run, other = make_run(), make_run("other", seed=1)
    assert open_subject(write_file(tmp_path / "some.onnx", run)).run is None
    assert open_subject(write_file(other.path / "some.onnx", run)).run is None
    assert open_subject(write_file(run.path / "none.onnx", None)).run is None
    assert parent_run(run.path / "any.onnx", None) is None
    assert open_subject(tmp_path / "some.onnx").weights_sha256 == run.weights_sha256


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
    index, line = records_to_judge(subject, dataset, part="test")
    np.testing.assert_array_equal(index, split(dataset, seed=0).test)
    assert line == f"{len(index)} test records, {90 - len(index)} seen ones left out"
    everything, line = records_to_judge(subject, dataset, part="all")
    assert len(everything) == 90 and line.startswith(f"all 90 records, {90 - len(index)} of them seen")


def test_on_other_data_what_the_run_has_seen_is_left_out(subject: Subject, dataset: Dataset):
    other = replace(dataset, fingerprint="0" * 64)
    index, line = records_to_judge(subject, other, part="test")
    assert len(index) == 90 and line == "90 unseen records"
    assert subject.run is not None
    parts = {"train": ["R00", "R01", "gone"], "validation": ["R89"], "test": ["R05"]}
    write_json(subject.run.path / "split.json", parts)
    index, line = records_to_judge(subject, other, part="test")
    assert index.tolist() == list(range(2, 89)) and line == "87 unseen records, 3 seen ones left out"
    write_json(subject.run.path / "split.json", {"train": list(dataset.names)})
    with pytest.raises(InputError, match="the model has seen every record; give other data, or --split all"):
        records_to_judge(subject, other, part="test")
    assert len(records_to_judge(subject, other, part="all")[0]) == 90


def test_a_file_of_unknown_origin_is_judged_on_everything(tmp_path: Path, dataset: Dataset):
    stranger = open_subject(write_file(tmp_path / "stranger.onnx", None))
    assert len(records_to_judge(stranger, dataset, part="test")[0]) == 90


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
    index, said = records_to_judge(own, twins, part="test")
    assert [twins.names[i] for i in index] == named
    assert said == "4 test records, 35 seen ones left out"
