"""Accuracy of a classifier, clean and under attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from edgeguard.attacks.gradient import crafting, loss_and_gradient, pgd_path, sap, uniform_start
from edgeguard.attacks.losses import LOSSES
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate
from edgeguard.evaluation.metrics import class_f1, confusion_matrix
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.subject import Subject
from edgeguard.models.run import Run

# The feature maps of more records leave a processor's cache: 64 take a fifth longer a record on edge-m.
_BATCH = 32

Paths = dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]]
"""What a PGD attack is set to: (where it ended, what it found), perturbations [B, 1, T]."""


@dataclass(frozen=True)
class Judged:
    """What one attack did: the class that each record was given.

    Attributes:
        predicted: int64 [N].
        zero_gradient: bool [N], True where the attack's loss has no gradient at the clean record to start from; None
            for clean records.
    """

    attack: Attack
    situation: str | None
    predicted: np.ndarray
    zero_gradient: np.ndarray | None = None


@dataclass(frozen=True)
class Evaluation:
    """Every attack's outcome on the same records.

    Attributes:
        labels: int64 [N], true classes.
        judged: an entry an attack.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    judged: list[Judged]

    def worst_case(self) -> np.ndarray:
        """int64 [N]: a record's true class where every attack left it right, else the first wrong class."""
        worst = self.labels.copy()
        for entry in self.judged:
            worst = np.where(worst == self.labels, entry.predicted, worst)
        return worst


def evaluate(
    subject: Subject,
    dataset: Dataset,
    index: np.ndarray,
    attacks: Sequence[Attack],
    *,
    source: Run | None,
    situation: str,
    seed: int = 0,
    title: str = "",
) -> Evaluation:
    """Judge a subject on records under each attack.

    Args:
        index: records of the data set.
        source: the run whose network crafts; None is enough for clean records.
        situation: "I" where the source is another network than the subject's own, "II" where it is its own.
        seed: of random starts; every record has a stream of its own, so batches do not matter.
    """
    attacking = [attack for attack in attacks if attack.name != "clean"]
    flat = {loss: zero_gradient(source, dataset, index, loss) for loss in {attack.loss for attack in attacking}}
    predicted = np.empty((len(attacks), len(index)), np.int64)
    with tqdm(total=predicted.size, desc=title, unit="record", dynamic_ncols=True) as bar:
        for first in range(0, len(index), _BATCH):
            chosen = index[first : first + _BATCH]
            paths: Paths = {}
            for attack, row in zip(attacks, predicted, strict=True):
                if attack.name == "clean":
                    ecg = dataset.batch(chosen)[0]
                else:
                    ecg = craft(source, dataset, chosen, attack, seed, paths)
                    ecg = np.rint(ecg) if subject.is_file else ecg
                row[first : first + len(chosen)] = subject.judge(ecg)
                bar.update(len(chosen))
    judged = [
        Judged(attack, None, row) if attack.name == "clean" else Judged(attack, situation, row, flat[attack.loss])
        for attack, row in zip(attacks, predicted, strict=True)
    ]
    return Evaluation(subject.classes, dataset.labels[index], judged)


