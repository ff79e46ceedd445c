"""Operators of files whose activations are quantised anew for every record, by the extremes that it has."""

import torch
from torch import Tensor

from edgeguard.export.operators.convolution import Geometry, convolution
from edgeguard.export.operators.registry import Compute, Node, operator, tensor
from edgeguard.export.straight_through import rounded


@operator("DynamicQuantizeLinear")
def dynamic_quantize(node: Node) -> Compute:
    """uint8 codes of a tensor, their scale and their zero point, from its least and largest value and zero."""

    def compute(x: Tensor) -> tuple[Tensor, ...]:
        low, high = x.detach().amin().clamp_max(0), x.detach().amax().clamp_min(0)
        scale = (high - low) / 255
        scale = torch.where(scale == 0, torch.ones_like(scale), scale)
        zero = torch.round((0 - low) / scale).clamp(0, 255)
        codes = (rounded(x / scale, node.gradient.estimator) + zero).clamp(0, 255)
        return (codes, scale, zero)[: len(node.outputs)]

    return compute


def _less_zero(node: Node, computed: dict[int, Tensor], at: int, zero_at: int) -> Tensor:
    """An operand less its zero point, exact in double."""
    value = computed[at] if at in computed else tensor(node.constant(at, "operand"))
    zero = computed.get(zero_at)
    if zero is None and node.optional(zero_at) is not None:
        zero = tensor(node.constant(zero_at, "zero point"))
    value = value.double()
    if zero is None:
        return value
    zero = zero.double().to(value.device)
    return value - (zero if zero.dim() == 0 or zero.numel() == 1 else zero.reshape(-1, *[1] * (value.dim() - 1)))


@operator("MatMulInteger")
def matmul_integer(node: Node) -> Compute:
    """Product of codes less their zero points, exact."""

    def compute(*computed: Tensor) -> Tensor:
        given = dict(zip(node.computed, computed, strict=True))
        device = computed[0].device
        right = node.optional(3)
        a = _less_zero(node, given, 0, 2).to(device)
        b = given[1] if 1 in given else tensor(node.constant(1, "weight"))
        b = b.double().to(device)
        if right is not None or 3 in given:
            zero = (given[3] if 3 in given else tensor(node.constant(3, "zero point"))).double().to(device)
            b = b - zero
        return a @ b

    return compute


@operator("ConvInteger")
def conv_integer(node: Node) -> Compute:
    """Convolution of codes less their zero points, exact; what is padded is the zero point, zero after it."""
    weight = node.constant(1, "weight")
    zero = node.optional(3)
    taps = tensor(weight).double()
    if zero is not None:
        taps = taps - tensor(zero).double().reshape(-1, *[1] * (taps.dim() - 1) if zero.size > 1 else [])
    convolve = convolution(taps, None, Geometry.of(node, weight.shape[2:]))

    def compute(*computed: Tensor) -> Tensor:
        given = dict(zip(node.computed, computed, strict=True))
        return convolve(_less_zero(node, given, 0, 2))

    return compute
