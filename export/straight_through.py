"""Rounding and saturation with gradients that an attack can use: straight-through estimators.

Rounding has the derivative zero almost everywhere, so that the true gradient of an int8 network says nothing. A
straight-through estimator takes rounding for the identity on the way back (Bengio et al. 2013, arXiv 1308.3432). The
arithmetic is exact and does not depend on the estimator.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from edgeguard.errors import unknown

ESTIMATORS = ("clipped", "pure", "none")
"""What passes back: `clipped`, the gradient where the quantiser does not saturate; `pure`, the gradient everywhere but
below a ReLU, which a quantiser from zero up stands for; `none`, the true gradient, which is zero."""


def check_estimator(name: str) -> str:
    """The name itself.

    Raises InputError for an unknown one.
    """
    if name not in ESTIMATORS:
        raise unknown("gradient", name, ESTIMATORS)
    return name


def quantized(value: Tensor, low: float, high: float, zero_point: float, estimator: str) -> Tensor:
    """`rint(clamp(value, low, high)) + zero_point`, ties to even, as ONNX Runtime quantises.

    Args:
        value: in units of the code's step.
        low, high: bounds before the zero point is added.
        estimator: one of ESTIMATORS.
    """
    result: Tensor = _Quantized.apply(value, low, high, zero_point, estimator)
    return result


def rounded(value: Tensor, estimator: str) -> Tensor:
    """`rint(value)`, ties to even."""
    return quantized(value, -torch.inf, torch.inf, 0.0, estimator)


def replaced(smooth: Tensor, exact: Tensor, estimator: str) -> Tensor:
    """The value of `exact` with the gradient of `smooth`; zero for `none`."""
    result: Tensor = _Replaced.apply(smooth, exact, estimator == "none")
    return result


class _Quantized(Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, low: float, high: float, zero_point: float, estimator: str) -> Tensor:
        ctx.bounds = {"clipped": (low, high), "pure": (0.0, torch.inf) if low == 0 else None, "none": None}[estimator]
        ctx.vanishes = estimator == "none"
        ctx.save_for_backward(value if ctx.bounds else None)
        codes = value.clamp(low, high).round_()
        return codes.add_(zero_point) if zero_point else codes

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (value,) = ctx.saved_tensors
        (gradient,) = gradients
        if ctx.vanishes:
            gradient = torch.zeros_like(gradient)
        elif ctx.bounds:
            # The gradient within the bounds, zero on and beyond them, in one pass over memory.
            gradient = torch.ops.aten.hardtanh_backward(gradient, value, *ctx.bounds)
        return gradient, None, None, None, None


class _Replaced(Function):
    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor, vanishes: bool) -> Tensor:
        ctx.vanishes = vanishes
        return exact.view_as(exact)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (gradient,) = gradients
        return torch.zeros_like(gradient) if ctx.vanishes else gradient, None, None