def craft(
    source: Run | None,
    dataset: Dataset,
    index: np.ndarray,
    attack: Attack,
    seed: int = 0,
    paths: Paths | None = None,
) -> np.ndarray:
    """Adversarial ecg float32 [B, 1, T] of the records, crafted on the source's network.

    Args:
        paths: of PGD on these very records so far; attacks that begin alike share one.
    """
    assert source is not None
    device = next(source.model.parameters()).device
    ecg, mask, labels = (torch.from_numpy(part).to(device) for part in dataset.batch(index))
    start = _random_start(ecg, index, attack.eps, seed) if attack.random_start else None
    shared: dict[str, Any] = dict(eps=attack.eps, alpha=attack.alpha, loss=LOSSES[attack.loss], best=attack.best)
    smoothing: dict[str, Any] = dict(smooth_steps=attack.smooth_steps, kernels=attack.kernels, mask_at=attack.mask_at)
    if attack.name == "sap" and attack.mask_at != "loop":
        whole = sap(source.model, ecg, labels, mask, steps=attack.steps, start=start, **shared, **smoothing)
        return whole.cpu().numpy()
    paths = {} if paths is None else paths
    begins = (attack.eps, attack.alpha, attack.steps, attack.loss, attack.random_start, attack.best)
    if begins not in paths:
        paths[begins] = pgd_path(source.model, ecg, labels, mask, steps=attack.steps, start=start, **shared)
    end, found = paths[begins]
    if attack.name == "pgd" or attack.smooth_steps == 0:
        return (ecg + found * mask).cpu().numpy()
    return sap(source.model, ecg, labels, mask, steps=0, start=end, **shared, **smoothing).cpu().numpy()


def zero_gradient(source: Run | None, dataset: Dataset, index: np.ndarray, loss: str) -> np.ndarray:
    """bool [N]: clean records where the loss's gradient by every real sample is exactly zero on the source's network.

    There signed-gradient steps from the record itself go nowhere, so that the record counts as robust without having
    been attacked: gradient masking (Athalye et al. 2018; Carlini & Wagner 2016, arXiv 1607.04311).
    """
    assert source is not None
    device = next(source.model.parameters()).device
    found = np.empty(len(index), bool)
    for first in range(0, len(index), _BATCH):
        chosen = index[first : first + _BATCH]
        ecg, mask, labels = (torch.from_numpy(part).to(device) for part in dataset.batch(chosen))
        with crafting(source.model, device.type) as forward:
            _, gradient = loss_and_gradient(forward, ecg, labels, LOSSES[loss])
        found[first : first + len(chosen)] = ~((gradient != 0) & mask).flatten(1).any(1).cpu().numpy()
    return found


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Attacks and worst case as the JSON contract names them, with intervals."""
    count = len(evaluation.classes)
    rows = [
        {
            "name": entry.attack.name,
            "situation": entry.situation,
            "eps_uv": entry.attack.eps,
            "alpha_uv": entry.attack.alpha,
            "steps": entry.attack.steps,
            "smooth_steps": entry.attack.smooth_steps,
            "loss": entry.attack.loss,
            "kernels": entry.attack.kernels,
            "random_start": entry.attack.random_start,
            "zero_gradient": None
            if entry.zero_gradient is None
            else rate(int(entry.zero_gradient.sum()), len(entry.zero_gradient)),
            **_scores(evaluation.labels, entry.predicted, count),
            "classes": _per_class(confusion_matrix(evaluation.labels, entry.predicted, count), evaluation.classes),
        }
        for entry in evaluation.judged
    ]
    worst = _scores(evaluation.labels, evaluation.worst_case(), count)
    return {"attacks": rows, "worst_case": {"accuracy": worst["accuracy"], "f1": worst["f1"]}}


def _scores(labels: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, Any]:
    confusion = confusion_matrix(labels, predicted, classes)
    return {"accuracy": accuracy_rate(confusion), "f1": f1_rate(confusion), "confusion": confusion.tolist()}


def _per_class(confusion: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Recall, precision and F1 of each class."""
    f1 = class_f1(confusion)
    return {
        name: {
            "recall": rate(int(confusion[i, i]), int(confusion[i].sum())),
            "precision": rate(int(confusion[i, i]), int(confusion[:, i].sum())),
            "f1": float(f1[i]),
        }
        for i, name in enumerate(classes)
    }


def _random_start(ecg: torch.Tensor, index: np.ndarray, eps: float, seed: int) -> torch.Tensor:
    rows = []
    for row, record in zip(ecg, index, strict=True):
        stream = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, int(record)]).generate_state(1)[0]))
        rows.append(uniform_start(row, eps, stream))
    return torch.stack(rows)
