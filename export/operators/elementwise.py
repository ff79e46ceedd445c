"""Operators that treat every element alike, and those that reduce an axis."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgeguard.export.operators.registry import Compute, Node, operator, tensor
from edgeguard.export.operators.runtime import as_the_runtime


def _binary(name: str, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
    @operator(name)
    def build(node: Node) -> Compute:
        left, right = node.optional(0), node.optional(1)
        if left is not None:
            fixed = tensor(left)
            return lambda b: compute(fixed.to(b.device), b)
        if right is not None:
            fixed = tensor(right)
            return lambda a: compute(a, fixed.to(a.device))
        return compute


_binary("Add", torch.add)
_binary("Sub", torch.sub)
_binary("Mul", torch.mul)


def _divide(a: Tensor, b: Tensor) -> Tensor:
    """Integers are divided as integers, towards zero."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


_binary("Div", _divide)
_binary("Pow", torch.pow)


def _unary(name: str, compute: Callable[[Tensor], Tensor]) -> None:
    @operator(name)
    def build(node: Node) -> Compute:
        return compute


_unary("Identity", lambda x: x)
_unary("Relu", torch.relu)
_unary("Abs", torch.abs)
_unary("Neg", torch.neg)
_unary("Sqrt", torch.sqrt)
_unary("Dropout", lambda x: x)


def _approximated(name: str, compute: Callable[[Tensor], Tensor]) -> None:
    @operator(name)
    def build(node: Node) -> Compute:
        return as_the_runtime(node, compute)


_approximated("Tanh", torch.tanh)
_approximated("Sigmoid", torch.sigmoid)
_approximated("Exp", torch.exp)
_approximated("Erf", torch.erf)
_approximated("HardSwish", F.hardswish)
_approximated("Log", torch.log)
_approximated("Mish", F.mish)
_approximated("Softplus", F.softplus)
_approximated("Softsign", F.softsign)
_approximated("Reciprocal", torch.reciprocal)
_approximated("Sin", torch.sin)
_approximated("Cos", torch.cos)


@operator("Gelu")
def gelu(node: Node) -> Compute:
    """x times the normal distribution function, or its approximation by tanh."""
    kind = node.attributes.get("approximate", b"none")
    kind = kind.decode() if isinstance(kind, bytes) else kind
    return as_the_runtime(node, lambda x: F.gelu(x, approximate=kind))


@operator("Elu")
def elu(node: Node) -> Compute:
    """x, or alpha (e^x - 1) below zero."""
    slope = node.attributes.get("alpha", 1.0)
    return as_the_runtime(node, lambda x: F.elu(x, slope))


@operator("Celu")
def celu(node: Node) -> Compute:
    """x, or alpha (e^(x / alpha) - 1) below zero."""
    slope = node.attributes.get("alpha", 1.0)
    return as_the_runtime(node, lambda x: F.celu(x, slope))


@operator("Selu")
def selu(node: Node) -> Compute:
    """The self-normalising exponential unit."""
    alpha, gamma = node.attributes.get("alpha", 1.6732632), node.attributes.get("gamma", 1.0507010)
    return as_the_runtime(node, lambda x: gamma * torch.where(x > 0, x, alpha * torch.expm1(x.clamp_max(0))))


@operator("Swish", "QuickGelu")
def swish(node: Node) -> Compute:
    """x sigmoid(alpha x)."""
    slope = node.attributes.get("alpha", 1.0 if node.operator == "Swish" else 1.702)
    return as_the_runtime(node, lambda x: x * torch.sigmoid(slope * x))


@operator("Where")
def where(node: Node) -> Compute:
    """Elements of one tensor or of another, as a third one says."""

    def compute(*computed: Tensor) -> Tensor:
        chosen, first, second = node.inputs(computed)
        assert chosen is not None and first is not None and second is not None
        return torch.where(chosen.bool(), first, second)

    return compute


