"""Integer operators, as ONNX Runtime's x86 kernels (MLAS) compute them: integer sums, float32 scales, ties to even.

Sources are ONNX Runtime's `mlas/lib` (qgemm, qladd, qlmul, qlgavgpool, quantize) and `contrib_ops/cpu/quantization`.
A code is carried with its zero point, as ONNX Runtime stores it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.export.operators.convolution import Geometry, convolution
from edgeguard.export.operators.registry import Compute, Node, operator, tensor
from edgeguard.export.operators.runtime import run_node
from edgeguard.export.straight_through import quantized, replaced

_EXACT = 2**24
"""Integers below this are exact in float32."""


@dataclass(frozen=True)
class Codes:
    """How a tensor is quantised: codes `rint(value / scale) + zero_point` within [low, high]."""

    scale: np.float32
    zero_point: int
    low: int
    high: int

    def values(self, codes: Tensor) -> Tensor:
        """The real values that codes stand for, in float32."""
        return self.centred(codes) * float(self.scale)

    def centred(self, codes: Tensor) -> Tensor:
        """Codes less their zero point."""
        return codes - self.zero_point if self.zero_point else codes

    def requantized(self, steps: Tensor, node: Node) -> Tensor:
        """Codes of values in units of the step: rounded, saturated, and only then moved by the zero point."""
        low, high = self.low - self.zero_point, self.high - self.zero_point
        return quantized(steps, low, high, self.zero_point, node.gradient.estimator)


def _codes(node: Node, scale: int, zero_point: int, what: str) -> Codes:
    """The quantisation that two inputs of a node state."""
    zero = node.optional(zero_point)
    bounds = np.iinfo(np.uint8 if zero is None else zero.dtype)
    if zero is not None and zero.size != 1:
        raise node.refused(f"its {what} has {zero.size} zero points, one needed")
    point = 0 if zero is None else int(zero.reshape(()))
    return Codes(np.float32(node.scalar(scale, f"{what}'s scale")), point, int(bounds.min), int(bounds.max))


@operator("QuantizeLinear")
def quantize_linear(node: Node) -> Compute:
    """`saturate(rint(x / scale) + zero_point)`, per tensor or per axis."""
    scale = node.constant(1, "scale").astype(np.float32)
    zero = node.optional(2)
    stated = _CODE_TYPES.get(node.attributes.get("output_dtype", 0), np.dtype("u1"))
    dtype: np.dtype[Any] = stated if zero is None else zero.dtype
    if not np.issubdtype(dtype, np.integer):
        raise node.refused(f"its codes are {dtype}, integers needed")
    if node.attributes.get("block_size"):
        raise node.refused("it quantises in blocks")
    bounds = np.iinfo(dtype)
    if scale.size == 1:
        point = 0 if zero is None else int(zero.reshape(()))
        codes = Codes(np.float32(scale.reshape(())), point, int(bounds.min), int(bounds.max))
        step = float(codes.scale)
        return lambda x: codes.requantized(x / step, node)
    zeros = np.zeros(scale.shape, np.int64) if zero is None else zero.astype(np.int64)
    axis = node.attributes.get("axis", 1)

    def per_axis(x: Tensor) -> Tensor:
        steps, point = x / _along(scale, x, axis), _along(zeros.astype(np.float32), x, axis)
        low, high = float(bounds.min), float(bounds.max)
        # The zero point is whole, so that adding it before the clamp moves no rounding.
        whole = quantized(steps, -torch.inf, torch.inf, 0.0, node.gradient.estimator)
        return (whole + point).clamp(low, high)

    return per_axis


_CODE_TYPES: dict[int, np.dtype[Any]] = {2: np.dtype("u1"), 3: np.dtype("i1"), 4: np.dtype("u2"), 5: np.dtype("i2")}
"""`output_dtype` of QuantizeLinear: ONNX's numbers of the integer types."""


