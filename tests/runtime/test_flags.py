"""What the processor is asked, and what a file that needs VNNI gets on one without."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from onnxruntime.quantization import QuantType

from edgeguard.errors import InputError
from edgeguard.runtime import flags, session
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.session import open_model

FACTS = {"sampling_rate": 300.0, "unit": "uV", "classes": ("N", "A", "O", "~")}


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "lacks"),
    [
        ("x86_64", "flags : avx2 avx512_vnni", False),
        ("AMD64", "flags : avx2 avx_vnni", False),
        ("x86_64", "flags : avx2 avx512bw", True),
        ("x86_64", None, True),
        ("aarch64", "Features : asimddp", False),
    ],
)
def test_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str | None, lacks: bool
) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    monkeypatch.setattr(flags, "_CPUINFO", path)
    monkeypatch.setattr("platform.machine", lambda: machine)
    assert flags.lacks_vnni() is lacks


@pytest.fixture
def opened_with(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For every session made, on a processor said to lack VNNI: whether its weights were made unsigned first."""
    seen: list[bool] = []
    create = session.create_session

    def spy(model: bytes, options: onnxruntime.SessionOptions) -> onnxruntime.InferenceSession:
        seen.append(b"edgeguard_unsigned_" in model)
        return create(model, options)

    monkeypatch.setattr(session, "create_session", spy)
    monkeypatch.setattr(session, "lacks_vnni", lambda: True)
    return seen


def portable(path: Path, target: Path, **metadata: bool) -> Path:
    """A copy of an int8 file with its weights halved to 7 bits."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name in ("w1_quantized", "w2_quantized", "w3_quantized"):
            halved = (numpy_helper.to_array(tensor) // 2).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(halved, tensor.name))
    onnx.helper.set_model_props(model, ModelMetadata(**metadata).to_props())
    onnx.save(model, target)
    return target


def test_a_file_that_may_overflow_is_run_with_care(opened_with: list[bool], quantized: Callable) -> None:
    open_model(quantized(QuantType.QInt8), **FACTS)
    assert opened_with[-1]


def test_a_file_that_is_proven_safe_is_run_as_anywhere(
    opened_with: list[bool], quantized: Callable, tmp_path: Path
) -> None:
    open_model(portable(quantized(QuantType.QInt8), tmp_path / "p.onnx"), **FACTS)
    assert opened_with and not any(opened_with)


def test_the_stored_form_needs_no_care(opened_with: list[bool], quantized: Callable) -> None:
    """Its activations are int8, whose products ONNX Runtime adds in 32 bits; it has no kernel with more care."""
    open_model(quantized(QuantType.QInt8), host_form=False, **FACTS)
    assert opened_with and not any(opened_with)


def test_a_file_that_denies_it_is_not_believed(opened_with: list[bool], quantized: Callable, tmp_path: Path) -> None:
    model = onnx.load(quantized(QuantType.QInt8))
    onnx.helper.set_model_props(model, ModelMetadata(requires_vnni=False).to_props())
    onnx.save(model, tmp_path / "liar.onnx")
    open_model(tmp_path / "liar.onnx", **FACTS)
    assert opened_with[-1]


def test_with_vnni_no_file_is_slowed_down(
    opened_with: list[bool], monkeypatch: pytest.MonkeyPatch, quantized: Callable
) -> None:
    monkeypatch.setattr(session, "lacks_vnni", lambda: False)
    open_model(quantized(QuantType.QInt8), **FACTS)
    assert opened_with and not any(opened_with)


@pytest.mark.parametrize("kind", [QuantType.QInt8, QuantType.QUInt8])
def test_care_changes_no_bit_of_what_cannot_overflow(
    opened_with: list[bool], monkeypatch: pytest.MonkeyPatch, quantized: Callable, tmp_path: Path, kind: QuantType
) -> None:
    """7-bit weights are exact on every processor: there the two forms can be compared."""
    file = portable(quantized(kind), tmp_path / "p.onnx")
    ecg = np.random.default_rng(0).normal(0, 400, (16, 1, 600)).astype(np.float32)
    plain = open_model(file, **FACTS)
    monkeypatch.setattr(session, "may_saturate", _once_a_model())
    careful = open_model(file, **FACTS)
    assert opened_with[-1] and not opened_with[0]
    np.testing.assert_array_equal(careful.logits(ecg), plain.logits(ecg))


def _once_a_model() -> Callable[[onnx.ModelProto], bool]:
    """Says of every model that it may saturate, until its weights are unsigned."""
    return lambda model: not any("edgeguard_unsigned_" in tensor.name for tensor in model.graph.initializer)


def test_weights_that_are_computed_are_refused_where_they_may_overflow(opened_with: list[bool], tmp_path: Path) -> None:
    node = onnx.helper.make_node("MatMulInteger", ["codes", "weights"], ["sums"], name="product")
    cast = onnx.helper.make_node("Cast", ["sums"], ["logits"], to=onnx.TensorProto.FLOAT)
    made = [
        onnx.helper.make_node("DynamicQuantizeLinear", ["ecg"], ["codes", "scale", "zero"]),
        onnx.helper.make_node("Transpose", ["ecg"], ["turned"], perm=[1, 0]),
        onnx.helper.make_node("Cast", ["turned"], ["weights"], to=onnx.TensorProto.INT8),
    ]
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [*made, node, cast],
        "computed",
        [onnx.helper.make_tensor_value_info("ecg", floats, [1, 60])],
        [onnx.helper.make_tensor_value_info("logits", floats, [1, 1])],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(model, tmp_path / "computed.onnx")
    with pytest.raises(InputError, match=r"lacks VNNI, as it computes weights") as caught:
        open_model(tmp_path / "computed.onnx", sampling_rate=30, unit="uV", classes=["N", "A"], threshold=0.5)
    assert "\n" not in str(caught.value)
