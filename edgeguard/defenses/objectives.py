"""What one training step minimises, for every kind of defence."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.attacks.gradient import eval_mode
from edgeguard.attacks.losses import cross_entropy
from edgeguard.defenses.batch import Batch
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.crafting import craft
from edgeguard.defenses.distributed import mean
from edgeguard.defenses.precision import computing_in
from edgeguard.defenses.regularizers import jacobian_norm, logit_mse, noise_to_signal, within_margin
from edgeguard.errors import InputError, unknown
from edgeguard.runtime.registry import reported

JACOBIAN_SCALE_UV = {"published": 1.0, "corrected": 1000.0}
"""Microvolts that the Jacobian of `jr` takes as its unit."""


Objective = Callable[[TrainConfig, nn.Module, Batch, bool, torch.Generator], Tensor]
"""(settings, network, batch, whether the warm-up is over, draws) to the loss of one step, a scalar."""


def mixed_cross_entropy(
    config: TrainConfig, model: nn.Module, batch: Batch, regularized: bool, draws: torch.Generator
) -> Tensor:
    """c times the adversarial half's cross-entropy and 1 - c times the clean half's, at T (ADT paper, eq. 6)."""
    loss_of = partial(cross_entropy, temperature=config.temperature)
    if not config.crafts:
        return mean(loss_of(_logits(config, model, batch.ecg), batch.target))
    first, second = (batch, batch) if config.halves == "same" else _halves(batch)
    attacked = craft(config, model, second, draws)
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
    attacked = craft(config, model, replace(batch, target=reference), draws)
    clean, adversarial = (z / config.temperature for z in _both(config, model, batch.ecg, attacked))
    divergence = F.kl_div(F.log_softmax(adversarial, 1), F.log_softmax(clean, 1), log_target=True, reduction="none")
    return mean(cross_entropy(clean, batch.target)) + config.trades_beta * mean(divergence.sum(1))


OBJECTIVES: dict[str, Objective] = {
    "cross-entropy": mixed_cross_entropy,
    "jacobian": jacobian,
    "noise-to-signal": nsr,
    "trades": trades,
}


def objective_of(settings: TrainConfig) -> Objective:
    """The loss of a training; a user's own is checked each time, and its errors are one line (InputError)."""
    own = settings.row.objective
    if not isinstance(own, str):
        return partial(_own_loss, own)
    if own not in OBJECTIVES:
        raise unknown(f"--defense {settings.defense}: objective", own, OBJECTIVES)
    return OBJECTIVES[own]


def _own_loss(
    own: Objective, config: TrainConfig, model: nn.Module, batch: Batch, regularized: bool, draws: torch.Generator
) -> Tensor:
    whose = f"--defense {config.defense}: its objective"
    with reported(whose):
        loss = own(config, model, batch, regularized, draws)
    if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
        found = f"a tensor {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        detached = isinstance(loss, Tensor) and not loss.ndim
        raise InputError(
            f"{whose} returned {'a loss without a gradient' if detached else found}; return a scalar tensor "
            "that depends on the network's parameters"
        )
    return loss


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