@operator("DequantizeLinear")
def dequantize_linear(node: Node) -> Compute:
    """`(codes - zero_point) * scale`, per tensor or per axis."""
    scale = node.constant(1, "scale").astype(np.float32)
    zero = node.optional(2)
    if node.attributes.get("block_size"):
        raise node.refused("it quantises in blocks")
    axis = node.attributes.get("axis", 1)
    if scale.size == 1:
        point = 0 if zero is None else int(zero.reshape(()))
        factor = float(scale.reshape(()))

        return lambda codes: (codes - point if point else codes) * factor
    zeros = np.zeros(scale.shape, np.float32) if zero is None else zero.astype(np.float32)
    return lambda codes: (codes - _along(zeros, codes, axis)) * _along(scale, codes, axis)


def _along(values: np.ndarray, x: Tensor, axis: int) -> Tensor:
    """A vector shaped so that it broadcasts along one axis."""
    shape = [1] * x.dim()
    shape[axis] = -1
    return torch.from_numpy(np.ascontiguousarray(values)).to(x.device).view(shape)


def _weights(node: Node, at: int, scale: int, zero_point: int, *, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Stored integer weights less their zero points, as float64, and their float32 scales [channels] or [1].

    Args:
        axis: of the output channels.
    """
    weight = node.constant(at, "weight").astype(np.float64)
    scales = node.constant(scale, "weight's scale").astype(np.float32).reshape(-1)
    zero = node.optional(zero_point)
    if zero is not None:
        shape = [1] * weight.ndim
        shape[axis] = -1
        weight = weight - zero.astype(np.float64).reshape(shape)
    return weight, scales


def _carrier(node: Node, sums: np.ndarray, x: Codes, bias: np.ndarray | None) -> torch.dtype:
    """float32 where no partial sum can leave the integers that it holds exactly, else float64.

    Args:
        sums: largest sum of absolute weights that one output adds up, per channel.
    """
    reach = max(x.high - x.zero_point, x.zero_point - x.low)
    largest = sums * reach + (0 if bias is None else np.abs(bias.astype(np.float64)))
    return torch.float32 if float(np.max(largest)) < _EXACT else torch.float64


@operator("QLinearConv")
def qlinear_conv(node: Node) -> Compute:
    """Integer convolution, requantised by `(x_scale * w_scale) / y_scale` in float32."""
    x, y = _codes(node, 1, 2, "input"), _codes(node, 6, 7, "output")
    weight, scales = _weights(node, 3, 4, 5, axis=0)
    bias = node.optional(8)
    carrier = _carrier(node, np.abs(weight).reshape(len(weight), -1).sum(1), x, bias)
    multiplier = torch.from_numpy(np.broadcast_to((x.scale * scales) / y.scale, len(weight)).astype(np.float32).copy())
    convolve = convolution(
        torch.from_numpy(weight).to(carrier),
        None if bias is None else torch.from_numpy(bias.astype(np.float64)).to(carrier),
        Geometry.of(node, weight.shape[2:]),
    )

    def compute(codes: Tensor) -> Tensor:
        total = convolve(x.centred(codes).to(carrier)).float()
        return y.requantized(total * multiplier.to(total.device).view(-1, *[1] * (total.dim() - 2)), node)

    return compute


@operator("QLinearMatMul")
def qlinear_matmul(node: Node) -> Compute:
    """Integer product, requantised by `(a_scale * b_scale) / y_scale` in float32."""
    a, y = _codes(node, 1, 2, "left side"), _codes(node, 6, 7, "output")
    if 3 in node.computed:
        b = _codes(node, 4, 5, "right side")
        ratio = float(np.float32(a.scale * b.scale) / y.scale)

        def both(left: Tensor, right: Tensor) -> Tensor:
            total = (a.centred(left).double() @ b.centred(right).double()).float()
            return y.requantized(total * ratio, node)

        return both
    weight, scales = _weights(node, 3, 4, 5, axis=-1)
    multiplier = torch.from_numpy((a.scale * scales) / y.scale)
    product = _product(node, weight, None, a)
    return lambda codes: y.requantized(product(codes) * multiplier.to(codes.device), node)


@operator("MatMulIntegerToFloat")
def matmul_integer_to_float(node: Node) -> Compute:
    """Integer product with a stored right side, scaled to float."""
    if 2 in node.computed:
        return _dynamic_product(node)
    a = _codes(node, 2, 4, "left side")
    weight, scales = _weights(node, 1, 3, 5, axis=-1)
    factor = torch.from_numpy(a.scale * scales)
    bias = node.optional(6)
    offset = None if bias is None else tensor(bias)
    product = _product(node, weight, None, a)

    def compute(codes: Tensor) -> Tensor:
        value = product(codes) * factor.to(codes.device)
        return value if offset is None else value + offset.to(codes.device)

    return compute


def _dynamic_product(node: Node) -> Compute:
    """The same with a left side whose scale and zero point are computed with it."""
    weight, scales = _weights(node, 1, 3, 5, axis=-1)
    right, steps = torch.from_numpy(weight), torch.from_numpy(scales)
    bias = node.optional(6)
    offset = None if bias is None else tensor(bias)

    def compute(*computed: Tensor) -> Tensor:
        given = dict(zip(node.computed, computed, strict=True))
        codes, scale = given[0], given[2]
        centred = codes.double() - given[4].double() if 4 in given else codes.double()
        value = (centred @ right.to(codes.device)).float() * (scale * steps.to(codes.device))
        return value if offset is None else value + offset.to(codes.device)

    return compute


@operator("QGemm")
def qgemm(node: Node) -> Compute:
    """Integer `A B + C`, requantised, or scaled to float where the node has no output scale."""
    a = _codes(node, 1, 2, "left side")
    turned = bool(node.attributes.get("transB"))
    weight, scales = _weights(node, 3, 4, 5, axis=0 if turned else -1)
    if node.attributes.get("transA") or node.attributes.get("alpha", 1.0) != 1.0:
        raise node.refused("it transposes or scales its left side")
    if turned:
        weight = weight.T
    product = _product(node, weight, node.optional(6), a)
    if not node.has(7):
        factor = torch.from_numpy(a.scale * scales)
        return lambda codes: product(codes) * factor.to(codes.device)
    y = _codes(node, 7, 8, "output")
    multiplier = torch.from_numpy((a.scale * scales) / y.scale)
    return lambda codes: y.requantized(product(codes) * multiplier.to(codes.device), node)


def _product(node: Node, weight: np.ndarray, bias: np.ndarray | None, a: Codes) -> Callable[[Tensor], Tensor]:
    """Codes [..., K] to exact integers `(codes - zero_point) weight + bias` [..., N], as float32 rounds them."""
    carrier = _carrier(node, np.abs(weight).sum(-2), a, bias)
    right = torch.from_numpy(np.ascontiguousarray(weight)).to(carrier)
    offset = None if bias is None else torch.from_numpy(bias.astype(np.float64)).to(carrier)

    def product(codes: Tensor) -> Tensor:
        total = a.centred(codes).to(carrier) @ right.to(codes.device)
        return (total if offset is None else total + offset.to(codes.device)).float()

    return product


@operator("QLinearAdd")
def qlinear_add(node: Node) -> Compute:
    """`b * rB + (zC - (rA * zA + rB * zB)) + a * rA` in float32, each product fused with its addition, r = scale ratio.

    The zero point is added before rounding, so that ties fall by the code's parity, not by the value's.
    """
    a, b, c = _codes(node, 1, 2, "left side"), _codes(node, 4, 5, "right side"), _codes(node, 6, 7, "output")
    ratio_a, ratio_b = a.scale / c.scale, b.scale / c.scale
    inner = _fused(np.float64(ratio_a), a.zero_point, np.float32(ratio_b * np.float32(b.zero_point)))
    fixed = np.float32(c.zero_point) - inner

    def add(left: Tensor, right: Tensor) -> Tensor:
        first, second = (left, ratio_a), (right, ratio_b)
        # The kernel takes a side that it broadcasts into the constant part.
        if not (left.shape[-1] == 1 < right.shape[-1]):
            first, second = second, first
        total = _fused_tensor(first[0], first[1], torch.tensor(float(fixed), dtype=torch.float64))
        total = _fused_tensor(second[0], second[1], total.double())
        return quantized(total, c.low, c.high, 0.0, node.gradient.estimator)

    return _with_stored(node, (0, 3), add)


def _fused(a: float, b: float, c: np.float32) -> np.float32:
    """`a * b + c` of float32 values, rounded once."""
    return np.float32(np.float64(a) * np.float64(b) + np.float64(c))


def _fused_tensor(codes: Tensor, ratio: np.float32, addend: Tensor) -> Tensor:
    """`codes * ratio + addend` rounded once to float32; float64 holds the product of a code and a float32 exactly."""
    return (codes.double() * float(ratio) + addend.to(codes.device)).float()


@operator("QLinearMul")
def qlinear_mul(node: Node) -> Compute:
    """`(a - zA) * (b - zB) * (sA * sB / sC) + zC` in float32, then rounded."""
    a, b, c = _codes(node, 1, 2, "left side"), _codes(node, 4, 5, "right side"), _codes(node, 6, 7, "output")
    ratio = float((a.scale * b.scale) / c.scale)

    def multiply(left: Tensor, right: Tensor) -> Tensor:
        value = a.centred(left) * b.centred(right) * ratio + c.zero_point
        return quantized(value, c.low, c.high, 0.0, node.gradient.estimator)

    return _with_stored(node, (0, 3), multiply)


def _with_stored(node: Node, positions: tuple[int, ...], compute: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """`compute` of all the positions, with those filled in that are stored."""
    stored = {
        place: tensor(node.constant(place, "side")).float() for place in positions if node.optional(place) is not None
    }
    if not stored:
        return compute

    def filled(*computed: Tensor) -> Tensor:
        given = iter(computed)
        return compute(
            *(stored[place].to(computed[0].device) if place in stored else next(given) for place in positions)
        )

    return filled


@operator("QLinearConcat")
def qlinear_concat(node: Node) -> Compute:
    """Tensors joined, those of another quantisation than the output's requantised."""
    y = _codes(node, 0, 1, "output")
    places = range(2, len(node.constants), 3)
    inputs = [_codes(node, place + 1, place + 2, f"input {index}") for index, place in enumerate(places)]
    axis = node.attributes["axis"]

    def join(*parts: Tensor) -> Tensor:
        same = [
            part if codes == y else y.requantized(codes.values(part) / float(y.scale), node)
            for part, codes in zip(parts, inputs, strict=True)
        ]
        return torch.cat(same, axis)

    return _with_stored(node, tuple(places), join)


@operator("QLinearGlobalAveragePool")
def qlinear_global_average_pool(node: Node) -> Compute:
    """Integer sum over all samples, requantised by `x_scale / (y_scale * samples)` in float32."""
    x, y = _codes(node, 1, 2, "input"), _codes(node, 3, 4, "output")
    if node.attributes.get("channels_last"):
        raise node.refused("its channels come last")

    def compute(codes: Tensor) -> Tensor:
        axes = tuple(range(2, codes.dim()))
        samples = int(np.prod([codes.shape[axis] for axis in axes]))
        total = x.centred(codes).double().sum(axes, keepdim=True).float()
        return y.requantized(total * float(x.scale / (y.scale * np.float32(samples))), node)

    return compute


@operator("QLinearAveragePool")
def qlinear_average_pool(node: Node) -> Compute:
    """Means of dequantised values; the zero point is added before rounding.

    Where padding counts, ONNX Runtime divides by the whole kernel, also at an overhang.
    """
    x, y = _codes(node, 1, 2, "input"), _codes(node, 3, 4, "output")
    geometry = Geometry.of(node, node.attributes["kernel_shape"])
    counted = bool(node.attributes.get("count_include_pad", 0))

    def compute(codes: Tensor) -> Tensor:
        values = x.values(codes)
        whole = float(np.prod(geometry.kernel))
        mean = geometry.sums(values) / whole if counted else geometry.average(values, count_padding=False)
        value = mean / float(y.scale) + y.zero_point
        return quantized(value, y.low, y.high, 0.0, node.gradient.estimator)

    return compute


@operator("QLinearLeakyRelu")
def qlinear_leaky_relu(node: Node) -> Compute:
    """A table of 256 codes: dequantised, LeakyRelu, quantised."""
    slope = node.attributes.get("alpha", 0.01)
    return _table(node, lambda value: torch.where(value >= 0, value, value * slope))


@operator("QLinearSigmoid")
def qlinear_sigmoid(node: Node) -> Compute:
    """A table of 256 codes: dequantised, logistic function, quantised."""
    return _table(node, torch.sigmoid)


def _table(node: Node, function: Callable[[Tensor], Tensor]) -> Compute:
    """The table that ONNX Runtime itself makes of a function of one code, with the function's own gradient."""
    x, y = _codes(node, 1, 2, "input"), _codes(node, 3, 4, "output")
    dtype = np.uint8 if x.low == 0 else np.int8
    table = torch.from_numpy(run_node(node, np.arange(x.low, x.high + 1, dtype=dtype)).astype(np.float32))

    def compute(codes: Tensor) -> Tensor:
        smooth = y.requantized(function(x.values(codes)) / float(y.scale), node)
        return replaced(smooth, table.to(codes.device)[(codes - x.low).long()], "pure")

    return compute


@operator("QLinearSoftmax")
def qlinear_softmax(node: Node) -> Compute:
    """Shares of float32 exponentials out of a table, in whole steps of the output.

    The table is aligned so that the largest code of a row reads its last entry. `floor(1 / y_scale)` stands for the
    number of steps in one, as in ONNX Runtime's `qlinear_softmax.cc`: with a scale just above 1 / 255 that is 254.
    """
    x, y = _codes(node, 1, 2, "input"), _codes(node, 3, 4, "output")
    before_13 = node.attributes["opset"] < 13
    axis = node.attributes.get("axis", 1 if before_13 else -1)
    steps = float(np.floor(np.float32(1) / y.scale))

    def rows(codes: Tensor) -> Tensor:
        """Softmax over the last axis."""
        room = max(float(np.log(np.finfo(np.float32).max / codes.shape[-1])) - _SPARE, 0.0) / float(x.scale)
        table = torch.from_numpy(np.exp((np.arange(256.0) - 255 + room) * float(x.scale)).astype(np.float32))
        places = 255 + codes - codes.amax(-1, keepdim=True)
        shares = table.to(codes.device)[places.detach().long()]
        total = shares[..., :1].clone()
        for place in range(1, codes.shape[-1]):
            total += shares[..., place, None]
        exact = ((shares * steps / total).round_() + y.zero_point).clamp_(max=y.high)
        smooth = torch.softmax(x.values(codes), -1) / float(y.scale) + y.zero_point
        return replaced(smooth, exact, node.gradient.estimator)

    if before_13:
        return lambda codes: rows(codes.flatten(axis)).view_as(codes)
    return lambda codes: rows(codes.movedim(axis, -1)).movedim(-1, axis)


_SPARE = 5.0
"""What ONNX Runtime keeps free, as a power of e, below the largest float32 that a row's sum may reach."""
