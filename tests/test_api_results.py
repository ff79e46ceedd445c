"""The API's functions on what only the API takes, arrays and no folder, and that a result is its JSON."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from safetensors.numpy import load_file

import edgeguard
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.errors import InputError
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.schemas import load_schema

GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,9000] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {1, -1, 0, 0}, float[4] bias = {0, 0, -9999, -9999}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    scaled = MatMul (mean, weight)
    logits = Add (scaled, bias)
}
"""
"""N where the mean is above zero, else A."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    model = onnx.parser.parse_model(GRAPH)
    onnx.helper.set_model_props(model, ModelMetadata(classes=CLASSES, sampling_rate=300, window=9000).to_props())
    onnx.save(model, tmp_path / "mean.onnx")
    return tmp_path / "mean.onnx"


@pytest.fixture
def records() -> list[Record]:
    """Twelve of N with a mean of 30 microvolts, twelve of A with one of -30; some short."""
    rng = np.random.default_rng(3)
    return [
        Record(
            f"R{i:02d}",
            np.rint(rng.normal((30, -30)[i % 2], 60, (9000, 5401)[i % 3 == 0])).astype(np.float32),
            300,
            "NA"[i % 2],
        )
        for i in range(24)
    ]


@pytest.fixture
def folder(tmp_path: Path, records: list[Record]) -> Path:
    write_cinc(tmp_path / "records", records)
    return tmp_path / "records"


def valid(value: dict[str, Any]) -> dict[str, Any]:
    """The value as it is read from JSON, once it is valid by its schema."""
    Draft202012Validator(load_schema(value["schema"])).validate(value)
    read: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    assert read == value
    return read


def test_an_attack_without_a_folder_writes_nothing_and_finds_the_same(
    file: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    options: dict[str, Any] = dict(data=str(folder), queries=40, samples=6, attack="rays-sap", transfer=[file])
    kept, bare = edgeguard.attack(file, **options, out=tmp_path / "out"), edgeguard.attack(file, **options)
    assert list(empty.iterdir()) == [] and bare.witnesses is bare.figure is None
    assert kept.curve == bare.curve and kept.perturbation == bare.perturbation and kept.attacked > 0
    assert np.array_equal(kept.examples.adversarial, bare.examples.adversarial)
    assert type(bare).from_json(valid(bare.to_json())) == bare and valid(kept.to_json())["witnesses"] == kept.witnesses


def test_the_examples_of_an_attack_fool_the_file_and_replay(file: Path, folder: Path, tmp_path: Path) -> None:
    found = edgeguard.attack(file, data=folder, queries=40, samples=6, attack="boundary", out=tmp_path / "out")
    means = found.examples.adversarial.mean(1)
    assert len(means) == found.attacked > 0
    assert np.where(found.examples.labels == CLASSES.index("A"), means >= 0, means <= 0).all()
    proof = edgeguard.verify(file, witnesses=found.witnesses)
    assert proof.holds and proof.same_file and proof.rows == len(means)
    assert type(proof).from_json(valid(proof.to_json())) == proof
    assert not edgeguard.verify(file, witnesses=_spoilt(Path(found.witnesses or ""), tmp_path)).holds


def _spoilt(path: Path, folder: Path) -> Path:
    """The witnesses with their originals for adversarial records."""
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(folder / "spoilt.npz", **{**arrays, "adversarial": arrays["original"]})
    return folder / "spoilt.npz"


def test_a_simulation_of_an_array_is_that_of_a_file(file: Path, records: list[Record], folder: Path) -> None:
    whole = next(record for record in records if len(record.ecg) == 9000)
    of_array = edgeguard.simulate(file, ecg=whole.ecg)
    of_file = edgeguard.simulate(file, data=str(folder), record=whole.name)
    assert of_array.result.by_class == of_file.result.by_class and of_array.result.decisions == 1
    decisions = [event["logits"] for event in of_array.events if event["event"] == "decision"]
    assert decisions == [event["logits"] for event in of_file.events if event["event"] == "decision"]
    assert of_array.log is None and valid(of_array.to_json())["latency_ms"]["p50"] is not None
    none = edgeguard.simulate(file, ecg=whole.ecg[:100])
    assert none.result.decisions == 0 and valid(none.to_json())["latency_ms"]["p50"] is None


def test_a_training_on_arrays_is_that_on_files(
    tmp_path: Path, records: list[Record], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = dict(defense="none", arch="edge-s", epochs=1, batch=8, device="cpu", precision="float32")
    monkeypatch.chdir(tmp_path)
    of_files = edgeguard.train(data=folder, out="files", **options)
    ecg, labels = [record.ecg for record in records], [record.label for record in records]
    of_arrays = edgeguard.train(ecg=ecg, labels=labels, out="arrays", **options)
    weights = [load_file(Path(run.run) / "weights.safetensors") for run in (of_files, of_arrays)]
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert (
        of_files.validation == of_arrays.validation and type(of_files).from_json(valid(of_files.to_json())) == of_files
    )
    with pytest.raises(InputError, match="not the data that the run was trained on"):
        edgeguard.to_onnx(of_arrays.run, ecg=ecg[:12], labels=labels[:12])
    exported = edgeguard.to_onnx(of_arrays.run, ecg=ecg, labels=labels)
    assert type(exported).from_json(valid(exported.to_json())) == exported and Path(exported.fp32 or "").is_file()


def test_what_was_asked_beforehand_is_its_json() -> None:
    need, reach = edgeguard.plan(0.02, discordant=(0.03,)), edgeguard.plan(0.02, discordant=(0.03,), records=715)
    assert valid(need.to_json())["rows"][0]["records"] == 715
    assert reach.rows[0].power == need.rows[0].power
    valid(reach.to_json())
