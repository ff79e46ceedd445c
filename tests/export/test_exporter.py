"""From a run to files that are written whole, checked, or not at all."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto

import edgeguard
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split
from edgeguard.errors import InputError
from edgeguard.export import exporter, int8_file, parity
from edgeguard.export.exporter import Exported, export_run, summary
from edgeguard.export.float_graph import export_float
from edgeguard.export.int8_file import Int8Options
from edgeguard.export.quantize import InputCodes
from edgeguard.export.ranking import Candidate, Score
from edgeguard.models.run import Run
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import open_model

Made = tuple[Exported, list[str]]


def figure(made: Exported, name: str) -> float | None:
    return next(rung.figure for rung in made.rungs if rung.name == name)


@pytest.fixture
def ready_graph(graph: ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    """The float graph is not traced again."""
    monkeypatch.setattr(exporter, "export_float", lambda model, window: graph)


def test_two_files_and_their_checks(exported: Made):
    made, said = exported
    assert made.int8 is not None
    assert [made.fp32.name, made.int8.name] == ["adt-edge-s-fp32.onnx", "adt-edge-s-int8.onnx"]
    assert [path.name for path in made.golden] == ["adt-edge-s-int8.golden.npz", "adt-edge-s-int8.golden.h"]
    written = [made.fp32.name, made.int8.name, *(path.name for path in made.golden)]
    assert sorted(os.listdir(made.fp32.parent)) == sorted(written)
    assert [rung.name for rung in made.rungs[:2]] == ["torch_fp32", "fp32_int8"]
    climbed = ["checker", "census", "host_form", "twin", "reference", "batch", "saturation", "golden"]
    assert [rung.name for rung in made.rungs[2:]] == climbed
    assert all(rung.holds for rung in made.rungs)
    sizes = made.sizes()
    assert sizes == {"fp32": made.fp32.stat().st_size, "int8": made.int8.stat().st_size}
    assert sizes["int8"] is not None and sizes["fp32"] is not None and sizes["int8"] < sizes["fp32"] / 2
    assert "calibrating on 21 training windows" in said


def test_the_files_say_where_they_come_from(exported: Made, run: Run, dataset: Dataset):
    made = exported[0]
    expected: dict[str, Any] = dict(
        classes=("N", "A", "O", "~"),
        sampling_rate=300.0,
        window=2400,
        unit="uV",
        architecture="edge-s",
        defense="adt",
        seed=7,
        data={"fingerprint": dataset.fingerprint, "source": "waves"},
        split=run.config["split"],
        parent_sha256=run.weights_sha256,
        tool_version=edgeguard.__version__,
    )
    for path, more in (
        (made.fp32, {}),
        (
            made.int8,
            dict(
                calibration={"method": "percentile:99.99", "windows": 21, "seed": 3, "exclude": []},
                input_step_uv=31.25,
                input_bits=8,
                weight_bits=8,
                float_convolutions=0,
                requires_vnni=True,
            ),
        ),
    ):
        props = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
        assert ModelMetadata.from_props(props) == ModelMetadata(**expected, **more)
        assert all(key.startswith("edgeguard.") for key in props)


def test_the_files_run_in_any_batch_and_hold_no_paths(exported: Made, run: Run, dataset: Dataset):
    made = exported[0]
    ecg = dataset.batch(np.arange(10))[0]
    for path in (made.fp32, made.int8):
        assert path is not None
        file = open_model(path)
        together = file.logits(ecg)
        np.testing.assert_allclose(
            np.concatenate([file.logits(ecg[i : i + 1]) for i in range(10)]), together, rtol=1e-5, atol=1e-5
        )
        assert (file.labels(ecg) == dataset.labels[:10]).mean() >= 0.9
        content = path.read_bytes()
        assert not any(trace in content for trace in (b"torch", b".py", str(run.path).encode(), b"/tmp"))
    assert open_model(made.int8).input_step_uv == 31.25
    with torch.no_grad():
        expected = run.model(torch.from_numpy(ecg)).numpy()
    np.testing.assert_allclose(open_model(made.fp32).logits(ecg), expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize(
    ("bound", "value", "name"),
    [
        ("LOGIT_TOLERANCE", -1.0, "torch_fp32"),
        ("LABEL_AGREEMENT", 1.1, "fp32_int8"),
    ],
)
def test_without_parity_nothing_is_written(
    ready_graph: None,
    run: Run,
    dataset: Dataset,
    parts: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bound: str,
    value: float,
    name: str,
):
    monkeypatch.setattr(parity, bound, value)
    with pytest.raises(InputError, match=f"export refused: {name} does not hold .*nothing was written"):
        export_run(run, dataset, parts, int8=True, out=tmp_path / "out", say=lambda _: None)
    assert not (tmp_path / "out").exists()


def test_convolutions_left_in_float_are_refused_unless_they_were_excluded(
    ready_graph: None,
    graph: ModelProto,
    run: Run,
    dataset: Dataset,
    parts: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    name = next(node.name for node in graph.graph.node if node.op_type == "Conv")
    made = export_run(
        run, dataset, parts, int8=True, out=tmp_path, options=Int8Options(exclude=[name]), say=lambda _: None
    )
    assert made.int8 is not None and figure(made, "census") == 1
    about = open_model(made.int8).metadata
    assert about.float_convolutions == 1
    assert about.calibration is not None and about.calibration["exclude"] == [name]
    assert (about.input_step_uv, about.input_bits) == (None, None), "the excluded stem reads the record itself"
    monkeypatch.setattr(int8_file, "float_convolutions", lambda graph, **options: 0)
    with pytest.raises(InputError, match="census does not hold"):
        options = Int8Options(exclude=[name])
        export_run(run, dataset, parts, int8=True, out=tmp_path / "no", options=options, say=lambda _: None)
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("count", [9, 500])
def test_calibration_takes_training_records_of_all_classes(
    ready_graph: None,
    run: Run,
    dataset: Dataset,
    parts: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: int,
):
    seen: list[np.ndarray] = []

    def spy(graph: ModelProto, batches: Callable[[], Iterable[np.ndarray]], **options: Any) -> None:
        seen.extend(batches())
        raise InputError("enough")

    monkeypatch.setattr(int8_file, "candidate_maker", spy)
    said: list[str] = []
    with pytest.raises(InputError, match="enough"):
        export_run(run, dataset, parts, int8=True, out=tmp_path, options=Int8Options(windows=count), say=said.append)
    rows = [row.tobytes() for row in np.concatenate(seen)]
    train = {dataset.batch(np.array([i]))[0][0].tobytes(): i for i in parts.train}
    assert len(set(rows)) == len(rows) == min(count, len(parts.train)) and set(rows) <= set(train)
    drawn = np.bincount(dataset.labels[[train[row] for row in rows]], minlength=4)
    assert drawn.max() - drawn.min() <= 1
    assert max(len(batch) for batch in seen) <= 8
    assert f"calibrating on {len(rows)} training windows" in said
    assert os.listdir(tmp_path) == []


def test_ranked_candidates_are_judged_as_files_and_their_table_stays_with_the_best(
    ready_graph: None, run: Run, dataset: Dataset, parts: Split, tmp_path: Path
):
    judged: list[Candidate] = []

    def score(path: Path) -> Score:
        about = open_model(path).metadata
        assert about.input_step_uv is not None and about.input_bits is not None
        judged.append(Candidate("?", InputCodes(about.input_bits, about.input_step_uv)))
        return Score(16, 10, 8 + (about.input_step_uv == 15.625), 16)

    said: list[str] = []
    made = export_run(
        run, dataset, parts, int8=True, out=tmp_path, options=Int8Options(score=score, windows=8), say=said.append
    )
    assert [each.codes for each in judged] == [InputCodes()] * 4 + [InputCodes(8, 15.625)] * 2 + [InputCodes(16, 1.0)]
    assert len([line for line in said if line.startswith("judging ")]) == 7
    assert made.int8 is not None and made.calibration is not None
    opened = open_model(made.int8)
    assert opened.metadata.calibration == made.calibration == summary(made)["calibration"]
    assert opened.input_step_uv == 15.625 and opened.metadata.float_convolutions == 0
    rows = made.calibration["candidates"]
    assert len(rows) == 7 and rows[0]["step_uv"] == 15.625 and rows[0]["method"] == made.calibration["method"]
    assert rows[0] | {"method": ""} == {
        "method": "",
        "input_bits": 8,
        "step_uv": 15.625,
        "n": 16,
        "clean": 10,
        "worst": 9,
        "agreement": 16,
    }
    assert sorted(path.name for path in tmp_path.glob("*.onnx")) == ["adt-edge-s-fp32.onnx", "adt-edge-s-int8.onnx"]


def test_sixteen_bits_and_portable_weights_are_stated(
    ready_graph: None, run: Run, dataset: Dataset, parts: Split, tmp_path: Path
):
    options = Int8Options(method="entropy", bits=16, portable=True, windows=8)
    made = export_run(run, dataset, parts, int8=True, out=tmp_path, options=options, say=lambda _: None)
    assert made.int8 is not None and figure(made, "census") == 1
    opened = open_model(made.int8)
    about = opened.metadata
    assert opened.input_step_uv == 1 == about.float_convolutions
    assert (about.input_bits, about.weight_bits, about.requires_vnni) == (16, 7, False)
    assert about.calibration == {"method": "entropy", "exclude": [], "windows": 8, "seed": 0}


def test_without_int8_there_is_one_file(ready_graph: None, run: Run, dataset: Dataset, parts: Split, tmp_path: Path):
    made = export_run(run, dataset, parts, int8=False, out=tmp_path, say=lambda _: None)
    assert made.int8 is None and os.listdir(tmp_path) == ["adt-edge-s-fp32.onnx"]
    report = summary(made)
    assert report["int8"] is None and report["bytes"] == {
        "fp32": made.fp32.stat().st_size,
        "int8": None,
        "streaming": None,
    }


def test_the_default_place_is_the_run_folder(ready_graph: None, run: Run, dataset: Dataset, parts: Split):
    made = export_run(run, dataset, parts, int8=False, say=lambda _: None)
    assert made.fp32 == run.path / "adt-edge-s-fp32.onnx" and made.fp32.is_file()


def test_a_place_that_cannot_be_written_is_named(
    ready_graph: None, run: Run, dataset: Dataset, parts: Split, tmp_path: Path
):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="cannot be written"):
        export_run(run, dataset, parts, int8=False, out=tmp_path / "file", say=lambda _: None)
    assert (tmp_path / "file").read_text() == "mine"


def test_the_summary_has_the_keys_of_the_contract(exported: Made):
    report = summary(exported[0])
    assert set(report) == {"fp32", "int8", "streaming", "bytes", "calibration", "golden", "parity", "census"}
    assert report["streaming"] is None and set(report["bytes"]) == {"fp32", "int8", "streaming"}
    assert all({"holds", "figure"} <= set(check) for check in report["parity"].values())
    assert Path(report["fp32"]).is_file() and Path(report["int8"]).is_file()
    assert all(isinstance(count, int) for count in report["census"].values())


def test_tracing_twice_gives_the_same_bytes(graph: ModelProto, run: Run):
    assert export_float(run.model, window=2400).SerializeToString() == graph.SerializeToString()
