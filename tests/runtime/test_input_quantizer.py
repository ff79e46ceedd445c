"""The input quantiser read from a file gives the very codes that ONNX Runtime computes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeguard.runtime.input_quantizer import read_input_quantizer

T = 64


def graph_of(dtype: type, scale: float, zero: int, scaling: list[tuple[str, float]], *, bypass: bool = False):
    """ecg -> scaling -> Reshape -> QuantizeLinear -> codes; a bypass reads the ecg too."""
    nodes, name = [], "ecg"
    values = {"scale": np.float32(scale), "zero": np.array(zero, dtype), "shape": np.array([-1, 1, 1, T])}
    for i, (operation, factor) in enumerate(scaling):
        values[f"factor{i}"] = np.float32(factor)
        nodes.append(helper.make_node(operation, [name, f"factor{i}"], [f"scaled{i}"]))
        name = f"scaled{i}"
    nodes.append(helper.make_node("Reshape", [name, "shape"], ["shaped"]))
    nodes.append(helper.make_node("QuantizeLinear", ["shaped", "scale", "zero"], ["codes"]))
    outputs = [helper.make_tensor_value_info("codes", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), None)]
    if bypass:
        nodes.append(helper.make_node("Neg", ["ecg"], ["negative"]))
        outputs.append(helper.make_tensor_value_info("negative", TensorProto.FLOAT, None))
    made = helper.make_graph(
        nodes,
        "input",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, ["batch", 1, T])],
        outputs,
        [numpy_helper.from_array(np.asarray(value), key) for key, value in values.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@given(
    st.sampled_from([(np.int8, -128, 127), (np.uint8, 0, 255), (np.int16, -1000, 1000)]),
    st.floats(0.001, 300),
    st.lists(st.tuples(st.sampled_from(["Mul", "Div"]), st.floats(0.01, 50)), max_size=2),
    st.data(),
)
def test_codes_are_those_of_onnx_runtime(kind: tuple, scale: float, scaling: list, data) -> None:
    dtype, low, high = kind
    zero = data.draw(st.integers(low, high))
    model = graph_of(dtype, scale, zero, scaling)
    quantizer = read_input_quantizer(model, "ecg")
    assert quantizer is not None and quantizer.sole
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    # Ties too: halves of the step, where the rounding of a division shows.
    ecg = (rng.integers(-600, 600, (3, 1, T)) * np.float32(quantizer.step / 2)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (codes,) = session.run(["codes"], {"ecg": ecg})
    np.testing.assert_array_equal(quantizer.codes(ecg).reshape(-1), codes.astype(np.int64).reshape(-1) - zero)


def test_the_step_counts_the_scaling() -> None:
    quantizer = read_input_quantizer(graph_of(np.int8, 0.5, 0, [("Mul", 0.1), ("Div", 2)]), "ecg")
    assert quantizer.step == pytest.approx(0.5 * 2 / 0.1)


def test_a_second_reader_of_the_input_is_seen() -> None:
    assert not read_input_quantizer(graph_of(np.int8, 1, 0, [], bypass=True), "ecg").sole


def test_a_float_model_has_none() -> None:
    made = helper.make_graph(
        [helper.make_node("Relu", ["ecg"], ["logits"])],
        "input",
        [helper.make_tensor_value_info("ecg", TensorProto.FLOAT, [1, T])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, T])],
    )
    assert read_input_quantizer(onnx.helper.make_model(made), "ecg") is None
