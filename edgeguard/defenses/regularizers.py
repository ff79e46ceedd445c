"""What Jacobian (JR) and noise-to-signal (NSR) regularisation add to a training loss.

Both come from Ma & Liang (2020, 2022; repositories SarielMa/ICMLA2020_12-lead-ECG and SarielMa/Robust_DNN_for_ECG).
JR is CE + lambda R with R the `jacobian_norm`; NSR is L1 + beta (L2 + L3), that is `logit_mse`, `within_margin` and
`noise_to_signal`.

A Jacobian is taken by the ecg and stays differentiable by the parameters. It belongs to the network that is deployed:
BatchNorm with its running statistics, no dropout. The published code takes it in train mode, where batch statistics
couple the records, so that the gradient of a sum of logits is no longer each record's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.gradient import eval_mode
from edgeguard.defenses.distributed import mean, summed

_UNDER_ROOT = 1e-12
"""Keeps the slope of the root finite where the whole Jacobian is zero."""

_OVER_SIGNAL = 0.01
"""Keeps a noise-to-signal ratio finite; the published constant, in logits."""


def jacobian_norm(model: nn.Module, ecg: Tensor, mask: Tensor, *, scale_uv: float = 1.0) -> Tensor:
    """R = sqrt(sum_n sum_c ||d z_nc / d u_n||^2 + 1e-12) / (B C), a scalar, with u = ecg / scale_uv.

    The Frobenius norm of the whole batch's Jacobian: one root, then divided by records and classes (Ma & Liang 2020,
    `dZdX_jacob` with norm=2). Costs a forward and, a class, a backward and a double backward.

    Args:
        model: from [B, 1, T] microvolts to logits [B, C]; its mode and buffers stay untouched.
        ecg: float32 [B, 1, T], microvolts.
        mask: bool [B, 1, T], False on padding, which the Jacobian leaves out.
        scale_uv: microvolts that count as 1. 1 is the published loss on raw counts; lambda = 44 was tuned on inputs
            within [-1, 1], which 1000 (per millivolt) comes near to.
    """
    with _deployed(model, ecg):
        ecg = ecg.detach().requires_grad_(True)
        logits = model(ecg)
        total = torch.zeros((), dtype=logits.dtype, device=logits.device)
        # A class at a time: faster than one backward over C copies of the batch, and than vmap over the classes.
        for logit in logits.unbind(1):
            (gradient,) = torch.autograd.grad(logit.sum(), ecg, create_graph=True)
            total = total + (scale_uv * gradient * mask).square().sum()
        return (summed(total) + _UNDER_ROOT).sqrt() / summed(logits.new_tensor(logits.numel()))


def logit_mse(logits: Tensor, labels: Tensor) -> Tensor:
    """L1 of NSR, a scalar: (1/B) sum_n sum_c (z_nc - [c = y_n])^2.

    Args:
        logits: [B, C], of the training forward.
        labels: int64 [B].
    """
    logits = _at_least_float32(logits)
    return mean((logits - F.one_hot(labels, logits.shape[1])).square().sum(1))


def within_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """L2 of NSR, a scalar: mean of h_nj = 1 - z_ny + z_nj where 0 < h < 2, over correct records n and classes j != y.

    Zero where no term is active. h < 2 needs no check: a correct record has z_y >= z_j, so h <= 1.

    Args:
        logits: [B, C], of the training forward.
        labels: int64 [B].
    """
    logits = _at_least_float32(logits)
    right = logits.gather(1, labels[:, None])
    short = 1 - right + logits
    wrong = F.one_hot(labels, logits.shape[1]) == 0
    active = wrong & (logits.argmax(1) == labels)[:, None] & (short > 0)
    return summed(short.where(active, 0).sum()) / summed(active.sum()).clamp(min=1)


def noise_to_signal(model: nn.Module, ecg: Tensor, labels: Tensor, mask: Tensor, *, eps_max: float) -> Tensor:
    """L3 of NSR, a scalar: (1/|S|) sum log(1 + eps_max ||d z_y / d ecg||_1 / (z_y + 0.01)) over n in S with z_y > 0.

    S are the correct records. To first order, noise within eps_max moves z_y by at most eps_max times that norm. The
    signal z_y is not detached. Zero, with zero gradients, where no record counts.

    The published code repeats a train-mode forward on S alone. Here one eval forward of the batch gives S, signal and
    gradient, so that a record's term depends on no other record.

    Args:
        model: from [B, 1, T] microvolts to logits [B, C]; its mode and buffers stay untouched.
        ecg: float32 [B, 1, T], microvolts.
        labels: int64 [B].
        mask: bool [B, 1, T], False on padding, which the norm leaves out.
        eps_max: largest noise, microvolts; 1 is the published figure, for inputs within [-1, 1].
    """
    with _deployed(model, ecg):
        ecg = ecg.detach().requires_grad_(True)
        logits = model(ecg)
        signal = logits.gather(1, labels[:, None])[:, 0]
        correct = logits.argmax(1) == labels
        counts = correct & (signal > 0)
        (gradient,) = torch.autograd.grad(signal.sum(), ecg, create_graph=True)
        noise = eps_max * (gradient * mask).abs().sum((1, 2))
        # Masked before the logarithm: a ratio below -1 would be NaN, and its gradient too, even where it is dropped.
        ratio = noise.where(counts, 0) / (signal.where(counts, 1) + _OVER_SIGNAL)
        return summed(torch.log1p(ratio).sum()) / summed(correct.sum()).clamp(min=1)


@contextmanager
def _deployed(model: nn.Module, ecg: Tensor) -> Iterator[None]:
    """Eval mode and no autocast. Parameters keep their gradients."""
    with eval_mode(model), torch.autocast(ecg.device.type, enabled=False):
        yield


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
