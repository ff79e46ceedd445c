"""The proof that 16-bit sums of 8-bit products cannot overflow, against all pairs and against an emulated kernel."""

from collections.abc import Callable
from itertools import permutations

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType

from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.saturation import PairBound, _bound, may_saturate, pair_bounds

PLACES = {"QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3, "MatMulInteger": 1, "ConvInteger": 1}


def bound(weights: np.ndarray, operator: str = "QLinearConv", **attributes: int) -> PairBound:
    """The bound of one layer with these weights."""
    inputs = [f"x{place}" for place in range(PLACES[operator])] + ["w"]
    node = helper.make_node(operator, inputs, ["y"], name="layer", **attributes)
    return _bound(node, {"w": numpy_helper.from_array(weights, "w")})


def integer_product(weights: np.ndarray, activations: type[np.generic] = np.uint8) -> onnx.ModelProto:
    """Codes [N, K] times weights [K, M], summed in int32."""
    zero = numpy_helper.from_array(np.zeros((), activations), "zero")
    assert weights.dtype in (np.int8, np.uint8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["codes", "w", "zero"], ["sums"], name="product")],
        "product",
        [helper.make_tensor_value_info("codes", zero.data_type, [None, len(weights)])],
        [helper.make_tensor_value_info("sums", TensorProto.INT32, [None, weights.shape[1]])],
        [numpy_helper.from_array(weights, "w"), zero],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


kernels = arrays(np.int8, array_shapes(min_dims=2, max_dims=3, min_side=1, max_side=4))


@given(kernels)
def test_the_bound_is_reached_by_the_worst_pair_and_by_none_more(weights: np.ndarray) -> None:
    """All pairs of all channels with all corner activations, added one by one."""
    channels = weights.reshape(len(weights), -1).astype(int)
    corners = [(0, 0), (0, 255), (255, 0), (255, 255)]
    sums = [
        a * first + b * second
        for channel in channels
        for first, second in permutations([*channel, 0], 2)
        for a, b in corners
    ]
    found = bound(weights)
    assert (found.highest, found.lowest) == (max(*sums, 0), min(*sums, 0))


@given(arrays(np.int8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(-64, 64)))
def test_seven_bit_weights_always_fit(weights: np.ndarray) -> None:
    assert bound(weights).fits


@pytest.mark.parametrize(
    ("weights", "highest", "lowest", "fits"),
    [
        ([64, 64], 32640, 0, True),
        ([64, 65], 32895, 0, False),
        ([127, 1, -128], 32640, -32640, True),
        ([-64, -64], 0, -32640, True),
        ([-65, -64], 0, -32895, False),
        ([127], 32385, 0, True),
    ],
)
def test_by_hand(weights: list[int], highest: int, lowest: int, fits: bool) -> None:
    found = bound(np.array([weights], np.int8))
    assert (found.highest, found.lowest, found.fits) == (highest, lowest, fits)
    assert found.magnitude == max(highest, -lowest)


def test_channels_are_not_mixed() -> None:
    """100 and 100 in one channel overflow, in two channels they never meet; each operator has its own axis."""
    square = np.array([[100, 0], [0, 100]], np.int8)
    together = np.array([[100, 100], [0, 0]], np.int8)
    for operator, fits in (("QLinearConv", False), ("QLinearMatMul", True), ("QGemm", True), ("MatMulInteger", True)):
        assert bound(square, operator).fits
        assert bound(together, operator).fits is fits
    assert not bound(together, "QGemm", transB=1).fits
    assert not bound(together.T.copy(), "QLinearMatMul").fits


@pytest.mark.parametrize(("largest", "saturates"), [(127, True), (64, False)])
def test_an_emulated_kernel_agrees(largest: int, saturates: bool) -> None:
    """VPMADDUBSW in numpy: adjacent products added in int16 with saturation, then in int32."""
    rng = np.random.default_rng(0)
    weights = rng.integers(-largest, largest + 1, (64, 8)).astype(np.int8)
    weights[:2] = largest
    codes = np.full(64, 255)
    products = codes[:, None] * weights.astype(int)
    pairs = products.reshape(32, 2, 8).sum(axis=1)
    exact, cut = pairs.sum(axis=0), np.clip(pairs, -32768, 32767).sum(axis=0)
    assert (exact != cut).any() == saturates
    assert may_saturate(integer_product(weights)) == saturates


def test_unsigned_weights_are_added_in_32_bits() -> None:
    assert pair_bounds(integer_product(np.full((4, 2), 255, np.uint8))) == []
    assert pair_bounds(integer_product(np.full((4, 2), 127, np.int8))) == [PairBound("product", 64770, 0)]


def test_weights_that_are_computed_count_as_the_worst() -> None:
    node = helper.make_node("MatMulInteger", ["codes", "made"], ["sums"], name="product")
    assert _bound(node, {}) == PairBound("product", 64770, -65280)
    ones = numpy_helper.from_array(np.ones((1, 5), np.uint8), "codes")
    assert _bound(node, {"codes": ones}) == PairBound("product", 254, -256)


def test_every_convolution_of_a_quantised_file_is_audited(quantized: Callable) -> None:
    model = onnx.load(quantized(QuantType.QInt8))
    bounds = pair_bounds(host_form(model))
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kernels = [stored[name].reshape(len(stored[name]), -1).astype(int) for name in sorted(stored) if _is_kernel(name)]
    expected = sorted(
        max(255 * np.maximum(np.sort(k)[:, -2:], 0).sum(1).max(), -255 * np.minimum(np.sort(k)[:, :2], 0).sum(1).min())
        for k in kernels
    )
    assert sorted(b.magnitude for b in bounds) == expected and len(bounds) == 3
    assert may_saturate(host_form(model))


def test_int8_activations_are_added_in_32_bits(quantized: Callable) -> None:
    """On any processor: the largest codes and weights that there are, as ONNX Runtime multiplies them."""
    stored = onnx.load(quantized(QuantType.QInt8))
    assert pair_bounds(stored) == [] and not may_saturate(stored)
    weights = np.full((64, 8), -128, np.int8)
    weights[:, ::2] = 127
    model = integer_product(weights, activations=np.int8)
    assert pair_bounds(model) == []
    codes = np.repeat(np.array([[-128], [127], [-1]], np.int8), 64, axis=1)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"codes": codes})
    np.testing.assert_array_equal(found, codes.astype(int) @ weights.astype(int))


def _is_kernel(name: str) -> bool:
    return name in ("w1_quantized", "w2_quantized", "w3_quantized")


def test_a_float_file_has_nothing_to_prove(residual_path) -> None:
    assert pair_bounds(onnx.load(residual_path)) == [] and not may_saturate(onnx.load(residual_path))
