"""The U8S8 form computes, bit for bit, what the S8S8 file computes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.session import open_model

FACTS = {"sampling_rate": 300.0, "unit": "uV", "classes": ("N", "A", "O", "~")}


def activation_types(model: onnx.ModelProto) -> set[int]:
    """Types of the zero points of all QuantizeLinear nodes."""
    known = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    return {known[node.input[2]] for node in model.graph.node if node.op_type == "QuantizeLinear"}


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_logits_are_bit_identical(quantized: Callable, noise: np.ndarray, scale: float) -> None:
    path = quantized(QuantType.QInt8)
    as_stored = open_model(path, host_form=False, **FACTS).logits(noise * np.float32(scale))
    on_host = open_model(path, host_form=True, **FACTS).logits(noise * np.float32(scale))
    assert len(np.unique(as_stored)) > 20
    np.testing.assert_array_equal(as_stored, on_host)


def test_activations_become_uint8_and_weights_stay(quantized: Callable) -> None:
    model = onnx.load(quantized(QuantType.QInt8))
    before = model.SerializeToString()
    twin = host_form(model)
    assert activation_types(model) == {TensorProto.INT8}
    assert activation_types(twin) == {TensorProto.UINT8}
    assert model.SerializeToString() == before
    weights = {t.name: t.raw_data for t in twin.graph.initializer if t.name.endswith("_quantized")}
    assert weights
    assert all({t.name: t for t in model.graph.initializer}[name].raw_data == raw for name, raw in weights.items())
    onnx.checker.check_model(twin, full_check=True)


def test_zero_points_rise_by_128(quantized: Callable) -> None:
    def zero_points(model: onnx.ModelProto) -> list[int]:
        known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        return [int(known[n.input[2]]) for n in model.graph.node if n.op_type == "QuantizeLinear"]

    model = onnx.load(quantized(QuantType.QInt8))
    assert zero_points(host_form(model)) == [value + 128 for value in zero_points(model)]


@pytest.mark.parametrize("kind", ["float", "uint8", "int8 output"])
def test_other_models_come_back_unchanged(quantized: Callable, residual_path: Path, kind: str) -> None:
    if kind == "float":
        model = onnx.load(residual_path)
    elif kind == "uint8":
        model = onnx.load(quantized(QuantType.QUInt8))
    else:
        model = _codes_as_output()
    assert host_form(model) is model


def _codes_as_output() -> onnx.ModelProto:
    """A model whose int8 codes leave the graph: another type would change its contract."""
    graph = helper.make_graph(
        [helper.make_node("QuantizeLinear", ["ecg", "scale", "zero"], ["codes"])],
        "codes",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, [1, 1, 4])],
        [helper.make_tensor_value_info("codes", TensorProto.INT8, [1, 1, 4])],
        [
            numpy_helper.from_array(np.float32(0.5), "scale"),
            numpy_helper.from_array(np.int8(3), "zero"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_codes_may_be_moved_between_quantize_and_dequantize() -> None:
    """Concat, Slice and Transpose of codes, a missing zero point, and a zero point shared with a weight."""
    nodes = [
        helper.make_node("QuantizeLinear", ["ecg", "scale", "zero"], ["codes"]),
        helper.make_node("Transpose", ["codes"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Slice", ["turned", "from", "to", "axis"], ["part"]),
        helper.make_node("Concat", ["part", "part"], ["twice"], axis=1),
        helper.make_node("DequantizeLinear", ["twice", "scale", "zero"], ["back"]),
        helper.make_node("DequantizeLinear", ["weight", "scale", "zero"], ["weights"]),
        helper.make_node("Mul", ["back", "weights"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["out"]),
    ]
    constants = {
        "scale": np.float32(2.0),
        "zero": np.int8(-5),
        "from": np.array([1]),
        "to": np.array([5]),
        "axis": np.array([1]),
        "weight": np.array([7], np.int8),
    }
    graph = helper.make_graph(
        nodes,
        "moved",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["b", 1, 6])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["b", 8])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    twin = host_form(model)
    ecg = np.array([[[-400, -9, 0, 8, 31, 400]]], np.float32)

    def run(m: onnx.ModelProto) -> np.ndarray:
        session = onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, {"ecg": ecg})[0]

    assert activation_types(twin) == {TensorProto.UINT8}
    expected = [24 * x for x in (-8, 0, 8, 32)] * 2  # rint(x / 2) * 2 of samples 1 to 4, times (7 + 5) * 2
    np.testing.assert_array_equal(run(model)[0], expected)
    np.testing.assert_array_equal(run(twin), run(model))
