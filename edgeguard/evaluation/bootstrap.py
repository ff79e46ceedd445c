"""Intervals of scores over records and seeds: a paired bootstrap, stratified by true class, with the seeds beside it.

A score is measured on a sample of records by a sample of trained networks, and stands for all records and trainings.
Records are redrawn within each true class, by the same draw for every network, so that differences are paired. Seeds
are few, and redrawing them fails: five have four fifths of their variance in a bootstrap and far too short tails, while
records and seeds drawn together count three times what differs from record to record and seed to seed (Owen 2007). Such
intervals cover 73 to 100 % where 95 are meant (`benchmarks/coverage.py`). So two parts are found apart and added:

- seeds: the standard error s / sqrt(S), s the deviation of the seeds' scores. It holds what differs from seed to seed,
  and what differs from record to record and seed to seed.
- records: the BCa ends of the mean over the seeds as they are, drawn in by the part that the seeds hold already. That
  is known from the resamples: the variance over seeds of how far a resample moves their scores.

The sum of a variance that is well known and one of S - 1 degrees of freedom is the problem of Behrens and Fisher.
Welch's quantile is up to 2.9 points too short with three seeds, that of Cochran and Cox (1950) up to 2.1 too long;
half-way between them is within 1.2 points with three seeds and 0.7 with five, and 3 with two.

With one seed the interval is this network's, and says nothing of another training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from edgeguard.ecg.record import CLASSES
from edgeguard.evaluation.bca import Bca, bca, without_one
from edgeguard.evaluation.metrics import CHALLENGE_CLASSES, accuracies, challenge_classes, mean_f1

SCORES = ("accuracy", "f1", "f1_nao")
"""Accuracy; F1, the mean of all classes (ADT paper, eq. 12); F1 of N, A and O (the official score of CinC 2017;
of all classes where the class list has none of these)."""
LEVEL = 0.95
RESAMPLES = 2000


@dataclass(frozen=True)
class Scores:
    """Of S networks that differ in their seed alone, or what was computed from such.

    Attributes:
        observed: float64 [S], on the records as they are.
        drawn: float64 [resamples, S].
        left: float64 [N, S], without one record each, its class as large as before.
        labels: int64 [N], the true classes.
    """

    observed: np.ndarray
    drawn: np.ndarray
    left: np.ndarray
    labels: np.ndarray


class Resamples:
    """Draws of records, stratified by true class, that every network is scored on.

    Args:
        labels: int64 [N].
        classes: names, in the order of their numbers.
    """

    def __init__(
        self, labels: np.ndarray, classes: Sequence[str] = CLASSES, *, resamples: int = RESAMPLES, seed: int = 0
    ) -> None:
        rng = np.random.default_rng(seed)
        self.labels, self.classes = np.asarray(labels), tuple(classes)
        self._members = [np.flatnonzero(self.labels == place) for place in range(len(self.classes))]
        # Whole numbers far below 2^24: float32 sums of them are exact, on any number of threads.
        self._times = [
            rng.multinomial(len(of), np.full(len(of), 1 / len(of)), size=resamples).astype(np.float32)
            if len(of)
            else np.zeros((resamples, 0), np.float32)
            for of in self._members
        ]

    def score(self, predicted: np.ndarray, score: str = "accuracy") -> Scores:
        """One of SCORES of the predictions int64 [S, N] of S seeds; raises ValueError for another shape or name."""
        if predicted.ndim != 2 or predicted.shape[1] != len(self.labels) or not len(predicted):
            raise ValueError(f"predictions [seeds, {len(self.labels)}] are needed, not {list(predicted.shape)}")
        if score not in SCORES:
            raise ValueError(f"score {score!r}: one of {', '.join(SCORES)}")
        named = predicted[:, :, None] == np.arange(len(self.classes))
        whole = self._confusions(named, [np.ones((1, len(of)), np.float32) for of in self._members])[0]
        left = self._rate(without_one(whole), score)
        seeds = np.arange(len(predicted))[:, None]
        return Scores(
            self._rate(whole, score),
            self._rate(self._confusions(named, self._times), score),
            left[seeds, self.labels, predicted].T,
            self.labels,
        )

    def _confusions(self, named: np.ndarray, times: Sequence[np.ndarray]) -> np.ndarray:
        """float32 [resamples, S, C, C] of predictions bool [S, N, C] and how often each resample holds each record."""
        seeds, _, classes = named.shape
        rows = []
        for of, held in zip(self._members, times, strict=True):
            cells = named[:, of].transpose(1, 0, 2).reshape(len(of), seeds * classes).astype(np.float32)
            rows.append((held @ cells).reshape(len(held), seeds, classes))
        return np.stack(rows, axis=2)

    def _rate(self, confusion: np.ndarray, score: str) -> np.ndarray:
        """float64 [...] of [..., C, C]."""
        if score == "accuracy":
            return accuracies(confusion)
        official = score == "f1_nao" and not set(CHALLENGE_CLASSES).isdisjoint(self.classes)
        return mean_f1(confusion, challenge_classes(self.classes) if official else None)


@dataclass(frozen=True)
class Spread:
    """How far a mean over seeds may be off.

    Attributes:
        records: the bootstrap over records, of the mean over the seeds as they are.
        alone: share of its variance that does not show in the differences of the seeds.
        seed_error: standard error of the mean, by the differences of the seeds; 0 for one seed.
        seeds: S.
    """

    records: Bca
    alone: float
    seed_error: float
    seeds: int

    def ends(self, level: float = LEVEL) -> tuple[float, float]:
        """(low, high) of the two parts together."""
        value, (low, high) = self.records.estimate, self.records.ends(level)
        if not self.seed_error:
            return low, high
        normal, student = ndtri((1 + level) / 2), stdtrit(self.seeds - 1, (1 + level) / 2)
        sides = np.maximum([value - low, high - value], 0.0) / normal
        variance = self.alone * sides**2 + self.seed_error**2
        share = self.seed_error**2 / variance
        welch = stdtrit((self.seeds - 1) / share**2, (1 + level) / 2)
        cochran_cox = normal * (1 - share) + student * share
        below, above = (welch + cochran_cox) / 2 * np.sqrt(variance)
        return value - float(below), value + float(above)

    def p_value(self) -> float:
        """Two-sided, of zero: one less the level of the interval that ends there; never below 1 / resamples."""
        if not np.isfinite(self.records.estimate) or not len(self.records.drawn):
            return float("nan")

        def leaves_zero_out(p: float) -> bool:
            low, high = self.ends(1 - p)
            return not low <= 0 <= high

        inside, outside = 1 / len(self.records.drawn), 1 - 1 / len(self.records.drawn)
        if leaves_zero_out(inside):
            return inside
        if not leaves_zero_out(outside):
            return 1.0
        for _ in range(40):
            middle = (inside + outside) / 2
            inside, outside = (inside, middle) if leaves_zero_out(middle) else (middle, outside)
        return outside


def spread(scores: Scores) -> Spread:
    """Of the mean over the seeds."""
    seeds = len(scores.observed)
    records = bca(float(scores.observed.mean()), scores.drawn.mean(axis=1), scores.left.mean(axis=1), scores.labels)
    if seeds == 1:
        return Spread(records, 1.0, 0.0, seeds)
    known = np.isfinite(scores.drawn).all(axis=1)
    whole = float(np.var(scores.drawn[known].mean(axis=1)))
    shared = float(np.var(scores.drawn[known] - scores.observed, axis=1, ddof=1).mean()) / seeds if known.any() else 0.0
    alone = max(1 - shared / whole, 0.0) if whole > 0 else 1.0
    return Spread(records, alone, float(np.std(scores.observed, ddof=1) / np.sqrt(seeds)), seeds)


def combined(function: Callable[..., np.ndarray], *scores: Scores) -> Scores:
    """A function of scores [..., S], of the same draws: a difference, a relative drop."""
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = function(*(one.observed for one in scores))
        drawn = function(*(one.drawn for one in scores))
        left = function(*(one.left for one in scores))
    return Scores(observed, drawn, left, scores[0].labels)


def difference(first: Scores, second: Scores) -> Scores:
    """Seed by seed."""
    return combined(np.subtract, first, second)


def relative_drop(reference: Scores, attacked: Scores, *, own: bool) -> Scores:
    """What is lost under attack, relative to a clean score.

    Args:
        reference: clean. With `own` that of the same networks, seed by seed (`metrics.drop_own`); else that of the
            undefended ones, whose mean over seeds counts (`metrics.drop_ref`).
    """
    if own:
        return combined(lambda clean, under: (clean - under) / clean, reference, attacked)

    def to_mean(clean: np.ndarray, under: np.ndarray) -> np.ndarray:
        # The mean over seeds is 1 - mean(under) / mean(clean), the variance over seeds its own (delta method).
        base = clean.mean(axis=-1, keepdims=True)
        return 1 - under / base + under.mean(axis=-1, keepdims=True) / base * (clean / base - 1)

    return combined(to_mean, reference, attacked)


def interval(scores: Scores, *, bounds: tuple[float, float] = (0.0, 1.0), level: float = LEVEL) -> dict[str, Any]:
    """{"value", "low", "high", "n"}: the mean over seeds as a rate, n the records; of a drop with bounds (-inf, 1)."""
    low, high = np.clip(spread(scores).ends(level), *bounds)
    value = float(scores.observed.mean())
    return {"value": value, "low": float(low), "high": float(high), "n": len(scores.labels)}


def contrast(first: Scores, second: Scores, *, level: float = LEVEL) -> dict[str, Any]:
    """{"difference", "low", "high", "n", "p"}: the first less the second, and the chance of it where there is none."""
    found = spread(difference(first, second))
    low, high = np.clip(found.ends(level), -1.0, 1.0)
    return {
        "difference": found.records.estimate,
        "low": float(low),
        "high": float(high),
        "n": len(first.labels),
        "p": found.p_value(),
    }


def compare_scores(
    labels: np.ndarray,
    predictions: np.ndarray,
    *,
    score: str = "accuracy",
    reference: int | None = None,
    classes: Sequence[str] = CLASSES,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores of several methods or forms on the same records, and their differences to one of them.

    Args:
        labels: int64 [N].
        predictions: int64 [methods, S, N]; the same S seeds of each, paired.
        score: one of SCORES.
        reference: the method that the others are compared with.

    Returns:
        {"score", "n", "seeds", "methods": a rate each, "differences": `contrast` to the reference each, None
        in its own place; None without a reference}.
    """
    draws = Resamples(labels, classes, resamples=resamples, seed=seed)
    scored = [draws.score(predicted, score) for predicted in predictions]
    differences = None
    if reference is not None:
        differences = [
            None if place == reference else contrast(one, scored[reference]) for place, one in enumerate(scored)
        ]
    return {
        "score": score,
        "n": len(labels),
        "seeds": predictions.shape[1],
        "methods": [interval(one) for one in scored],
        "differences": differences,
    }
