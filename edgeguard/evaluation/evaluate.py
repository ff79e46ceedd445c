"""Accuracy of a classifier, clean and under attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from edgeguard.attacks.gradient import crafting, loss_and_gradient, pgd_path, sap, uniform_start
from edgeguard.attacks.losses import LOSSES
from edgeguard.attacks.own_white_box import own_white_box
from edgeguard.attacks.smooth_cw import smooth_cw
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.contender import Contender
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate
from edgeguard.evaluation.metrics import class_f1, confusion_matrix
from edgeguard.evaluation.portfolio import ATTACKS, REGISTRY, Attack
from edgeguard.evaluation.sources import Source, check_agreement, run_source
from edgeguard.evaluation.subject import Subject, device_of, named
from edgeguard.models.run import Run
from edgeguard.runtime.telling import no_bars

# The feature maps of more records leave a processor's cache: 64 take a fifth longer a record on edge-m.
_BATCH = 32
_CHECKED = 256

Paths = dict[tuple[Any, ...], tuple[torch.Tensor, torch.Tensor]]
"""What a PGD attack is set to: (where it ended, what it found), perturbations [B, 1, T]."""


@dataclass(frozen=True)
class Judged:
    """What one attack did: the class that each record was given.

    Attributes:
        predicted: int64 [N].
        zero_gradient: bool [N], True where the attack's loss has no gradient at the clean record to start from; None
            for clean records.
        gradient: name of the source that crafted; None for clean records.
        logits: float32 [N, C], what `predicted` was read from; None where they were not kept.
    """

    attack: Attack
    situation: str | None
    predicted: np.ndarray
    zero_gradient: np.ndarray | None = None
    gradient: str | None = None
    logits: np.ndarray | None = None


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

    def worst_case(self, gradient: str | None = None) -> np.ndarray:
        """int64 [N]: a record's true class where every attack left it right, else the first wrong class.

        Args:
            gradient: count the attacks of this source alone, and clean records.
        """
        worst = self.labels.copy()
        for entry in self.judged:
            if gradient is None or entry.gradient in (None, gradient):
                worst = np.where(worst == self.labels, entry.predicted, worst)
        return worst

    def gradients(self) -> tuple[str, ...]:
        """Names of the sources that crafted."""
        return tuple(dict.fromkeys(entry.gradient for entry in self.judged if entry.gradient is not None))


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
    """Judge a subject on records under each attack, crafted on one run's network.

    Args:
        index: records of the data set.
        source: the run whose network crafts; None is enough for clean records.
        situation: "I" where the source is another network than the subject's own, "II" where it is its own.
        seed: of random starts; every record has a stream of its own, so batches do not matter.
    """
    assert source is not None or all(attack.name == "clean" for attack in attacks)
    name = "parent" if subject.is_file and situation == "II" else "run"
    sources = (run_source(source, name),) if source else ()
    return _judge_all([_Entrant(subject, sources, situation)], dataset, index, attacks, seed, title)[0]


def evaluate_contenders(
    contenders: Sequence[Contender], dataset: Dataset, index: np.ndarray, attacks: Sequence[Attack], *, seed: int = 0
) -> list[Evaluation]:
    """Judge contenders on the same records under each attack from each of their sources.

    A source that several share, as a run and its file do, crafts once.

    Raises InputError for a twin that does not compute what ONNX Runtime does.
    """
    for one in contenders:
        for source in one.sources:
            if source.twin_of is not None:
                check_agreement(source, one.crafting, dataset.batch(index[:_CHECKED])[0])
    entrants = [_Entrant(one.subject, one.sources, one.situation) for one in contenders]
    title = " and ".join(one.title for one in contenders)
    return _judge_all(entrants, dataset, index, attacks, seed, title)


@dataclass(frozen=True)
class _Entrant:
    subject: Subject
    sources: tuple[Source, ...]
    situation: str

    def plan(self, attacks: Sequence[Attack]) -> list[tuple[Attack, Source | None]]:
        """Each attack with each source; clean records once."""
        plan: list[tuple[Attack, Source | None]] = []
        for attack in attacks:
            plan += [(attack, source) for source in self.sources] if attack.name != "clean" else [(attack, None)]
        return plan


def _judge_all(
    entrants: Sequence[_Entrant], dataset: Dataset, index: np.ndarray, attacks: Sequence[Attack], seed: int, title: str
) -> list[Evaluation]:
    plans = [entrant.plan(attacks) for entrant in entrants]
    answers = [
        np.empty((len(plan), len(index), len(one.subject.classes)), np.float32)
        for one, plan in zip(entrants, plans, strict=True)
    ]
    flat: dict[tuple[str, str], np.ndarray] = {}
    for attack, source in chain.from_iterable(plans):
        if source is not None and (source.identity, attack.loss) not in flat:
            flat[source.identity, attack.loss] = zero_gradient(source, dataset, index, attack.loss)
    with tqdm(
        total=len(index) * sum(map(len, plans)), desc=title, unit="record", dynamic_ncols=True, disable=no_bars()
    ) as bar:
        for first in range(0, len(index), _BATCH):
            chosen = index[first : first + _BATCH]
            clean, _, _ = dataset.batch(chosen)
            crafted = _Crafted(dataset, chosen, seed)
            for entrant, plan, rows in zip(entrants, plans, answers, strict=True):
                for (attack, source), row in zip(plan, rows, strict=True):
                    ecg = clean if source is None else crafted.by(source, attack)
                    if source is not None and entrant.subject.is_file:
                        ecg = whole_codes(ecg, clean, attack.eps)
                    row[first : first + len(chosen)] = entrant.subject.logits(ecg)
                    bar.update(len(chosen))
    labels, evaluations = dataset.labels[index], []
    for entrant, plan, rows in zip(entrants, plans, answers, strict=True):
        judged = [
            Judged(
                attack,
                entrant.situation if source else None,
                named(row, labels),
                flat[source.identity, attack.loss] if source else None,
                source.name if source else None,
                row,
            )
            for (attack, source), row in zip(plan, rows, strict=True)
        ]
        evaluations.append(Evaluation(entrant.subject.classes, labels, judged))
    return evaluations


class _Crafted:
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
    if attack.name not in ATTACKS:
        first = int(np.random.SeedSequence([seed, *map(int, index)]).generate_state(1)[0])
        own = REGISTRY.get(attack.name)
        limits: dict[str, Any] = dict(eps=attack.eps, alpha=attack.alpha, steps=attack.steps, seed=first)
        return own_white_box(own, attack.name, model, ecg, labels, mask, **limits).cpu().numpy()
    if attack.name == "cw-smooth":
        targets = (labels + attack.target) % len(dataset.classes) if attack.target else None
        options: dict[str, Any] = dict(eps=attack.eps, alpha=attack.alpha, steps=attack.steps, targets=targets)
        return smooth_cw(model, ecg, labels, mask, **options).cpu().numpy()
    start = _random_start(ecg, index, attack, seed) if attack.random_start else None
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
    for first in range(0, len(index), _BATCH):
        chosen = index[first : first + _BATCH]
        ecg, mask, labels = (torch.from_numpy(part).to(device) for part in dataset.batch(chosen))
        with crafting(source.model, device.type) as forward:
            _, gradient = loss_and_gradient(forward, ecg, labels, LOSSES[loss])
        found[first : first + len(chosen)] = ~((gradient != 0) & mask).flatten(1).any(1).cpu().numpy()
    return found


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Attacks and worst case as the JSON contract names them, with intervals.

    `by_gradient` is the worst case of each source alone, where there are several.
    """
    count = len(evaluation.classes)
    rows = [
        {
            "name": entry.attack.name,
            "situation": entry.situation,
            "gradient": entry.gradient,
            "eps_uv": entry.attack.eps,
            "alpha_uv": entry.attack.alpha,
            "steps": entry.attack.steps,
            "smooth_steps": entry.attack.smooth_steps,
            "loss": entry.attack.loss,
            "kernels": entry.attack.kernels,
            "random_start": entry.attack.random_start,
            "restart": entry.attack.restart,
            "target": entry.attack.target,
            "schedule": entry.attack.schedule,
            "zero_gradient": None
            if entry.zero_gradient is None
            else rate(int(entry.zero_gradient.sum()), len(entry.zero_gradient)),
            **_scores(evaluation.labels, entry.predicted, count),
            "classes": _per_class(confusion_matrix(evaluation.labels, entry.predicted, count), evaluation.classes),
        }
        for entry in evaluation.judged
    ]
    names = evaluation.gradients()
    return {
        "attacks": rows,
        "worst_case": _worst_case(evaluation),
        "by_gradient": {name: _worst_case(evaluation, name) for name in names} if len(names) > 1 else {},
    }


def _worst_case(evaluation: Evaluation, gradient: str | None = None) -> dict[str, Any]:
    worst = _scores(evaluation.labels, evaluation.worst_case(gradient), len(evaluation.classes))
    return {"accuracy": worst["accuracy"], "f1": worst["f1"]}


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


def _random_start(ecg: torch.Tensor, index: np.ndarray, attack: Attack, seed: int) -> torch.Tensor:
    rows = []
    for row, record in zip(ecg, index, strict=True):
        entropy = [seed, int(record), *([attack.restart] if attack.restart else [])]
        stream = torch.Generator().manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))
        rows.append(uniform_start(row, attack.eps, stream))
    return torch.stack(rows)
