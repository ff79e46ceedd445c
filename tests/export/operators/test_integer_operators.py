"""Integer operators: equal to ONNX Runtime's kernels in every code, and gradients worked out by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from edgeguard.errors import InputError

MICROSOFT = "com.microsoft"
SEEDS = range(12)


class Draw:
    """Random codes and their quantisation; `wide` steps make most outputs saturate."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = (np.uint8, np.int8)[seed % 2]

    def codes(self, *shape: int, dtype: Any = None) -> np.ndarray:
        bounds = np.iinfo(dtype or self.dtype)
        return self.rng.integers(bounds.min, bounds.max + 1, shape).astype(dtype or self.dtype)

    def scale(self, middle: float = 0.02, size: int | None = None) -> np.ndarray:
        return np.asarray(middle * 2 ** self.rng.uniform(-1, 1, size), np.float32)

    def zero(self) -> np.ndarray:
        bounds = np.iinfo(self.dtype)
        return np.asarray(self.rng.choice([bounds.min, 0, 7, bounds.max // 2]), self.dtype)


def equal(pair: tuple[np.ndarray, torch.Tensor]) -> None:
    want, got = pair
    assert got.shape == want.shape
    np.testing.assert_array_equal(got.numpy(), want.astype(np.float64))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_quantising(dtype: Any, seed: int, both: Callable):
    draw = Draw(seed)
    bounds = np.iinfo(dtype)
    scale, zero = draw.scale(), np.asarray(draw.rng.integers(bounds.min, bounds.max), dtype)
    x = np.concatenate([draw.rng.normal(0, 100 * scale, 300), (np.arange(-20, 20) + 0.5) * scale]).astype(np.float32)
    equal(both("QuantizeLinear", [x, scale, zero]))


def test_quantising_without_a_zero_point(both: Callable):
    x = np.linspace(-3, 300, 77, dtype=np.float32)
    equal(both("QuantizeLinear", [x, np.float32(1.1)]))
    equal(both("QuantizeLinear", [x, np.float32(1.1)], output_dtype=3))


@pytest.mark.parametrize("seed", SEEDS)
def test_quantising_each_channel(seed: int, both: Callable):
    draw = Draw(seed)
    x = draw.rng.normal(0, 3, (2, 5, 9)).astype(np.float32)
    zeros = draw.codes(5)
    equal(both("QuantizeLinear", [x, draw.scale(size=5), zeros]))
    equal(both("QuantizeLinear", [x, draw.scale(size=9), draw.codes(9)], axis=-1))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.int32])
def test_dequantising(dtype: Any, both: Callable):
    draw = Draw(3)
    codes = draw.codes(2, 5, 9, dtype=dtype)
    if dtype == np.int32:
        codes //= 2**8
    scale, zero = draw.scale(), np.asarray(0 if dtype == np.int32 else 77, dtype)
    zeros = np.zeros(5, dtype) if dtype == np.int32 else draw.codes(5, dtype=dtype)
    for inputs in ([codes, scale, zero], [codes, scale], [codes, draw.scale(size=5), zeros]):
        want, got = both("DequantizeLinear", inputs)
        np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("form", ["tensor", "channel", "pads", "groups", "dilated", "unsigned weights"])
def test_convolutions(form: str, seed: int, both: Callable):
    draw = Draw(2 * seed if form == "unsigned weights" else seed)
    groups = 4 if form == "groups" else 1
    weight = draw.codes(8, 4 // groups, 5, dtype=np.uint8 if form == "unsigned weights" else np.int8)
    many = None if form in ("tensor", "unsigned weights") else 8
    weight_zero = np.asarray(131 if form == "unsigned weights" else 0, weight.dtype)
    weight_zero = weight_zero if many is None else np.zeros(8, np.int8)
    bias = draw.rng.integers(-4000, 4000, 8).astype(np.int32)
    attributes: dict[str, Any] = {"group": groups, "strides": [1 + seed % 3]}
    if form == "pads":
        attributes["pads"] = [seed % 4, (seed + 1) % 3]
    if form == "dilated":
        attributes["dilations"] = [3]
    inputs = [draw.codes(3, 4, 50), draw.scale(), draw.zero(), weight, draw.scale(size=many), weight_zero]
    inputs += [draw.scale(0.8), draw.zero(), None if seed == 5 else bias]
    equal(both("QLinearConv", inputs[: 8 if seed == 5 else 9], **attributes))


def test_sums_beyond_what_float32_holds(both: Callable):
    """900 products of 255 and 127 exceed 2 ** 24: the carrier is float64 there."""
    rng = np.random.default_rng(0)
    x, weight = (
        rng.integers(200, 256, (2, 300, 30)).astype(np.uint8),
        rng.integers(90, 128, (2, 300, 3)).astype(np.int8),
    )
    scale = np.float32(0.01)
    inputs = [x, scale, np.uint8(0), weight, scale, np.int8(0), np.float32(12.3), np.uint8(0)]
    equal(both("QLinearConv", [np.asarray(value) for value in inputs]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("channels", [False, True])
def test_products(channels: bool, seed: int, both: Callable):
    draw = Draw(seed)
    many = 6 if channels else None
    zeros = np.zeros(6, np.int8) if channels else np.int8(0)
    a, weight = [draw.codes(5, 40), draw.scale(), draw.zero()], draw.codes(40, 6, dtype=np.int8)
    scale, out = draw.scale(size=many), [draw.scale(2.0), draw.zero()]
    equal(both("QLinearMatMul", [*a, weight, scale, np.asarray(zeros), *out]))
    bias = draw.rng.integers(-9000, 9000, 6).astype(np.int32)
    equal(both("QGemm", [*a, weight.T.copy(), scale, np.asarray(zeros), bias, *out], domain=MICROSOFT, transB=1))
    equal(both("QGemm", [*a, weight, scale, np.asarray(zeros), None, *out], domain=MICROSOFT))
    want, got = both("QGemm", [*a, weight, scale, np.asarray(zeros), bias], domain=MICROSOFT)
    np.testing.assert_array_equal(got.numpy(), want)
    offset = draw.rng.normal(0, 1, 6).astype(np.float32)
    floats = [a[0], weight, a[1], scale, a[2], np.asarray(zeros), offset]
    want, got = both("MatMulIntegerToFloat", floats, domain=MICROSOFT)
    np.testing.assert_array_equal(got.numpy(), want)


@pytest.mark.parametrize("seed", range(16))
@pytest.mark.parametrize("operator", ["QLinearAdd", "QLinearMul"])
@pytest.mark.parametrize("shape", [(3, 4, 37), (4, 1), (3, 4, 1), (1,)])
def test_sums_and_products_of_two_tensors(shape: tuple[int, ...], operator: str, seed: int, both: Callable):
    draw = Draw(seed)
    middle = 0.03 if operator == "QLinearAdd" else 0.1
    a = [draw.codes(3, 4, 37), draw.scale(), draw.zero()]
    b = [draw.codes(*shape), draw.scale(), draw.zero()]
    out = [draw.scale(middle), draw.zero()]
    equal(both(operator, [*a, *b, *out], computed=(0, 3), domain=MICROSOFT))
    equal(both(operator, [*b, *a, *out], computed=(0, 3), domain=MICROSOFT))
    equal(both(operator, [*a, *b, *out], computed=(0,), domain=MICROSOFT))
    equal(both(operator, [*b, *a, *out], computed=(3,), domain=MICROSOFT))


@pytest.mark.parametrize("seed", SEEDS)
def test_joining(seed: int, both: Callable):
    draw = Draw(seed)
    first, second = [draw.codes(2, 3, 40), draw.scale(), draw.zero()], [draw.codes(2, 2, 40), draw.scale(), draw.zero()]
    out = [draw.scale(), draw.zero()]
    equal(both("QLinearConcat", [*out, *first, *second], computed=(2, 5), domain=MICROSOFT, axis=1))
    equal(both("QLinearConcat", [first[1], first[2], *first, *second], computed=(2, 5), domain=MICROSOFT, axis=1))
    equal(both("QLinearConcat", [*out, *first, *second], computed=(5,), domain=MICROSOFT, axis=1))


@pytest.mark.parametrize("seed", SEEDS)
def test_pools(seed: int, both: Callable):
    draw = Draw(seed)
    x = [draw.codes(3, 4, 37), draw.scale(), draw.zero(), draw.scale(0.01), draw.zero()]
    equal(both("QLinearGlobalAveragePool", x, domain=MICROSOFT, channels_last=0))
    shape = {"kernel_shape": [4], "strides": [1 + seed % 3], "pads": [seed % 3, seed % 2]}
    for counted in (0, 1):
        for ceil in (0, 1):
            options = shape | {"count_include_pad": counted, "ceil_mode": ceil}
            equal(both("QLinearAveragePool", x, domain=MICROSOFT, channels_last=0, **options))
    equal(both("MaxPool", x[:1], kernel_shape=[3], strides=[2], pads=[1, 1]))


@pytest.mark.parametrize("seed", SEEDS)
def test_tables(seed: int, both: Callable):
    draw = Draw(seed)
    bounds = np.iinfo(draw.dtype)
    every = np.arange(bounds.min, bounds.max + 1, dtype=draw.dtype)
    inputs = [every, draw.scale(), draw.zero(), draw.scale(0.01), draw.zero()]
    equal(both("QLinearSigmoid", inputs, domain=MICROSOFT))
    equal(both("QLinearLeakyRelu", inputs, domain=MICROSOFT, alpha=0.17))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("axis", "opset"), [(-1, 13), (1, 13), (1, 12)])
def test_softmax(axis: int, opset: int, seed: int, both: Callable):
    draw = Draw(seed)
    low = np.asarray(np.iinfo(draw.dtype).min, draw.dtype)
    x = draw.codes(50, 4, 3)
    inputs = [x, draw.scale(0.03), draw.zero(), np.float32([1 / 256, 1 / 255][seed % 2]), low]
    equal(both("QLinearSoftmax", [np.asarray(i) for i in inputs], domain=MICROSOFT, axis=axis, opset=opset))


@pytest.mark.parametrize(
    ("estimator", "want"),
    [
        ("clipped", [0.0, 0.0, 2.0, 2.0, 0.0]),
        ("pure", [0.0, 0.0, 2.0, 2.0, 2.0]),
        ("none", [0.0, 0.0, 0.0, 0.0, 0.0]),
    ],
)
def test_gradient_of_a_quantiser_from_zero_up(estimator: str, want: list[float], both: Callable):
    """Zero point 0 and uint8: below 0 a ReLU is folded in, at 127.5 = 255 * 0.5 the codes end; 1 / scale = 2."""
    x = torch.tensor([-3.0, 0.0, 1.1, 127.4, 200.0], requires_grad=True)
    _, got = both("QuantizeLinear", [x, np.float32(0.5), np.uint8(0)], estimator=estimator)
    assert got.tolist() == [0, 0, 2, 255, 255]
    (gradient,) = torch.autograd.grad(got.sum(), x)
    assert gradient.tolist() == want


@pytest.mark.parametrize(
    ("estimator", "want"), [("clipped", [0.0, 2.0, 2.0, 0.0]), ("pure", [2.0] * 4), ("none", [0.0] * 4)]
)
def test_gradient_of_a_quantiser_on_both_sides_of_zero(estimator: str, want: list[float], both: Callable):
    x = torch.tensor([-100.0, -20.0, 30.3, 90.0], requires_grad=True)
    _, got = both("QuantizeLinear", [x, np.float32(0.5), np.int8(0)], estimator=estimator)
    assert got.tolist() == [-128, -40, 61, 127]
    (gradient,) = torch.autograd.grad(got.sum(), x)
    assert gradient.tolist() == want


ESTIMATED: dict[str, tuple[list[Any], list[float], list[float], dict[str, Any]]] = {
    # 2 x - 3 of codes x = 10, 20, 120 in steps of 0.5, out in steps of 0.25 from 0 up: multiplier 0.5 * 1 / 0.25 = 2.
    "QLinearConv": (
        [[10, 20, 120], 0.5, np.uint8(10), np.int8([[[2]]]), 1.0, np.int8(0), 0.25, np.uint8(0), np.int32([-3])],
        [0, 34, 255],
        [0, 4, 0],
        {},
    ),
    # Twice the centred code, in steps of 2 / 1.
    "QLinearMatMul": (
        [[5, 7, 250], 1.0, np.uint8(5), np.int8([[2]]), 1.0, np.int8(0), 1.0, np.uint8(3)],
        [3, 7, 255],
        [2, 2, 0],
        {},
    ),
    "QGemm": (
        [[5, 7, 250], 1.0, np.uint8(5), np.int8([[2]]), 1.0, np.int8(0), None, 1.0, np.uint8(3)],
        [3, 7, 255],
        [2, 2, 0],
        {},
    ),
    # 0.5 x + 1 * (40 - 20), steps of 0.5: (x + 40).
    "QLinearAdd": (
        [[0, 100, 250], 0.5, np.uint8(0), np.uint8([40]), 1.0, np.uint8(20), 0.5, np.uint8(0)],
        [40, 140, 255],
        [1, 1, 0],
        {},
    ),
    # 0.5 x * 1 * (40 - 20) in steps of 2: 5 x.
    "QLinearMul": (
        [[1, 10, 250], 0.5, np.uint8(0), np.uint8([40]), 1.0, np.uint8(20), 2.0, np.uint8(0)],
        [5, 50, 255],
        [5, 5, 0],
        {},
    ),
    # A slope of 0.5 below zero; in steps half as fine.
    "QLinearLeakyRelu": (
        [[80, 110, 200], 1.0, np.uint8(100), 0.5, np.uint8(100)],
        [80, 120, 255],
        [1, 2, 0],
        {"alpha": 0.5},
    ),
}


@pytest.mark.parametrize("estimator", ["clipped", "pure", "none"])
@pytest.mark.parametrize("operator", ESTIMATED)
def test_gradients_worked_out_by_hand(operator: str, estimator: str, both: Callable):
    inputs, codes, slopes, attributes = ESTIMATED[operator]
    column = (3, 1, 1) if operator == "QLinearConv" else (3, 1)
    x = np.uint8(inputs[0]).reshape(column)
    stored = [None if v is None else np.asarray(v, getattr(v, "dtype", np.float32)) for v in inputs[1:]]
    domain = "" if operator in ("QLinearConv", "QLinearMatMul") else MICROSOFT
    want, got = both(operator, [x, *stored], domain=domain, estimator=estimator, track=True, **attributes)
    assert got.flatten().tolist() == want.flatten().tolist() == codes
    (gradient,) = torch.autograd.grad(got.sum(), both.given[0])
    # The last code saturates above, where the pure estimator goes on.
    expected = {"clipped": slopes, "pure": [*slopes[:2], slopes[1]], "none": [0, 0, 0]}[estimator]
    assert gradient.flatten().tolist() == pytest.approx(expected)


def test_what_cannot_be_reproduced_is_refused_in_one_line(both: Callable):
    draw = Draw(0)
    x = [draw.codes(1, 3, 6), draw.scale(), draw.zero(), draw.scale(), draw.zero()]
    with pytest.raises(InputError, match="its channels come last"):
        both("QLinearGlobalAveragePool", x, domain=MICROSOFT, channels_last=1)
    with pytest.raises(InputError, match=r"operator QuantizeLinear \(node one, opset 21\): it quantises in blocks"):
        both(
            "QuantizeLinear",
            [np.float32([[1, 2, 3, 4]]), np.float32([[1, 2]]), np.uint8([[0, 0]])],
            axis=1,
            block_size=2,
        )
