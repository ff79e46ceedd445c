"""Which records quantise a file, how its candidates are ranked, and what is said of it."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from edgeguard.ecg.arrays import dataset_of
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split
from edgeguard.errors import InputError
from edgeguard.evaluation import quantisation
from edgeguard.evaluation.quantisation import choose_records, quantise
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import OnnxModel, open_model

WINDOW, CLASSES = 200, ("a", "b", "c")
GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
agraph (float[batch,1,200] x) => (float[batch,3] y) {{
    {body}
    r = Relu (c)
    p = GlobalAveragePool (r)
    f = Flatten (p)
    y = Gemm <transB = 1> (f, head)
}}
"""
PLAIN = "c = Conv <strides = [2]> (x, kernel)"
CENTRED = "m = ReduceMean (x, axes) s = Sub (x, m) c = Conv <strides = [2]> (s, kernel)"
OTHER = "h = Atan (x) c = Conv <strides = [2]> (h, kernel)"


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """36 waves of three frequencies in noise."""
    rng, time = np.random.default_rng(0), np.arange(WINDOW)
    ecg = [
        30 * np.sin(time * (0.1, 0.3, 0.7)[i % 3] + rng.uniform(0, 6)) + rng.normal(0, 20, WINDOW) for i in range(36)
    ]
    return dataset_of(ecg, [CLASSES[i % 3] for i in range(36)], window=WINDOW, classes=CLASSES, sampling_rate=100)


@pytest.fixture(scope="module")
def unlabelled(dataset: Dataset) -> Dataset:
    return dataset_of(list(dataset.windows), None, window=WINDOW, classes=CLASSES, sampling_rate=100)


def written(folder: Path, body: str = PLAIN, **about: Any) -> OnnxModel:
    """A file whose filters are the three waves, so that it is right mostly."""
    model, time = parser.parse_model(GRAPH.format(body=body)), np.arange(31)
    waves = [np.sin(time * frequency) / 900 for frequency in (0.1, 0.3, 0.7)]
    weights = {"kernel": np.array(waves, np.float32)[:, None], "head": 4 * np.eye(3, dtype=np.float32)}
    weights |= {"axes": np.array([2])} if body == CENTRED else {}
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    facts = ModelMetadata(classes=CLASSES, sampling_rate=100, window=WINDOW, **about)
    onnx.helper.set_model_props(model, facts.to_props())
    onnx.save(model, folder / "theirs.onnx")
    return open_model(folder / "theirs.onnx")


def made(file: OnnxModel, dataset: Dataset, **options: Any) -> dict[str, Any]:
    known: dict[str, Any] = dict(calibration=None, windows=200, bits=8, step=None, portable=False, exclude=(), out=None)
    return quantise(file, dataset, **known | options, say=lambda line: None)


def test_records_calibrate_or_judge(dataset: Dataset, tmp_path: Path) -> None:
    """Up to half of them calibrate, as many of each class; the others judge."""
    records = choose_records(written(tmp_path), dataset, windows=200)
    assert len(records.calibrate) == 18 and np.bincount(dataset.labels[records.calibrate]).tolist() == [6, 6, 6]
    assert sorted([*records.calibrate, *records.judge]) == list(range(36))
    assert not records.known and "which records the file was trained on is unknown" in records.line
    few = choose_records(written(tmp_path), dataset, windows=6)
    assert (len(few.calibrate), len(few.judge)) == (6, 30) and few.rank.tolist() == few.judge.tolist()


def test_with_many_records_those_that_rank_do_not_judge(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantisation, "RECORDS", 9)
    records = choose_records(written(tmp_path), dataset, windows=6)
    assert [len(part) for part in (records.calibrate, records.rank, records.judge)] == [6, 9, 21]
    assert sorted([*records.calibrate, *records.rank, *records.judge]) == list(range(36))
    assert np.bincount(dataset.labels[records.rank]).tolist() == [3, 3, 3] and "9 to rank, 21 to judge" in records.line


def test_one_record_does_both(dataset: Dataset, tmp_path: Path) -> None:
    one = dataset_of(dataset.windows[:1], ["a"], window=WINDOW, classes=CLASSES, sampling_rate=100)
    records = choose_records(written(tmp_path), one, windows=200)
    assert records.calibrate.tolist() == records.judge.tolist() == [0] and "the same ones" in records.line


def test_a_file_that_says_what_it_was_trained_on_keeps_its_test_part(dataset: Dataset, tmp_path: Path) -> None:
    fractions = (0.5, 0.25, 0.25)
    data = {"fingerprint": dataset.fingerprint, "source": "waves"}
    about = {"data": data, "split": {"seed": 3, "fractions": list(fractions), "test_records": None}}
    records = choose_records(written(tmp_path, **about), dataset, windows=6)
    parts = split(dataset, seed=3, fractions=fractions)
    assert records.known and "unknown" not in records.line
    assert set(records.calibrate) <= set(parts.train) and records.judge.tolist() == parts.validation.tolist()


def test_candidates_are_attacked_through_their_own_twins(dataset: Dataset, tmp_path: Path) -> None:
    result = made(written(tmp_path), dataset)
    rows = result["calibration"]["candidates"]
    assert all(0 <= row["worst"] <= row["clean"] <= row["n"] == 18 for row in rows)
    assert any(row["worst"] < row["clean"] for row in rows)
    totals = [row["clean"] + row["worst"] for row in rows]
    assert totals == sorted(totals, reverse=True) and rows[0]["step_uv"] == result["input"]["step_uv"]
    assert result["accuracy"]["n"] == 18 and result["accuracy"]["fp32"] >= 15


def test_records_without_labels_give_agreement_alone(unlabelled: Dataset, tmp_path: Path) -> None:
    result = made(written(tmp_path), unlabelled)
    assert result["accuracy"] is None and result["calibration"]["labelled"] is False
    assert all(row["clean"] is None and row["agreement"] <= row["n"] for row in result["calibration"]["candidates"])
    assert any("no labels" in note for note in result["notes"])


def test_an_operator_without_a_twin_is_ranked_without_attacks(dataset: Dataset, tmp_path: Path) -> None:
    result = made(written(tmp_path, OTHER), dataset)
    assert all(row["worst"] is None for row in result["calibration"]["candidates"])
    assert any(note.startswith("calibrations ranked without attacks: operator Atan") for note in result["notes"])
    assert result["left_in_float"] == {"Atan": 1, "Gemm": 1}


def test_an_input_that_is_computed_on_first_has_no_codes(dataset: Dataset, tmp_path: Path) -> None:
    """Its mean stays in float too, although it has an integer kernel; no step is tried."""
    result = made(written(tmp_path, CENTRED), dataset)
    assert result["input"] is None and any(note.startswith("input in float") for note in result["notes"])
    assert result["left_in_float"] == {"GlobalAveragePool": 1, "Sub": 1, "Gemm": 1}
    assert len(result["calibration"]["candidates"]) == 4
    about = open_model(result["int8"]).metadata
    assert (about.input_step_uv, about.input_bits, about.weight_bits) == (None, None, 8)


def test_large_files_are_not_ranked_unasked(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantisation, "LARGEST_RANKED_MACS", 1.0)
    result = made(written(tmp_path), dataset)
    assert "candidates" not in result["calibration"] and result["calibration"]["method"] == "percentile:99.99"
    assert any("too large to rank" in note for note in result["notes"])


def test_no_records_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no sample differs from 0 uV"):
        silent = dataset_of(0 * dataset.windows[:4], list("abca"), window=WINDOW, classes=CLASSES, sampling_rate=100)
        made(written(tmp_path), silent)
