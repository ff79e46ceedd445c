"""The cheapest attack to train on: noise, then one gradient step, smooth or raw record by record."""

import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import crafting, loss_and_gradient, uniform_start
from edgeguard.attacks.losses import Loss, cross_entropy
from edgeguard.attacks.smoothing import smooth, taps_like


def single_step(
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    eps: float | Tensor,
    smooth_rows: Tensor,
    generator: torch.Generator,
    noise: float = 2.0,
    kernels: str = "nest25",
    loss: Loss = cross_entropy,
    low_precision: bool = False,
) -> Tensor:
    """Adversarial ecg [B, 1, T] within (1 + noise) eps microvolts of `ecg` in every sample.

    N-FGSM (de Jorge et al. 2022, arXiv 2202.01181, algorithm 1): a signed step of eps from a random start, neither
    clipped. Rows in `smooth_rows` take both before SAP's smoothing, so that start and step reach the network smooth.

    Args:
        model: any network from [B, 1, T] microvolts to logits [B, C]; its mode, buffers and gradients stay untouched.
        ecg: float32 [B, 1, T], microvolts.
        labels: int64 [B], or soft labels float32 [B, C].
        mask: bool [B, 1, T], False on padding; the perturbation is zero there.
        eps: the step, microvolts; [B, 1, 1] where every record has its own.
        smooth_rows: bool [B], which records are perturbed smoothly.
        generator: of the random start; the draws of a batch are those of its records one by one.
        noise: largest random start, in multiples of eps.
        kernels: as in `sap`.
        loss: what the attack maximises.
        low_precision: let the network follow an ambient autocast.
    """
    taps = taps_like(ecg, kernels)
    smoothly = smooth_rows[:, None, None]

    def shaped(delta: Tensor) -> Tensor:
        raw = delta * mask
        return torch.where(smoothly, smooth(raw, taps) * mask, raw)

    with crafting(model, ecg.device.type, low_precision=low_precision) as forward:
        delta = uniform_start(ecg, noise * eps, generator)
        _, gradient = loss_and_gradient(forward, ecg + shaped(delta), labels, loss)
        return (ecg + shaped(delta + eps * shaped(gradient).sign())).detach()
