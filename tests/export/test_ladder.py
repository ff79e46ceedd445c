"""The ladder: a good int8 file climbs it, and each planted fault is caught by the rung that is there for it."""

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgeguard.errors import InputError
from edgeguard.export import ladder
from edgeguard.export.codes import last_codes
from edgeguard.export.golden import golden_paths, load_golden, save_golden
from edgeguard.export.probes import probe_windows
from edgeguard.export.twin import build_twin
from edgeguard.models.run import Run
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import OnnxModel, open_model

WINDOW = 600
CLASSES = ("N", "A", "O", "~")


def float_model(*, opset: int = 21) -> ModelProto:
    """Two convolutions around a MaxPool, a residual Add, GlobalAveragePool and a float Gemm, random weights."""
    rng = np.random.default_rng(0)
    shapes = {"w1": (8, 1, 7), "b1": (8,), "w2": (8, 8, 5), "b2": (8,), "w3": (8, 4), "b3": (4,)}
    constants = [
        numpy_helper.from_array(rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [
        helper.make_node("Conv", ["ecg", "w1", "b1"], ["c1"], strides=[3], name="first"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("MaxPool", ["r1"], ["p1"], kernel_shape=[2], strides=[2], name="pool"),
        helper.make_node("Conv", ["p1", "w2", "b2"], ["c2"], pads=[2, 2], name="second"),
        helper.make_node("Add", ["p1", "c2"], ["a2"], name="skip"),
        helper.make_node("Relu", ["a2"], ["r2"], name="relu2"),
        helper.make_node("GlobalAveragePool", ["r2"], ["g2"], name="mean"),
        helper.make_node("Flatten", ["g2"], ["f2"], name="flat"),
        helper.make_node("Gemm", ["f2", "w3", "b3"], ["logits"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, WINDOW])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 4])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


class _Rows(CalibrationDataReader):
    def __init__(self, ecg: np.ndarray) -> None:
        self._rows = iter([{"ecg": row[None]} for row in ecg])

    def get_next(self) -> dict | None:
        return next(self._rows, None)


def int8_model(folder: Path, *, exclude: Iterable[str] = (), opset: int = 21, portable: bool = False) -> ModelProto:
    """The model after ONNX Runtime's own quantiser, S8S8 per channel, Gemm in float."""
    floating, quantised = folder / "quantiser-in.onnx", folder / "quantiser-out.onnx"
    onnx.save(float_model(opset=opset), floating)
    quantize_static(
        floating,
        quantised,
        _Rows(np.random.default_rng(2).normal(0, 300, (8, 1, WINDOW)).astype(np.float32)),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=portable,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Relu", "Add", "MaxPool", "GlobalAveragePool"],
        nodes_to_exclude=list(exclude),
    )
    return onnx.load(quantised)


@pytest.fixture(scope="module")
def int8(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    """Whoever changes it works on a copy."""
    return int8_model(tmp_path_factory.mktemp("int8"))


def opened(model: ModelProto, path: Path, *, unit: str = "uV", **facts: object) -> OnnxModel:
    """The model as a file that EdgeGuard wrote, with more metadata where given."""
    metadata = ModelMetadata(**{"classes": CLASSES, "sampling_rate": 300.0, "window": WINDOW, "unit": unit, **facts})
    copy = ModelProto()
    copy.CopyFrom(model)
    helper.set_model_props(copy, metadata.to_props())
    onnx.save(copy, path)
    return open_model(path)


@pytest.fixture
def file(int8: ModelProto, tmp_path: Path) -> OnnxModel:
    return opened(int8, tmp_path / "m.onnx", requires_vnni=True)


@pytest.fixture(scope="module")
def ecg() -> np.ndarray:
    return probe_windows(24, window=WINDOW, sampling_rate=300.0)


def by_name(rungs: list[ladder.Rung]) -> dict[str, ladder.Rung]:
    return {rung.name: rung for rung in rungs}


def test_a_good_file_climbs_it(file: OnnxModel, ecg: np.ndarray, tmp_path: Path) -> None:
    said: list[str] = []
    rungs = ladder.run_ladder(file, ecg, golden=tmp_path / "golden", progress=said.append)
    found = by_name(rungs)
    assert ladder.all_hold(rungs) and said == list(found)
    assert {name: rung.holds for name, rung in found.items()} == {
        "checker": True,
        "torch_fp32": None,
        "census": True,
        "host_form": True,
        "twin": True,
        "reference": True,
        "batch": True,
        "saturation": True,
        "golden": True,
    }
    assert found["twin"].figure == found["batch"].figure == found["golden"].figure == 1
    assert "QLinearConv 2" in found["census"].note
    assert all(path.is_file() for path in golden_paths(file.path, tmp_path / "golden"))


def test_a_float_file_climbs_it_too(ecg: np.ndarray, tmp_path: Path) -> None:
    found = by_name(ladder.run_ladder(opened(float_model(), tmp_path / "f.onnx"), ecg))
    assert [name for name, rung in found.items() if rung.holds is False] == []
    assert found["census"].holds is None and found["census"].figure == 2
    assert found["host_form"].holds is found["saturation"].holds is None
    assert found["reference"].holds and found["reference"].figure < 1e-5
    assert found["twin"].holds


def test_a_file_in_millivolts_has_a_twin(int8: ModelProto, ecg: np.ndarray, tmp_path: Path) -> None:
    file = opened(int8, tmp_path / "m.onnx", unit="mV")
    model = onnx.load(file.path)
    loud = ecg * np.float32(1000)
    assert ladder.twin_against_file(file, model, loud).figure == 1
    off = ladder.twin_against_file(file, model, loud, build=lambda source: nudged(build_twin(source), source, rows=1))
    assert "1 step off" in off.note


def test_an_export_with_a_float_convolution_fails_the_census(tmp_path: Path) -> None:
    """Unless its metadata declare it, as they do for a stem behind a 16-bit input."""
    model = int8_model(tmp_path, exclude=["second", "skip"])
    hidden = opened(model, tmp_path / "hidden.onnx", float_convolutions=0)
    rung = ladder.census(hidden, model)
    assert rung.holds is False and rung.figure == 1
    declared = opened(model, tmp_path / "declared.onnx", float_convolutions=1)
    assert ladder.census(declared, model).holds is True


def test_a_convolution_that_the_runtime_quantises_by_itself_is_found(tmp_path: Path, ecg: np.ndarray) -> None:
    """Float weights between codes in and codes out: ONNX Runtime rounds them, and the file says nothing of it."""
    model = int8_model(tmp_path, exclude=["second"])
    file = opened(model, tmp_path / "m.onnx", float_convolutions=1)
    rung = ladder.census(file, model)
    assert rung.holds is False and rung.figure == 0 and "1 declared" in rung.note
    assert ladder.reference_against_file(file, model, ecg).holds is False


def wrong_scale(source: OnnxModel | ModelProto, factor: float) -> ModelProto:
    """The model of a file with the first convolution's weights at another scale."""
    model = ModelProto()
    model.CopyFrom(onnx.load(source.path) if isinstance(source, OnnxModel) else source)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "w1_scale")
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(factor), scale.name))
    return model


