"""White-box attacks: projected gradient descent and smooth adversarial perturbations, on any torch network.

Both are one loop; SAP differs only in the shape that a perturbation takes before it is added. The arithmetic is in
float32 whatever autocast says; with `low_precision` the network alone, never its loss, follows an ambient autocast.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from edgeguard.attacks.losses import Loss, cross_entropy
from edgeguard.attacks.smoothing import smooth, taps_like
from edgeguard.models.edge import EdgeNet

Shape = Callable[[Tensor], Tensor]
Forward = Callable[[Tensor], Tensor]
"""ecg [B, 1, T] in microvolts to logits [B, C]."""

SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}
"""The step as a share of alpha, by the share of the steps that are done."""


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode; every module's own mode is put back afterwards."""
    training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in training.items():
            module.training = mode


@contextmanager
def crafting(model: nn.Module, device_type: str = "cpu", *, low_precision: bool = False) -> Iterator[Forward]:
    """Eval mode, parameters without gradients, autocast off; all put back afterwards. Yields the network to attack.

    BatchNorm then uses its running statistics and leaves them alone, and dropout does not blur the gradient.

    Args:
        device_type: of the ecg, whose autocast is meant.
        low_precision: let the network, and nothing else, follow the autocast that holds outside.
    """
    trainable = [p for p in model.parameters() if p.requires_grad]
    reduced = low_precision and torch.is_autocast_enabled(device_type)
    dtype = torch.get_autocast_dtype(device_type)

    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        with eval_mode(model), torch.autocast(device_type, enabled=False):
            # Elsewhere the plain network is as fast: what folding gains is the processor's memory layout.
            network = model.folded() if isinstance(model, EdgeNet) and device_type == "cpu" else model

            def forward(ecg: Tensor) -> Tensor:
                with torch.autocast(device_type, dtype=dtype, enabled=reduced):
                    logits: Tensor = network(ecg)
                return logits.to(torch.promote_types(logits.dtype, torch.float32))

            yield forward
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def pgd(
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    eps: float | Tensor = 10.0,
    alpha: float | Tensor = 1.0,
    steps: int = 20,
    loss: Loss = cross_entropy,
    start: Tensor | None = None,
    best: bool = False,
    schedule: str = "constant",
    low_precision: bool = False,
) -> Tensor:
    """Adversarial ecg [B, 1, T] within eps microvolts of `ecg` in every sample.

    Signed gradient steps, clipped around the original (Madry et al. 2018; the ADT paper's eq. 7 with the clip where
    Han et al.'s code has it). Untargeted; all records are attacked, also misclassified ones.

    Args:
        model: any network from [B, 1, T] microvolts to logits [B, C]; its mode, buffers and gradients stay untouched.
        ecg: float32 [B, 1, T], microvolts.
        labels: int64 [B], or soft labels float32 [B, C].
        mask: bool [B, 1, T], False on padding; the perturbation is zero there in every step.
        eps: largest perturbation, microvolts; [B, 1, 1] where every record has its own.
        alpha: step, microvolts; [B, 1, 1] likewise.
        steps: number of gradient steps.
        loss: what the attack maximises.
        start: perturbation to start from [B, 1, T], microvolts; zero by default.
        best: return each record's iterate of highest loss instead of the last one.
        schedule: one of SCHEDULES: how the step shrinks from alpha on.
        low_precision: let the network follow an ambient autocast.
    """
    options: dict[str, Any] = dict(eps=eps, alpha=alpha, steps=steps, loss=loss, start=start, best=best)
    options["schedule"] = schedule
    _, found = pgd_path(model, ecg, labels, mask, **options, low_precision=low_precision)
    return (ecg + found * mask).detach()


def pgd_path(
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    eps: float | Tensor,
    alpha: float | Tensor,
    steps: int,
    loss: Loss,
    start: Tensor | None,
    best: bool,
    schedule: str = "constant",
    low_precision: bool = False,
) -> tuple[Tensor, Tensor]:
    """Where `pgd` ends and what it returns, as perturbations [B, 1, T]; the same without `best`.

    SAP begins with PGD: `sap(start=end, steps=0)` goes on from there, so that both cost the steps only once.
    """
    with crafting(model, ecg.device.type, low_precision=low_precision) as forward:
        delta = _start(ecg, start, eps)
        sizes = _sizes(alpha, steps, schedule)
        return _ascend(forward, ecg, labels, delta, lambda d: d * mask, eps, sizes, loss, best)


