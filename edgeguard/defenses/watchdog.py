"""Catastrophic overfitting: a network that has learnt to mislead the single step it is trained with.

Wong et al. 2020 (arXiv 2001.03994) saw it, Andriushchenko & Flammarion 2020 (arXiv 2007.02617) explain it: the accuracy
under one step stays high while that under several falls to nothing, within an epoch.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeguard.attacks.gradient import eval_mode, pgd
from edgeguard.attacks.losses import margin
from edgeguard.defenses.batches import Records
from edgeguard.defenses.config import TrainConfig
from edgeguard.ecg.split import stratified

RECORDS = 128
STEPS = 5
LARGEST_GAP = 0.15
LARGEST_DROP = 0.10
_LARGEST_CHANCE = 3
"""Records by which two accuracies may differ by chance; of a few records alone is a share no evidence."""
_BATCH = 64


@dataclass(frozen=True)
class Watchdog:
    """Looks at the same records after every epoch.

    Attributes:
        index: their numbers in the data set, none of the test part.
        eps: largest perturbation, microvolts.
    """

    records: Records
    index: np.ndarray
    eps: float

    def look(self, model: nn.Module) -> dict[str, float]:
        """Accuracy clean, under one step of eps and under five steps of PGD on the margin."""
        right = {"clean": 0, "one_step": 0, "multi_step": 0}
        for first in range(0, len(self.index), _BATCH):
            ecg, mask, labels = self.records.take(self.index[first : first + _BATCH])
            one = pgd(model, ecg, labels, mask, eps=self.eps, alpha=self.eps, steps=1)
            multi = pgd(model, ecg, labels, mask, eps=self.eps, alpha=2.5 * self.eps / STEPS, steps=STEPS, loss=margin)
            for name, attacked in (("clean", ecg), ("one_step", one), ("multi_step", multi)):
                right[name] += _right(model, attacked, labels)
        return {name: count / len(self.index) for name, count in right.items()}


def watchdog(config: TrainConfig, records: Records, labels: np.ndarray, part: np.ndarray) -> Watchdog | None:
    """A watchdog over up to 128 records of the part, stratified; None for a training that needs none."""
    if not config.crafts or config.crafting != "single-step" or config.row.crafting is not None:
        return None
    index = stratified(labels, part, min(RECORDS, len(part)), seed=0)
    return Watchdog(records, index, config.eps)


def alarm(before: dict[str, Any] | None, now: dict[str, float], records: int = RECORDS) -> str | None:
    """Why the epoch should be taken back, or None.

    Either several steps do far more than one, or the accuracy under several steps fell by more than 10 points from
    the epoch before while the clean one did not fall half as far: an unlucky epoch moves both.

    Args:
        before, now: accuracies by `Watchdog.look`.
        records: on how many; a difference of three or fewer is no alarm.
    """
    gap = now["one_step"] - now["multi_step"]
    if gap > LARGEST_GAP and round(gap * records) > _LARGEST_CHANCE:
        return f"one step leaves {now['one_step']:.2f} right, {STEPS} steps {now['multi_step']:.2f}"
    if before is None:
        return None
    drop = before["multi_step"] - now["multi_step"]
    fell = drop > LARGEST_DROP and round(drop * records) > _LARGEST_CHANCE
    if fell and before["clean"] - now["clean"] < drop / 2:
        return f"accuracy under {STEPS} steps fell from {before['multi_step']:.2f} to {now['multi_step']:.2f}"
    return None


@torch.no_grad()
def _right(model: nn.Module, ecg: torch.Tensor, labels: torch.Tensor) -> int:
    with eval_mode(model):
        return int((model(ecg).argmax(1) == labels).sum())
