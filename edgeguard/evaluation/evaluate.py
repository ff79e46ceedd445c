"""Accuracy of a classifier, clean and under attack."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from tqdm import tqdm

from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.adversarial import BATCH, Crafted, zero_gradient
from edgeguard.evaluation.cascade import Entrant, Standing, run_cascade
from edgeguard.evaluation.contender import Contender
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate
from edgeguard.evaluation.metrics import CHALLENGE_CLASSES, challenge_classes, class_f1, confusion_matrix
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.sources import check_agreement, run_source
from edgeguard.evaluation.subject import Subject, named
from edgeguard.models.run import Run
from edgeguard.runtime.telling import no_bars

_CHECKED = 256
SPACES = {"plain": ("pgd", "square"), "smooth": ("sap",)}
"""Space -> the families of attacks that search it: every perturbation within eps, and SAP's smoothed ones."""


@dataclass(frozen=True)
class Judged:
    """What one attack did: the class that each record was given.

    Attributes:
        predicted: int64 [N]; in a cascade, of a record that was not attacked what it stands at, wrong where it fell to
            an earlier attack.
        zero_gradient: bool [N], True where the attack's loss has no gradient at the clean record to start from; None
            for clean records.
        gradient: name of the source that crafted; None for clean records.
        logits: float32 [N, C], what `predicted` was read from; None where they were not kept.
        attacked: bool [N], the records that still stood and were attacked; None where all were.
    """

    attack: Attack
    situation: str | None
    predicted: np.ndarray
    zero_gradient: np.ndarray | None = None
    gradient: str | None = None
    logits: np.ndarray | None = None
    attacked: np.ndarray | None = None


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
            if gradient is None or entry.gradient == gradient or entry.attack.name == "clean":
                worst = np.where(worst == self.labels, entry.predicted, worst)
        return worst

    def of(self, families: Sequence[str]) -> "Evaluation":
        """The attacks of some families alone."""
        return replace(self, judged=[entry for entry in self.judged if entry.attack.family in families])

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
    return _judge_all([Entrant(subject, subject, sources, situation)], dataset, index, attacks, seed, title)[0]


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
    entrants = [Entrant(one.subject, one.crafting, one.sources, one.situation) for one in contenders]
    title = " and ".join(one.title for one in contenders)
    return _judge_all(entrants, dataset, index, attacks, seed, title)


def _judge_all(
    entrants: Sequence[Entrant], dataset: Dataset, index: np.ndarray, attacks: Sequence[Attack], seed: int, title: str
) -> list[Evaluation]:
    plans = [entrant.plan(attacks) for entrant in entrants]
    answers = [
        np.empty((len(plan), len(index), len(one.subject.classes)), np.float32)
        for one, plan in zip(entrants, plans, strict=True)
    ]
    cascades = any(attack.cascade for attack in attacks)
    clean = [np.zeros((len(index), len(one.subject.classes)), np.float32) for one in entrants]
    flat: dict[tuple[str, str], np.ndarray] = {}
    for attack, source in chain.from_iterable(plans):
        if source is not None and (source.identity, attack.loss) not in flat:
            flat[source.identity, attack.loss] = zero_gradient(source, dataset, index, attack.loss)
    labels = dataset.labels[index]
    with tqdm(
        total=len(index) * sum(map(len, plans)), desc=title, unit="record", dynamic_ncols=True, disable=no_bars()
    ) as bar:
        for first in range(0, len(index), BATCH):
            rows = slice(first, first + BATCH)
            ecg = dataset.batch(index[rows])[0]
            crafted = Crafted(dataset, index[rows], seed)
            for entrant, plan, own, unattacked in zip(entrants, plans, answers, clean, strict=True):
                if cascades:
                    unattacked[rows] = entrant.subject.logits(ecg)
                for (attack, source), row in zip(plan, own, strict=True):
                    if not attack.cascade:
                        made = ecg if source is None else crafted.by(source, attack)
                        row[rows] = entrant.answers(made, ecg, attack.eps) if source else entrant.subject.logits(ecg)
                        bar.update(len(ecg))
        standings = [Standing(*parts, labels) for parts in zip(entrants, plans, answers, clean, strict=True)]
        run_cascade(standings, dataset, index, seed=seed, advance=bar.update)
    return [Evaluation(one.entrant.subject.classes, labels, _entries(one, labels, flat)) for one in standings]


def _entries(one: Standing, labels: np.ndarray, flat: dict[tuple[str, str], np.ndarray]) -> list[Judged]:
    return [
        Judged(
            attack,
            None if attack.name == "clean" else one.entrant.situation,
            named(row, labels),
            flat[source.identity, attack.loss] if source else None,
            source.name if source else None,
            row,
            one.attacked.get(number),
        )
        for number, ((attack, source), row) in enumerate(zip(one.plan, one.answers, strict=True))
    ]


def summary(evaluation: Evaluation) -> dict[str, Any]:
    """Attacks and worst case as the JSON contract names them, with intervals.

    `by_gradient` is the worst case of each source alone, where there are several; `by_space` that of every perturbation
    within eps (`plain`) and of SAP's (`smooth`) alone, as far as they were searched.
    """
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
            **_counts(entry, evaluation.labels),
            **_scores(evaluation, entry.predicted),
        }
        for entry in evaluation.judged
    ]
    names, families = evaluation.gradients(), {entry.attack.family for entry in evaluation.judged}
    return {
        "attacks": rows,
        "worst_case": _worst_case(evaluation),
        "by_gradient": {name: _worst_case(evaluation, name) for name in names} if len(names) > 1 else {},
        "by_space": {
            space: _worst_case(evaluation.of(("clean", *searching)))
            for space, searching in SPACES.items()
            if families.intersection(searching)
        },
    }


def _counts(entry: Judged, labels: np.ndarray) -> dict[str, int]:
    """Of an attack in a cascade: how many records it was run on, how many it turned, and whether only on close ones."""
    if entry.attacked is None:
        return {}
    turned = entry.attacked & (entry.predicted != labels)
    return {"records": int(entry.attacked.sum()), "felled": int(turned.sum()), "close": entry.attack.close}


def _worst_case(evaluation: Evaluation, gradient: str | None = None) -> dict[str, Any]:
    worst = _scores(evaluation, evaluation.worst_case(gradient))
    return {name: value for name, value in worst.items() if name != "confusion"}


def _scores(evaluation: Evaluation, predicted: np.ndarray) -> dict[str, Any]:
    """Accuracy, macro F1, the official F1 where the model has its classes, the confusion, and the classes' scores."""
    classes = evaluation.classes
    confusion = confusion_matrix(evaluation.labels, predicted, len(classes))
    official = set(CHALLENGE_CLASSES) <= set(classes)
    return {
        "accuracy": accuracy_rate(confusion),
        "f1": f1_rate(confusion),
        **({"f1_nao": f1_rate(confusion, challenge_classes(classes))} if official else {}),
        "confusion": confusion.tolist(),
        "classes": _per_class(confusion, classes),
    }


def _per_class(confusion: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    """Recall, precision, F1 and false alarms of each class."""
    f1, total = class_f1(confusion), int(confusion.sum())
    return {
        name: {
            "recall": rate(int(confusion[i, i]), int(confusion[i].sum())),
            "precision": rate(int(confusion[i, i]), int(confusion[:, i].sum())),
            "f1": float(f1[i]),
            "false_alarms": rate(int(confusion[:, i].sum() - confusion[i, i]), total - int(confusion[i].sum())),
        }
        for i, name in enumerate(classes)
    }
