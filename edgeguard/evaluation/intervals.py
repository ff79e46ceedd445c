"""95 % intervals: no rate is printed without one."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.stats import binomtest

from edgeguard.evaluation.bca import bca, without_one
from edgeguard.evaluation.metrics import accuracy, mean_f1

_RESAMPLES = 2000


@lru_cache(maxsize=4096)
def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion; (0, 1) for no records (Wilson 1927)."""
    if n == 0:
        return 0.0, 1.0
    interval = binomtest(int(successes), int(n)).proportion_ci(level, method="wilson")
    return float(interval.low), float(interval.high)


def rate(successes: int, n: int) -> dict[str, Any]:
    """{"value", "low", "high", "n"} of a proportion with its Wilson interval."""
    low, high = wilson(successes, n)
    return {"value": successes / n if n else float("nan"), "low": low, "high": high, "n": int(n)}


def accuracy_rate(confusion: np.ndarray) -> dict[str, Any]:
    """Accuracy of a confusion matrix as a rate."""
    return {**rate(int(np.trace(confusion)), int(confusion.sum())), "value": accuracy(confusion)}


def f1_rate(confusion: np.ndarray, chosen: Sequence[int] | None = None, *, seed: int = 0) -> dict[str, Any]:
    """Macro F1 with the BCa interval of a bootstrap over records, stratified by true class.

    Args:
        chosen: places of the classes whose F1 counts; None: all.

    Resampling the records of one class is one multinomial draw of its row. A class of a few records says little of
    itself: below some fifteen in the smallest the interval is too narrow (docs/statistics.md).
    """
    rng = np.random.default_rng(seed)
    rows = [
        rng.multinomial(row.sum(), row / row.sum(), size=_RESAMPLES)
        if row.sum()
        else np.zeros((_RESAMPLES, len(row)), int)
        for row in confusion
    ]
    drawn, left = mean_f1(np.stack(rows, axis=1), chosen), mean_f1(without_one(confusion), chosen)
    value = float(mean_f1(confusion, chosen))
    strata = np.repeat(np.arange(len(confusion)), len(confusion))
    low, high = bca(value, drawn, left.ravel(), strata, confusion.ravel()).ends()
    return {"value": value, "low": low, "high": high, "n": int(confusion.sum())}
