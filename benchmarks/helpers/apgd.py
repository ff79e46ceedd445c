"""Auto-PGD (Croce & Hein 2020, arXiv 2003.01690, algorithm 1), to judge the package's own attacks by.

Written from the paper and apart from `edgeguard.attacks`, so that a mistake there is not repeated here; only SAP's
smoothing is taken from the package.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.smoothing import smooth, taps_like

STEPS = 100
_MOMENTUM, _RAISED_SHARE = 0.75, 0.75
_FIRST_CHECK, _EARLIER_BY, _LEAST_GAP = 0.22, 0.03, 0.06
"""When the step may be halved, as shares of all steps (section 3.1 of the paper)."""

Loss = Callable[[Tensor, Tensor], Tensor]


def fooled_by_apgd(
    model: nn.Module, ecg: Tensor, labels: Tensor, mask: Tensor, *, eps: float, smoothed: bool
) -> Tensor:
    """bool [B]: records that some iterate turns: cross-entropy, then targeted DLR on the three likeliest wrong classes.

    Args:
        ecg: float32 [B, 1, T], microvolts; `mask` is False on padding.
        smoothed: search among perturbations after SAP's smoothing instead of all.
    """
    with torch.no_grad():
        order = model(ecg).argsort(1, descending=True)
    wrong = order[order != labels[:, None]].reshape(len(ecg), -1)[:, :3]
    losses: list[Loss] = [lambda z, y: F.cross_entropy(z, y, reduction="none")]
    losses += [lambda z, y, target=target: _targeted_dlr(z, y, target) for target in wrong.T]
    found = torch.zeros(len(ecg), dtype=torch.bool)
    for loss in losses:
        found |= _apgd(model, ecg, labels, mask, eps, loss, smoothed)
    return found


def is_fooled(logits: Tensor, labels: Tensor) -> Tensor:
    """bool [B]: a wrong logit is as large as the right one."""
    right = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return (others >= right).any(1)


def _targeted_dlr(logits: Tensor, labels: Tensor, target: Tensor) -> Tensor:
    """Equation 7 of the paper; of four classes."""
    top = logits.sort(1, descending=True).values
    right, wanted = (logits.gather(1, one[:, None])[:, 0] for one in (labels, target))
    return (wanted - right) / (top[:, 0] - (top[:, 2] + top[:, 3]) / 2).clamp_min(1e-9)


def _apgd(
    model: nn.Module, ecg: Tensor, labels: Tensor, mask: Tensor, eps: float, loss: Loss, smoothed: bool
) -> Tensor:
    taps = taps_like(ecg, "nest25")

    def shaped(delta: Tensor) -> Tensor:
        return smooth(delta * mask, taps) * mask if smoothed else delta * mask

    def climb(delta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        delta = delta.detach().requires_grad_(True)
        logits = model(ecg + shaped(delta))
        value = loss(logits, labels)
        (gradient,) = torch.autograd.grad(value.sum(), delta)
        return value.detach(), gradient, is_fooled(logits.detach(), labels)

    noise = torch.rand(ecg.shape, generator=torch.Generator().manual_seed(0))
    delta = before = (2 * noise - 1) * eps
    value, gradient, fooled = climb(delta)
    best, best_delta, best_gradient = value, delta, gradient
    step = torch.full((len(ecg), 1, 1), 2 * eps)
    raised, best_at_check = torch.zeros(len(ecg)), best
    halved = torch.ones(len(ecg), dtype=torch.bool)
    gap, since = int(_FIRST_CHECK * STEPS), 0
    for number in range(STEPS):
        ahead = (delta + step * gradient.sign()).clamp(-eps, eps)
        share = _MOMENTUM if number else 1.0
        moved = (delta + share * (ahead - delta) + (1 - share) * (delta - before)).clamp(-eps, eps)
        before, delta, last = delta, moved, value
        value, gradient, now = climb(delta)
        fooled |= now
        raised += (value > last).float()
        better = (value > best)[:, None, None]
        best = torch.maximum(best, value)
        best_delta, best_gradient = torch.where(better, delta, best_delta), torch.where(better, gradient, best_gradient)
        since += 1
        if since == gap:
            halved = (raised <= _RAISED_SHARE * gap) | (~halved & (best_at_check >= best))
            back = halved[:, None, None]
            step = torch.where(back, step / 2, step)
            delta, gradient = torch.where(back, best_delta, delta), torch.where(back, best_gradient, gradient)
            best_at_check, since = best, 0
            raised.zero_()
            gap = max(gap - int(_EARLIER_BY * STEPS), int(_LEAST_GAP * STEPS))
    return fooled