def test_a_twin_with_one_wrong_scale_is_refused(file: OnnxModel, int8: ModelProto, ecg: np.ndarray) -> None:
    same = ladder.twin_against_file(file, int8, ecg, build=lambda source: build_twin(wrong_scale(source, 1)))
    wrong = ladder.twin_against_file(file, int8, ecg, build=lambda source: build_twin(wrong_scale(source, 1.01)))
    assert same.holds is True and same.figure == 1
    assert wrong.holds is False and wrong.figure is not None and wrong.figure < 0.5
    assert not ladder.all_hold([same, wrong])


def nudged(twin: Callable, source: OnnxModel | ModelProto, *, rows: int, steps: int = 1) -> Callable:
    """A twin whose first `rows` rows are off: logits a little, codes before the float tail by `steps`."""
    codes = None if isinstance(source, OnnxModel) else last_codes_of(source)

    def run(ecg: torch.Tensor) -> torch.Tensor:
        result = twin(ecg).clone()
        first = torch.arange(len(ecg)) < rows
        result[first] += 1e-3 if codes is None else 0
        if codes is not None:
            result.reshape(len(ecg), -1)[first, 2] += steps * codes
        return result

    return run


def last_codes_of(model: ModelProto) -> float:
    codes = last_codes(model)
    assert codes is not None
    return codes.scale


