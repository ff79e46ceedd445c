"""Accuracy of a classifier, clean and under attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from edgeguard.attacks.gradient import pgd, sap, uniform_start
from edgeguard.attacks.losses import LOSSES
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate
from edgeguard.evaluation.metrics import class_f1, confusion_matrix
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.subject import Subject
from edgeguard.models.run import Run

_BATCH = 64


@dataclass(frozen=True)
class Judged:
    """What one attack did: the class that each record was given."""

    attack: Attack
    situation: str | None
    predicted: np.ndarray


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
    judged = []
    total = len(index) * len(attacks)
    with tqdm(total=total, desc=title, unit="record", dynamic_ncols=True) as bar:
        for attack in attacks:
            predicted = np.empty(len(index), np.int64)
            bar.set_postfix_str(f"{attack.name} {attack.loss}" if attack.name != "clean" else "clean")
            for first in range(0, len(index), _BATCH):
                chosen = index[first : first + _BATCH]
                ecg = (
                    dataset.batch(chosen)[0] if attack.name == "clean" else craft(source, dataset, chosen, attack, seed)
                )
                if subject.is_file and attack.name != "clean":
                    ecg = np.rint(ecg)
                predicted[first : first + len(chosen)] = subject.judge(ecg)
                bar.update(len(chosen))
            judged.append(Judged(attack, None if attack.name == "clean" else situation, predicted))
    return Evaluation(subject.classes, dataset.labels[index], judged)


def craft(source: Run | None, dataset: Dataset, index: np.ndarray, attack: Attack, seed: int = 0) -> np.ndarray:
    """Adversarial ecg float32 [B, 1, T] of the records, crafted on the source's network."""
    assert source is not None
    device = next(source.model.parameters()).device
    ecg, mask, labels = (torch.from_numpy(part).to(device) for part in dataset.batch(index))
    start = _random_start(ecg, index, attack.eps, seed) if attack.random_start else None
    shared: dict[str, Any] = dict(
        eps=attack.eps,
        alpha=attack.alpha,
        steps=attack.steps,
        loss=LOSSES[attack.loss],
        start=start,
        best=attack.best,
    )
    if attack.name == "pgd":
        return pgd(source.model, ecg, labels, mask, **shared).cpu().numpy()
    smoothing: dict[str, Any] = dict(smooth_steps=attack.smooth_steps, kernels=attack.kernels, mask_at=attack.mask_at)
    return sap(source.model, ecg, labels, mask, **shared, **smoothing).cpu().numpy()


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