def sap(
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    eps: float | Tensor = 10.0,
    alpha: float | Tensor = 1.0,
    steps: int = 20,
    smooth_steps: int = 40,
    kernels: str = "nest25",
    mask_at: str = "loop",
    loss: Loss = cross_entropy,
    start: Tensor | None = None,
    best: bool = False,
    schedule: str = "constant",
    low_precision: bool = False,
) -> Tensor:
    """Smooth adversarial ecg [B, 1, T]: PGD, then signed steps on the perturbation before its smoothing.

    Han et al. 2020; the ADT paper's eq. 8 to 11, with the clip around zero as in Han's code. `smooth_steps` = 0 is
    PGD, bit for bit. The smoothed perturbation stays within eps because the filter is positive and sums to one.

    Args:
        steps: PGD steps before smoothing (t).
        smooth_steps: steps on the smoothed perturbation (t').
        kernels: `nest25` (25 Gaussian kernels, Han's code) or `zip5` (the five of eq. 8).
        mask_at: `loop` masks padding inside every step; `end` only in the result, as Han's code does.
        Others as in `pgd`.
    """
    inside = mask if mask_at == "loop" else torch.ones_like(mask)
    taps = taps_like(ecg, kernels)

    def smoothed(delta: Tensor) -> Tensor:
        return smooth(delta * inside, taps) * inside

    with crafting(model, ecg.device.type, low_precision=low_precision) as forward:
        delta = _start(ecg, start, eps)
        last = best and smooth_steps == 0
        sizes = _sizes(alpha, steps, schedule)
        _, delta = _ascend(forward, ecg, labels, delta, lambda d: d * inside, eps, sizes, loss, last)
        if smooth_steps == 0:
            return (ecg + delta * mask).detach()
        sizes = _sizes(alpha, smooth_steps, schedule)
        _, delta = _ascend(forward, ecg, labels, delta, smoothed, eps, sizes, loss, best)
        return (ecg + smoothed(delta) * mask).detach()


def with_restarts(
    attack: Callable[..., Tensor],
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    restarts: int,
    eps: float,
    generator: torch.Generator,
    loss: Loss = cross_entropy,
    **options: Any,
) -> Tensor:
    """The strongest of several runs of `pgd` or `sap`, record by record [B, 1, T].

    The first run starts at zero, each of the `restarts` others at a uniform perturbation; the result of highest
    loss is kept.

    Args:
        attack: `pgd` or `sap`; `options` go to it.
        generator: of the random starts.
    """
    strongest = attack(model, ecg, labels, mask, eps=eps, loss=loss, **options)
    highest = _losses(model, strongest, labels, loss)
    for _ in range(restarts):
        start = uniform_start(ecg, eps, generator)
        found = attack(model, ecg, labels, mask, eps=eps, loss=loss, start=start, **options)
        value = _losses(model, found, labels, loss)
        better = value > highest
        highest = torch.where(better, value, highest)
        strongest = torch.where(better[:, None, None], found, strongest)
    return strongest


def uniform_start(ecg: Tensor, eps: float | Tensor, generator: torch.Generator) -> Tensor:
    """A random perturbation [B, 1, T], uniform in [-eps, eps] microvolts, drawn on the generator's device."""
    noise = torch.rand(ecg.shape, generator=generator, dtype=ecg.dtype, device=generator.device) * 2 - 1
    return (noise * eps).to(ecg.device)


def loss_and_gradient(forward: Forward, ecg: Tensor, labels: Tensor, loss: Loss) -> tuple[Tensor, Tensor]:
    """Loss of each record [B] and its gradient by the ecg [B, 1, T]."""
    with torch.enable_grad():
        ecg = ecg.detach().requires_grad_(True)
        value = loss(forward(ecg), labels)
        (gradient,) = torch.autograd.grad(value.sum(), ecg)
    return value.detach(), gradient


@torch.no_grad()
def _losses(model: nn.Module, ecg: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    with crafting(model, ecg.device.type) as forward:
        return loss(forward(ecg), labels)


def _start(ecg: Tensor, start: Tensor | None, eps: float | Tensor) -> Tensor:
    return torch.zeros_like(ecg) if start is None else _clipped(start, eps)


def _clipped(delta: Tensor, eps: Any) -> Tensor:
    """Within eps, a number or [B, 1, 1]: torch's clamp takes either, its types tell them apart."""
    clipped: Tensor = delta.clamp(-eps, eps)
    return clipped


def _sizes(alpha: float | Tensor, steps: int, schedule: str) -> list[float | Tensor]:
    """The size of every step, microvolts."""
    share = SCHEDULES[schedule]
    return [alpha * share(step / steps) for step in range(steps)]


def _ascend(
    forward: Forward,
    ecg: Tensor,
    labels: Tensor,
    delta: Tensor,
    shape: Shape,
    eps: float | Tensor,
    sizes: Sequence[float | Tensor],
    loss: Loss,
    best: bool,
) -> tuple[Tensor, Tensor]:
    """The perturbations, before `shape`, after signed steps of the sizes and of highest loss; equal without `best`.

    `shape` is linear and its own adjoint.
    """
    highest = torch.full((len(ecg),), -torch.inf, dtype=ecg.dtype, device=ecg.device)
    kept = delta
    for size in sizes:
        value, gradient = loss_and_gradient(forward, ecg + shape(delta), labels, loss)
        kept, highest = _higher(kept, highest, delta, value)
        delta = _clipped(delta + size * shape(gradient).sign(), eps)
    if not best:
        return delta, delta
    with torch.no_grad():
        value = loss(forward(ecg + shape(delta)), labels)
    kept, _ = _higher(kept, highest, delta, value)
    return delta, kept


def _higher(kept: Tensor, highest: Tensor, delta: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Each record's perturbation of the higher loss, and that loss."""
    better = value > highest
    return torch.where(better[:, None, None], delta, kept), torch.where(better, value, highest)