@pytest.mark.parametrize(("rows", "steps", "holds"), [(1, 1, True), (1, 2, False), (2, 1, False)])
def test_few_rows_may_be_one_step_off(
    file: OnnxModel, int8: ModelProto, monkeypatch: pytest.MonkeyPatch, rows: int, steps: int, holds: bool
) -> None:
    """One of 200 is the 99.5 % that a twin needs; two of 200 are less."""
    monkeypatch.setattr(ladder, "_BATCH", 200)
    windows = probe_windows(200, window=WINDOW, sampling_rate=300.0)
    rung = ladder.twin_against_file(
        file, int8, windows, build=lambda source: nudged(build_twin(source), source, rows=rows, steps=steps)
    )
    assert rung.holds is holds
    assert rung.figure == 1 - rows / 200 and f"{steps} step" in rung.note


def test_an_operator_that_the_twin_lacks_is_no_failure(file: OnnxModel, int8: ModelProto, ecg: np.ndarray) -> None:
    def lacks(source: object) -> Callable:
        raise InputError("m.onnx: Erf is not known")

    rung = ladder.twin_against_file(file, int8, ecg, build=lacks)
    assert rung.holds is None and rung.note == "m.onnx: Erf is not known"


def test_a_host_form_of_another_model_is_found(
    file: OnnxModel, int8: ModelProto, ecg: np.ndarray, tmp_path: Path
) -> None:
    """A loaded form that negates its classes is not the file that was stored."""
    other = ModelProto()
    other.CopyFrom(int8)
    head = next(tensor for tensor in other.graph.initializer if tensor.name == "w3")
    head.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(head), "w3"))
    loaded = opened(other, tmp_path / "other.onnx")
    loaded.file = file.file
    assert ladder.host_form_against_stored(file, int8, ecg).holds is True
    assert ladder.host_form_against_stored(loaded, int8, ecg).holds is False


