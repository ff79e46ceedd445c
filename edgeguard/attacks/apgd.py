"""Auto-PGD: signed gradient steps with momentum that choose their own size (Croce & Hein 2020, arXiv 2003.01690)."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import Forward, Shape, crafting, loss_and_gradient
from edgeguard.attacks.losses import Loss, cross_entropy
from edgeguard.attacks.smoothing import smooth, taps_like

MOMENTUM = 0.75
"""Share of the new step in a move; the rest is the move before it (alpha of the paper's eq. 5)."""
_RISING = 0.75
"""Share of the steps since the last checkpoint that have to raise the loss, else the step is halved (rho)."""
_FIRST, _SHRINK, _LEAST = 0.22, 0.03, 0.06
"""Lengths of the periods between checkpoints, as shares of the steps: the first, how they shrink, the shortest."""


def apgd(
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    eps: float = 10.0,
    steps: int = 40,
    loss: Loss = cross_entropy,
    kernels: str | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """Adversarial ecg [B, 1, T] within eps microvolts of `ecg`: each record's iterate of highest loss.

    The first step is 2 eps. At the checkpoints a record's step is halved, and the record goes back to its best iterate,
    where too few steps raised the loss or nothing better was found at an unchanged step (algorithm 1). A record's
    result does not depend on its company.

    Args:
        model: any network from [B, 1, T] microvolts to logits [B, C]; its mode, buffers and gradients stay untouched.
        ecg: float32 [B, 1, T], microvolts.
        labels: int64 [B].
        mask: bool [B, 1, T], False on padding; the perturbation is zero there in every step.
        eps: largest perturbation, microvolts.
        steps: number of gradients.
        loss: what the attack maximises.
        kernels: search SAP's space with this smoothing: the steps are taken before the smoothing, as in `sap`.
            None: every perturbation within eps.
        start: perturbation to start from [B, 1, T], microvolts, before smoothing; zero by default.
    """
    taps = None if kernels is None else taps_like(ecg, kernels)

    def shape(delta: Tensor) -> Tensor:
        return delta * mask if taps is None else smooth(delta * mask, taps) * mask

    with crafting(model, ecg.device.type) as forward:
        delta = torch.zeros_like(ecg) if start is None else start.clamp(-eps, eps)
        best = _climb(forward, ecg, labels, delta, shape, eps, steps, loss)
    return (ecg + shape(best)).detach()


def checkpoints(steps: int) -> list[int]:
    """Steps after which the step size is judged, rising, below `steps` (the paper's section 4.1)."""
    shares = [0.0, _FIRST]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - _SHRINK, _LEAST))
    found = dict.fromkeys(math.ceil(round(share * steps, 6)) for share in shares[1:])
    return [step for step in found if step < steps]


def _climb(
    forward: Forward, ecg: Tensor, labels: Tensor, delta: Tensor, shape: Shape, eps: float, steps: int, loss: Loss
) -> Tensor:
    """Each record's perturbation of highest loss, before `shape`, of the `steps` whose gradient was taken and the last.

    `shape` is linear and its own adjoint.
    """
    if steps == 0:
        return delta
    periods = dict(zip((marks := checkpoints(steps)), (b - a for a, b in pairwise([0, *marks])), strict=True))
    size = ecg.new_full((len(ecg), 1, 1), 2 * eps)
    value, gradient = loss_and_gradient(forward, ecg + shape(delta), labels, loss)
    best, slope, highest = delta, gradient, value
    before = delta
    rises = torch.zeros_like(value)
    highest_then, halved = value, torch.ones_like(value, dtype=torch.bool)
    for step in range(1, steps + 1):
        ahead = (delta + size * shape(gradient).sign()).clamp(-eps, eps)
        if step > 1:
            ahead = (delta + MOMENTUM * (ahead - delta) + (1 - MOMENTUM) * (delta - before)).clamp(-eps, eps)
        before, delta = delta, ahead
        if step == steps:
            with torch.no_grad():
                last = loss(forward(ecg + shape(delta)), labels)
            return torch.where(_rows(last > highest), delta, best)
        new, gradient = loss_and_gradient(forward, ecg + shape(delta), labels, loss)
        rises += new > value
        value, better = new, new > highest
        best = torch.where(_rows(better), delta, best)
        slope = torch.where(_rows(better), gradient, slope)
        highest = torch.where(better, value, highest)
        if step in periods:
            stuck = ~halved & (highest <= highest_then)
            halved = (rises < _RISING * periods[step]) | stuck
            size = torch.where(_rows(halved), size / 2, size)
            delta = torch.where(_rows(halved), best, delta)
            gradient = torch.where(_rows(halved), slope, gradient)
            value = torch.where(halved, highest, value)
            highest_then, rises = highest, torch.zeros_like(rises)
    return best


def _rows(chosen: Tensor) -> Tensor:
    """bool [B, 1, 1] of bool [B]."""
    return chosen[:, None, None]
