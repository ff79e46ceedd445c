"""What a network costs and sees: parameters, multiply-accumulates, receptive field, stride."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Cost:
    """Figures of one network on one window.

    Attributes:
        parameters: trainable scalars.
        macs: multiply-accumulates of convolutions and linear layers.
        receptive_field: input samples that one feature before the global pool sees; None without such a pool.
        stride: input samples between neighbouring features; None likewise.
        features: positions that are pooled; None likewise.
    """

    parameters: int
    macs: int
    receptive_field: int | None
    stride: int | None
    features: int | None


def cost(model: nn.Module, *, window: int = 9000) -> Cost:
    """Measure a network from ecg [B, 1, window] to logits; its mode and weights are left as they were."""
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            macs = _macs(model, window)
            field = _receptive_field(model, window)
    finally:
        model.train(training)
    return Cost(parameters, macs, *field)


def _macs(model: nn.Module, window: int) -> int:
    total = 0

    def count(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal total
        weight = layer.weight
        assert isinstance(weight, Tensor)
        # A weight works once at every place of the output, of a linear layer over time too.
        total += weight.numel() * (output.numel() // weight.shape[0])

    handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, nn.Conv1d | nn.Linear)]
    try:
        model(torch.zeros(1, 1, window))
    finally:
        for handle in handles:
            handle.remove()
    return total


def _receptive_field(model: nn.Module, window: int) -> tuple[int | None, int | None, int | None]:
    """Found by tainting: a feature is not a number exactly where it has seen a sample that is not one."""
    pools = [m for m in model.modules() if isinstance(m, nn.AdaptiveAvgPool1d)]
    if len(pools) != 1:
        return None, None, None
    seen: list[Tensor] = []
    handle = pools[0].register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    try:

        def tainted(first: int, stop: int) -> Tensor:
            ecg = torch.zeros(1, 1, window)
            ecg[..., first:stop] = torch.nan
            seen.clear()
            model(ecg)
            return seen[0].isnan().any(dim=1)[0]

        features = tainted(0, 0).shape[0]
        middle = features // 2
        first = _smallest(lambda p: bool(tainted(0, p + 1)[middle]), window)
        last = window - 1 - _smallest(lambda p: bool(tainted(window - 1 - p, window)[middle]), window)
        following = _smallest(lambda p: bool(tainted(0, p + 1)[middle + 1]), window) if middle + 1 < features else None
    finally:
        handle.remove()
    return last - first + 1, None if following is None else following - first, features


def _smallest(holds: Callable[[int], bool], bound: int) -> int:
    """Smallest p in [0, bound) for which the monotone predicate holds."""
    low, high = 0, bound - 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle + 1, high)
    return low