def test_the_reference_evaluator_knows_another_file(
    file: OnnxModel, int8: ModelProto, ecg: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ladder.reference_against_file(file, int8, ecg[:4]).holds is True
    evaluate = ladder._evaluate
    monkeypatch.setattr(ladder, "_evaluate", lambda file, model, ecg: evaluate(file, wrong_scale(model, 1.2), ecg))
    rung = ladder.reference_against_file(file, int8, ecg[:4])
    assert rung.holds is False and "steps apart" in rung.note


def test_older_opsets_are_converted_for_the_reference(ecg: np.ndarray, tmp_path: Path) -> None:
    model = int8_model(tmp_path, opset=17)
    rung = ladder.reference_against_file(opened(model, tmp_path / "m.onnx"), model, ecg[:4])
    assert rung.holds is True and rung.figure is not None and rung.figure >= 0.5


def test_what_the_reference_cannot_run_is_left_open(file: OnnxModel, int8: ModelProto, ecg: np.ndarray) -> None:
    model = ModelProto()
    model.CopyFrom(int8)
    next(node for node in model.graph.node if node.op_type == "MaxPool").op_type = "NoSuchOperator"
    rung = ladder.reference_against_file(file, model, ecg[:2])
    assert rung.holds is None and rung.note


def test_a_row_that_depends_on_its_company_is_found(file: OnnxModel, ecg: np.ndarray) -> None:
    exact = file._run
    file._run = lambda ecg: exact(ecg) + np.float32(len(ecg) == 64)  # type: ignore[method-assign]
    rung = ladder.alone_against_batch(file, ecg)
    assert rung.holds is False and rung.figure == 0


def test_a_file_that_is_always_run_alone_has_no_company(file: OnnxModel, ecg: np.ndarray) -> None:
    file.batches = (1,)
    assert ladder.alone_against_batch(file, ecg).holds is None


@pytest.mark.parametrize(
    ("portable", "declared", "holds"),
    [(True, None, True), (True, False, True), (False, True, True), (False, False, False), (False, None, False)],
)
def test_sums_that_may_overflow_must_be_declared(
    tmp_path: Path, portable: bool, declared: bool | None, holds: bool
) -> None:
    model = int8_model(tmp_path, portable=portable)
    rung = ladder.saturation(opened(model, tmp_path / "m.onnx", requires_vnni=declared), model)
    assert rung.holds is holds
    assert rung.figure is not None and (rung.figure <= 32767) is portable


def test_a_foreign_file_declares_nothing(int8: ModelProto, tmp_path: Path) -> None:
    onnx.save(int8, tmp_path / "foreign.onnx")
    file = open_model(tmp_path / "foreign.onnx", sampling_rate=300.0, unit="uV", classes=CLASSES)
    assert ladder.saturation(file, int8).holds is None


def test_a_file_that_onnx_faults(int8: ModelProto) -> None:
    broken = ModelProto()
    broken.CopyFrom(int8)
    broken.graph.output[0].type.tensor_type.elem_type = TensorProto.INT8
    rung = ladder.checker(broken)
    assert rung.holds is False and rung.note and "\n" not in rung.note


def test_golden_vectors_beside_the_file_are_checked(file: OnnxModel, ecg: np.ndarray) -> None:
    assert ladder.golden_vectors(file, ecg).holds is None
    assert ladder.golden_vectors(file, ecg[:3], folder=file.path.parent).holds is True
    assert ladder.golden_vectors(file, ecg).figure == 1
    npz, header = golden_paths(file.path)
    golden = load_golden(npz)
    golden.logits[1, golden.labels[1] - 1] += 50
    save_golden(golden, npz, header)
    rung = ladder.golden_vectors(file, ecg)
    assert rung.holds is False and rung.figure == pytest.approx(2 / 3)


def test_golden_vectors_of_another_file_are_refused(file: OnnxModel, ecg: np.ndarray) -> None:
    ladder.golden_vectors(file, ecg[:1], folder=file.path.parent)
    file.file = replace(file.file, sha256="0" * 64)
    rung = ladder.golden_vectors(file, ecg)
    assert rung.holds is False and "another file" in rung.note


def test_the_parent_run_beside_the_file_is_asked(
    run: Run, graph: ModelProto, int8: ModelProto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A float file is compared itself, for an int8 file the float graph that the exporter makes."""
    windows = probe_windows(8, window=run.config["window"], sampling_rate=300.0)
    shutil.copytree(run.path, tmp_path / "run")
    facts = {"window": run.config["window"], "parent_sha256": run.weights_sha256}
    floating = opened(graph, tmp_path / "run" / "fp32.onnx", **facts)
    rung = ladder.torch_against_float_graph(floating, graph, windows)
    assert rung.holds is True and rung.figure is not None and rung.figure < 1e-4

    monkeypatch.setattr("edgeguard.export.float_graph.export_float", lambda model, window: graph)
    assert ladder.torch_against_float_graph(floating, int8, windows).figure == rung.figure
    other = ModelProto()
    other.CopyFrom(graph)
    head = next(tensor for tensor in other.graph.initializer if tensor.dims == [4])
    head.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(head) + np.float32([9, 0, 0, 0]), head.name))
    monkeypatch.setattr("edgeguard.export.float_graph.export_float", lambda model, window: other)
    assert ladder.torch_against_float_graph(floating, int8, windows).holds is False


def test_a_file_of_other_weights_has_no_parent_here(run: Run, graph: ModelProto, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    facts = {"window": run.config["window"], "parent_sha256": "0" * 64}
    stranger = opened(graph, tmp_path / "run" / "fp32.onnx", **facts)
    rung = ladder.torch_against_float_graph(stranger, graph, np.zeros((1, 1, run.config["window"]), np.float32))
    assert rung.holds is None and "not beside it" in rung.note


def test_what_is_not_judged_does_not_fail() -> None:
    assert ladder.all_hold([SimpleNamespace(holds=None), SimpleNamespace(holds=True)])  # type: ignore[list-item]
    assert not ladder.all_hold([SimpleNamespace(holds=None), SimpleNamespace(holds=False)])  # type: ignore[list-item]
