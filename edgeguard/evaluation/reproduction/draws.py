"""Scores of many classifiers on resampled records: one draw of records, and of seeds, for all of them."""

from collections.abc import Mapping

import numpy as np

from edgeguard.evaluation.metrics import class_f1

METRICS = ("accuracy", "f1", "cinc_f1")
"""Accuracy; F1 as the mean of all classes (ADT paper, eq. 12); F1 as the mean of N, A and O (the CinC 2017 score)."""
_RESAMPLES = 2000


def score_confusions(confusion: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Metric -> [...] of confusion matrices [..., C, C]; a class neither true nor predicted does not count."""
    f1 = class_f1(confusion)
    rated = [classes.index(name) for name in ("N", "A", "O") if name in classes]
    total = confusion.sum((-1, -2))
    hits = np.trace(confusion, axis1=-2, axis2=-1)
    share = np.divide(hits, total, out=np.full(np.shape(total), np.nan), where=total > 0)
    return {"accuracy": share, "f1": _mean_of_defined(f1), "cinc_f1": _mean_of_defined(f1[..., rated])}


class Draws:
    """Resamples of records, stratified by true class, and of seeds.

    Differences and ratios of scores that come from one object are paired: record by record, seed by seed.

    Args:
        labels: int64 [N].
        seeds: networks of each defence; one is never resampled.
    """

    def __init__(self, labels: np.ndarray, classes: tuple[str, ...], *, seeds: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._labels, self._classes = labels, classes
        self._weights = np.zeros((_RESAMPLES, len(labels)))
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            even = np.full(len(members), 1 / len(members))
            self._weights[:, members] = rng.multinomial(len(members), even, size=_RESAMPLES)
        self._seeds = rng.integers(seeds, size=(_RESAMPLES, seeds))

    def scores(self, predicted: np.ndarray) -> dict[str, np.ndarray]:
        """Metric -> [R]: the mean over seeds of predictions int64 [S, N], in each resample."""
        found = [score_confusions(self._confusions(row), self._classes) for row in predicted]
        by_seed = {metric: np.stack([one[metric] for one in found], axis=1) for metric in METRICS}
        return {metric: np.take_along_axis(rows, self._seeds, 1).mean(1) for metric, rows in by_seed.items()}

    def _confusions(self, predicted: np.ndarray) -> np.ndarray:
        """[R, C, C] of predictions [N]."""
        count = len(self._classes)
        cells = np.eye(count * count)[self._labels * count + predicted]
        return (self._weights @ cells).reshape(_RESAMPLES, count, count)


def interval(values: np.ndarray) -> tuple[float, float]:
    """(low, high): the middle 95 % of what the draws gave."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def seed_scores(labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Metric -> [S] of predictions int64 [S, N]."""
    count = len(classes)
    cells = [np.bincount(labels * count + row, minlength=count * count).reshape(count, count) for row in predicted]
    return score_confusions(np.stack(cells), classes)


def means(scores: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Metric -> mean over seeds."""
    return {metric: float(np.mean(values)) for metric, values in scores.items()}


def _mean_of_defined(f1: np.ndarray) -> np.ndarray:
    defined = np.isfinite(f1)
    count = defined.sum(-1)
    total = np.where(defined, f1, 0).sum(-1)
    return np.divide(total, count, out=np.full(np.shape(count), np.nan), where=count > 0)
