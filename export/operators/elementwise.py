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


@operator("ReduceMean", "ReduceSum", "ReduceMax")
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
}


@operator("Cast")
def cast(node: Node) -> Compute:
    """Another element type; towards zero where floats become integers."""
    kind = node.attributes["to"]
    if kind not in _CASTS:
        raise node.refused(f"it casts to ONNX's type {kind}; float, double, int32 or int64 needed")
    return lambda x: x.to(_CASTS[kind])


_CASTS = {1: torch.float32, 11: torch.float64, 6: torch.int32, 7: torch.int64}
"""ONNX's numbers of element types."""
