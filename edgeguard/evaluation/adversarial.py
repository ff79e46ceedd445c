"""Adversarial records: crafted on a network by an attack's settings, and as an ADC would have read them."""

from typing import Any

import numpy as np
import torch
from torch import nn

from edgeguard.attacks.apgd import apgd
from edgeguard.attacks.gradient import crafting, loss_and_gradient, pgd_path, sap, uniform_start
from edgeguard.attacks.losses import LOSSES, Loss, targeted_dlr
from edgeguard.attacks.own_white_box import own_white_box
from edgeguard.attacks.smooth_cw import smooth_cw
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.portfolio import ATTACKS, REGISTRY, Attack
from edgeguard.evaluation.sources import Source
from edgeguard.evaluation.subject import device_of
from edgeguard.models.run import Run

# The feature maps of more records leave a processor's cache: 64 take a fifth longer a record on edge-m.
BATCH = 32

Paths = dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]]
"""What a PGD attack is set to: (where it ended, what it found), perturbations [B, 1, T]."""


def craft(
    source: Source | Run,
    dataset: Dataset,
    index: np.ndarray,
    attack: Attack,
    seed: int = 0,
    paths: Paths | None = None,
) -> np.ndarray:
    """Adversarial ecg float32 [B, 1, T] of the records, crafted on the source's network.

    Args:
        paths: of PGD on these very records and this source so far; attacks that begin alike share one.
    """
    model = source.model
    ecg, mask, labels = (torch.from_numpy(part).to(device_of(model)) for part in dataset.batch(index))
    if attack.family not in ATTACKS:
        first = int(np.random.SeedSequence([seed, *map(int, index)]).generate_state(1)[0])
        own = REGISTRY.get(attack.name)
        limits: dict[str, Any] = dict(eps=attack.eps, alpha=attack.alpha, steps=attack.steps, seed=first)
        return own_white_box(own, attack.name, model, ecg, labels, mask, **limits).cpu().numpy()
    if attack.name == "cw-smooth":
        targets = (labels + attack.target) % len(dataset.classes) if attack.target else None
        options: dict[str, Any] = dict(eps=attack.eps, alpha=attack.alpha, steps=attack.steps, targets=targets)
        return smooth_cw(model, ecg, labels, mask, **options).cpu().numpy()
    start = random_start(ecg, index, attack, seed) if attack.random_start else None
    if attack.name in ("apgd", "apgd-sap"):
        kernels = attack.kernels if attack.name == "apgd-sap" else None
        steps, loss = attack.steps + attack.smooth_steps, _loss_of(attack, model, ecg, labels)
        found = apgd(model, ecg, labels, mask, eps=attack.eps, steps=steps, loss=loss, kernels=kernels, start=start)
        return found.cpu().numpy()
    shared: dict[str, Any] = dict(
        eps=attack.eps, alpha=attack.alpha, loss=LOSSES[attack.loss], best=attack.best, schedule=attack.schedule
    )
    smoothing: dict[str, Any] = dict(smooth_steps=attack.smooth_steps, kernels=attack.kernels, mask_at=attack.mask_at)
    if attack.name == "sap" and attack.mask_at != "loop":
        whole = sap(model, ecg, labels, mask, steps=attack.steps, start=start, **shared, **smoothing)
        return whole.cpu().numpy()
    paths = {} if paths is None else paths
    begins = (
        attack.eps,
        attack.alpha,
        attack.steps,
        attack.loss,
        attack.random_start,
        attack.restart,
        attack.best,
        attack.schedule,
    )
    if begins not in paths:
        paths[begins] = pgd_path(model, ecg, labels, mask, steps=attack.steps, start=start, **shared)
    end, found = paths[begins]
    if attack.name == "pgd" or attack.smooth_steps == 0:
        return (ecg + found * mask).cpu().numpy()
    return sap(model, ecg, labels, mask, steps=0, start=end, **shared, **smoothing).cpu().numpy()


def zero_gradient(source: Source | Run, dataset: Dataset, index: np.ndarray, loss: str) -> np.ndarray:
    """bool [N]: clean records where the loss's gradient by every real sample is exactly zero on the source's network.

    There signed-gradient steps from the record itself go nowhere, so that the record counts as robust without having
    been attacked: gradient masking (Athalye et al. 2018; Carlini & Wagner 2016, arXiv 1607.04311).
    """
    device = device_of(source.model)
    found = np.empty(len(index), bool)
    for first in range(0, len(index), BATCH):
        chosen = index[first : first + BATCH]
        ecg, mask, labels = (torch.from_numpy(part).to(device) for part in dataset.batch(chosen))
        with crafting(source.model, device.type) as forward:
            _, gradient = loss_and_gradient(forward, ecg, labels, LOSSES[loss])
        found[first : first + len(chosen)] = ~((gradient != 0) & mask).flatten(1).any(1).cpu().numpy()
    return found


def whole_codes(adversarial: np.ndarray, clean: np.ndarray, eps: float) -> np.ndarray:
    """float32 [B, 1, T]: what an ADC of one microvolt a code would have read, still within eps of the clean record.

    Where no whole code lies within eps, the clean sample.
    """
    around = clean.astype(np.float64)
    low, high = np.ceil(around - eps), np.floor(around + eps)
    # The sums are rounded: a code may lie outside by the last bit.
    low, high = low + (around - low > eps), high - (high - around > eps)
    codes = np.clip(np.rint(adversarial), low, np.maximum(low, high))
    return np.where(low <= high, codes, around).astype(np.float32)


def _loss_of(attack: Attack, model: nn.Module, ecg: torch.Tensor, labels: torch.Tensor) -> Loss:
    """The attack's loss; where it has a target, towards the k-th likeliest wrong class of the clean record."""
    if not attack.target:
        return LOSSES[attack.loss]
    with crafting(model, ecg.device.type) as forward, torch.no_grad():
        wrong = forward(ecg).scatter(1, labels[:, None], -torch.inf)
    return targeted_dlr(wrong.argsort(dim=1, descending=True, stable=True)[:, attack.target - 1])


def random_start(ecg: torch.Tensor, index: np.ndarray, attack: Attack, seed: int) -> torch.Tensor:
    rows = []
    for row, record in zip(ecg, index, strict=True):
        entropy = [seed, int(record), *([attack.restart] if attack.restart else [])]
        stream = torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        rows.append(uniform_start(row, attack.eps, stream))
    return torch.stack(rows)


class Crafted:
    """Adversarial records of one batch; what is asked for again is not crafted again."""

    def __init__(self, dataset: Dataset, index: np.ndarray, seed: int) -> None:
        self._dataset, self._index, self._seed = dataset, index, seed
        self._ecg: dict[tuple[str, Attack], np.ndarray] = {}
        self._paths: dict[str, Paths] = {}

    def by(self, source: Source, attack: Attack) -> np.ndarray:
        """float32 [B, 1, T]."""
        key = (source.identity, attack)
        if key not in self._ecg:
            paths = self._paths.setdefault(source.identity, {})
            self._ecg[key] = craft(source, self._dataset, self._index, attack, self._seed, paths)
        return self._ecg[key]
