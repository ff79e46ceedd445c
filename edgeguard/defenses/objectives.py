"""What one training step minimises, for every kind of defence."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.gradient import eval_mode
from edgeguard.attacks.losses import cross_entropy
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.crafting import craft
from edgeguard.defenses.distributed import mean
from edgeguard.defenses.precision import computing_in
from edgeguard.defenses.regularizers import jacobian_norm, logit_mse, noise_to_signal, within_margin

JACOBIAN_SCALE_UV = {"published": 1.0, "corrected": 1000.0}
"""Microvolts that the Jacobian of `jr` takes as its unit."""


@dataclass(frozen=True)
class Batch:
    """Records of one step.

    Attributes:
        ecg: float32 [B, 1, T], microvolts.
        mask: bool [B, 1, T], False on padding.
        target: what is learnt: labels int64 [B], or probabilities float32 [B, C].
        share: [B, 1, 1], the part of eps that a record is attacked with; None: all of it.
    """

    ecg: Tensor
    mask: Tensor
    target: Tensor
    share: Tensor | None = None


Objective = Callable[[TrainConfig, nn.Module, Batch, bool, torch.Generator], Tensor]
"""(settings, network, batch, whether the regulariser is on, draws) to the loss, a scalar."""


def mixed_cross_entropy(
    config: TrainConfig, model: nn.Module, batch: Batch, regularized: bool, draws: torch.Generator
) -> Tensor:
    """c times the adversarial half's cross-entropy and 1 - c times the clean half's, at T (ADT paper, eq. 6)."""
    loss_of = partial(cross_entropy, temperature=config.temperature)
    if not config.crafts:
        return mean(loss_of(_logits(config, model, batch.ecg), batch.target))
    first, second = (batch, batch) if config.halves == "same" else _halves(batch)
    attacked = craft(config, model, second.ecg, second.target, second.mask, draws, second.share)
    clean, adversarial = _both(config, model, first.ecg, attacked)
    return (1 - config.mix) * mean(loss_of(clean, first.target)) + config.mix * mean(
        loss_of(adversarial, second.target)
    )


def jacobian(config: TrainConfig, model: nn.Module, batch: Batch, regularized: bool, draws: torch.Generator) -> Tensor:
    """Cross-entropy and the Frobenius norm of the Jacobian (Ma & Liang 2020, the public code's form)."""
    loss = mixed_cross_entropy(config, model, batch, regularized, draws)
    if not regularized:
        return loss
    scale = JACOBIAN_SCALE_UV[config.units]
    return loss + config.jacobian_weight * jacobian_norm(model, batch.ecg, batch.mask, scale_uv=scale)


def nsr(config: TrainConfig, model: nn.Module, batch: Batch, regularized: bool, draws: torch.Generator) -> Tensor:
    """Squared error of the logits, margin, and noise-to-signal ratio (Ma & Liang 2020, the public code's form)."""
    logits = _logits(config, model, batch.ecg)
    loss = logit_mse(logits, batch.target)
    if not regularized:
        return loss
    ratio = noise_to_signal(model, batch.ecg, batch.target, batch.mask, eps_max=config.nsr_eps)
    return loss + within_margin(logits, batch.target) + config.nsr_weight * ratio


def trades(config: TrainConfig, model: nn.Module, batch: Batch, regularized: bool, draws: torch.Generator) -> Tensor:
    """Cross-entropy on clean records and beta times the divergence of the attacked ones from them.

    Zhang et al. 2019, eq. 5; the attack ascends that divergence too.
    """
    with torch.no_grad(), eval_mode(model):
        reference = F.softmax(_logits(config, model, batch.ecg) / config.temperature, 1)
    attacked = craft(config, model, batch.ecg, reference, batch.mask, draws, batch.share)
    clean, adversarial = (z / config.temperature for z in _both(config, model, batch.ecg, attacked))
    divergence = F.kl_div(F.log_softmax(adversarial, 1), F.log_softmax(clean, 1), log_target=True, reduction="none")
    return mean(cross_entropy(clean, batch.target)) + config.trades_beta * mean(divergence.sum(1))


OBJECTIVES: dict[str, Objective] = {
    "cross-entropy": mixed_cross_entropy,
    "jacobian": jacobian,
    "noise-to-signal": nsr,
    "trades": trades,
}


def _logits(config: TrainConfig, model: nn.Module, ecg: Tensor) -> Tensor:
    with computing_in(config.precision, ecg.device):
        return model(ecg).float()


def _both(config: TrainConfig, model: nn.Module, ecg: Tensor, attacked: Tensor) -> tuple[Tensor, Tensor]:
    # One forward for both halves: one set of batch statistics, the mixture that is used at test.
    clean, adversarial = _logits(config, model, torch.cat([ecg, attacked])).split([len(ecg), len(attacked)])
    return clean, adversarial


def _halves(batch: Batch) -> tuple[Batch, Batch]:
    middle = len(batch.ecg) // 2
    return _part(batch, slice(middle)), _part(batch, slice(middle, None))


def _part(batch: Batch, rows: slice) -> Batch:
    share = None if batch.share is None else batch.share[rows]
    return Batch(batch.ecg[rows], batch.mask[rows], batch.target[rows], share)
