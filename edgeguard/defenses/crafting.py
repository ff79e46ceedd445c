"""The adversarial half of a training batch, by the attack that the settings name."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import sap, uniform_start
from edgeguard.attacks.losses import cross_entropy
from edgeguard.attacks.single_step import single_step
from edgeguard.defenses.batch import Batch
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.precision import computing_in
from edgeguard.errors import InputError
from edgeguard.runtime.registry import reported

Crafting = Callable[[TrainConfig, nn.Module, Batch, torch.Generator], Tensor]
"""(settings, network, batch, draws) to the adversarial ecg [B, 1, T], microvolts."""

SINGLE_STEP_TRIES = 3
_SHORTER_STEP, _MORE_NOISE = 0.75, 1.5


def craft(config: TrainConfig, model: nn.Module, batch: Batch, draws: torch.Generator) -> Tensor:
    """Adversarial ecg [B, 1, T] on the network as it is now, its mode and buffers untouched.

    A single step perturbs every other record smoothly, as SAP does, and the others sample by sample, as PGD does; so
    does `mixed`, in several steps. `sap` goes from PGD on to SAP with every record.

    Args:
        batch: its `target` is what the training loss is taken against, its `share` the part of eps and alpha that a
            record gets.
        draws: of the start's noise, where there is one.

    Raises InputError for what a user's own crafting raises, or returns in another shape.
    """
    if config.row.crafting is not None:
        return _own_crafting(config.row.crafting, config, model, batch, draws)
    ecg, mask, target, share = batch.ecg, batch.mask, batch.target, batch.share
    eps, alpha = (size if share is None else size * share for size in (config.eps, config.alpha))
    loss = partial(cross_entropy, temperature=config.temperature)
    low = config.craft_precision == "bf16"
    with computing_in(config.craft_precision, ecg.device):
        if config.crafting == "single-step":
            smooth_rows = torch.arange(len(ecg), device=ecg.device) % 2 == 0
            return single_step(
                model,
                ecg,
                target,
                mask,
                eps=eps,
                noise=config.noise,
                smooth_rows=smooth_rows,
                kernels=config.kernels,
                loss=loss,
                generator=draws,
                low_precision=low,
            )
        # The divergence that TRADES ascends has no gradient at the record itself.
        start = uniform_start(ecg, alpha, draws) if config.row.objective == "trades" else None

        def several(rows: slice, *, steps: int, smooth_steps: int) -> Tensor:
            own = [size[rows] if isinstance(size, Tensor) else size for size in (eps, alpha)]
            return sap(
                model,
                ecg[rows],
                target[rows],
                mask[rows],
                eps=own[0],
                alpha=own[1],
                steps=steps,
                smooth_steps=smooth_steps,
                kernels=config.kernels,
                loss=loss,
                start=None if start is None else start[rows],
                low_precision=low,
            )

        if config.crafting == "sap":
            return several(slice(None), steps=config.steps, smooth_steps=config.smooth_steps)
        found = torch.empty_like(ecg)
        for rows, counts in (
            (slice(0, None, 2), {"steps": 0, "smooth_steps": config.smooth_steps}),
            (slice(1, None, 2), {"steps": config.steps, "smooth_steps": 0}),
        ):
            if len(ecg[rows]):
                found[rows] = several(rows, **counts)
        return found


def _own_crafting(own: Crafting, config: TrainConfig, model: nn.Module, batch: Batch, draws: torch.Generator) -> Tensor:
    whose = f"--defense {config.defense}: its crafting"
    with reported(whose):
        made = own(config, model, batch, draws)
    if not isinstance(made, Tensor) or made.shape != batch.ecg.shape:
        found = f"a tensor {list(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise InputError(f"{whose} returned {found}; return the records' tensor {list(batch.ecg.shape)}, attacked")
    return made.detach()


def backed_off(config: TrainConfig, trips: int) -> TrainConfig:
    """The settings after the watchdog has tripped so many times: a shorter step, more noise, at last two steps of PGD.

    The noise grows in microvolts by half each time while the step shrinks by a quarter (de Jorge et al. 2022: noise
    is what keeps a single step from catastrophic overfitting).
    """
    if trips == 0 or config.crafting != "single-step":
        return config
    if trips > SINGLE_STEP_TRIES:
        return replace(config, crafting="sap", alpha=config.eps / 2, steps=1, smooth_steps=1)
    eps = config.eps * _SHORTER_STEP**trips
    return replace(config, eps=eps, noise=config.noise * (_MORE_NOISE / _SHORTER_STEP) ** trips)