def _compared(name: str, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
    @operator(name)
    def build(node: Node) -> Compute:
        def run(*computed: Tensor) -> Tensor:
            left, right = node.inputs(computed)
            assert left is not None and right is not None
            return compute(left, right)

        return run


_compared("Equal", torch.eq)
_compared("Greater", torch.gt)
_compared("GreaterOrEqual", torch.ge)
_compared("Less", torch.lt)
_compared("LessOrEqual", torch.le)
_compared("And", torch.logical_and)
_compared("Or", torch.logical_or)
_unary("Not", torch.logical_not)
_unary("Floor", torch.floor)
_unary("Ceil", torch.ceil)
_unary("Sign", torch.sign)


def _folded(name: str, compute: Callable[[Tensor, Tensor], Tensor]) -> None:
    @operator(name)
    def build(node: Node) -> Compute:
        def run(*computed: Tensor) -> Tensor:
            first, *others = [value for value in node.inputs(computed) if value is not None]
            for value in others:
                first = compute(first, value)
            return first

        return run


_folded("Max", torch.maximum)
_folded("Min", torch.minimum)
_folded("Sum", torch.add)


@operator("LeakyRelu")
def leaky_relu(node: Node) -> Compute:
    """x, or alpha x below zero."""
    slope = node.attributes.get("alpha", 0.01)
    return lambda x: F.leaky_relu(x, slope)


@operator("HardSigmoid")
def hard_sigmoid(node: Node) -> Compute:
    """`clamp(alpha x + beta, 0, 1)`."""
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return as_the_runtime(node, lambda x: (x * alpha + beta).clamp(0, 1))


@operator("Clip")
def clip(node: Node) -> Compute:
    """Between two bounds, stored as inputs (opset 11 on) or as attributes."""

    def bound(at: int, name: str, otherwise: float) -> float:
        return node.scalar(at, name) if node.has(at) else node.attributes.get(name, otherwise)

    low, high = bound(1, "min", -np.inf), bound(2, "max", np.inf)
    return lambda x: x.clamp(low, high)


@operator("PRelu")
def prelu(node: Node) -> Compute:
    """x, or a stored slope times x below zero."""
    slope = tensor(node.constant(1, "slope"))
    return lambda x: torch.where(x >= 0, x, x * slope.to(x.device))


@operator("Softmax")
def softmax(node: Node) -> Compute:
    """Exponentials over their sum along an axis; before opset 13 over all axes from it on."""
    axis = node.attributes.get("axis", -1 if node.opset >= 13 else 1)
    if node.opset >= 13:
        return as_the_runtime(node, lambda x: torch.softmax(x, axis))
    return as_the_runtime(node, lambda x: torch.softmax(x.flatten(axis), -1).view_as(x))


@operator("LogSoftmax")
def log_softmax(node: Node) -> Compute:
    """Logarithm of Softmax along an axis."""
    axis = node.attributes.get("axis", -1)
    return as_the_runtime(node, lambda x: torch.log_softmax(x, axis))


@operator("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd")
def reduce(node: Node) -> Compute:
    """Mean, sum or maximum over axes, given as an attribute or as a stored input; over all where none is given."""
    stored = node.optional(1)
    axes = node.attributes.get("axes") if stored is None else stored.reshape(-1).tolist()
    if 1 in node.computed:
        raise node.refused("its axes are computed, not stored")
    keep = bool(node.attributes.get("keepdims", 1))
    reduction = _REDUCTIONS[node.operator]
    if not axes and node.attributes.get("noop_with_empty_axes"):
        return lambda x: x
    return as_the_runtime(node, lambda x: reduction(x, tuple(axes or range(x.dim())), keepdim=keep))


_REDUCTIONS: dict[str, Callable[..., Tensor]] = {
    "ReduceMean": torch.mean,
    "ReduceSum": torch.sum,
    "ReduceMax": torch.amax,
    "ReduceMin": torch.amin,
    "ReduceL1": lambda x, axes, keepdim: x.abs().sum(axes, keepdim=keepdim),
    "ReduceL2": lambda x, axes, keepdim: (x * x).sum(axes, keepdim=keepdim).sqrt(),
    "ReduceSumSquare": lambda x, axes, keepdim: (x * x).sum(axes, keepdim=keepdim),
    "ReduceProd": lambda x, axes, keepdim: _product(x, axes, keepdim),
}


def _product(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = x.prod(axis, keepdim=keepdim)
    return x


@operator("Cast")
def cast(node: Node) -> Compute:
    """Another element type; towards zero where floats become integers."""
    kind = node.attributes["to"]
    if kind not in _CASTS:
        raise node.refused(f"it casts to ONNX's type {kind}; float, double, int32, int64 or bool needed")
    return lambda x: x.to(_CASTS[kind])


_CASTS = {1: torch.float32, 11: torch.float64, 6: torch.int32, 7: torch.int64, 9: torch.bool}
"""ONNX's numbers of element types."""
