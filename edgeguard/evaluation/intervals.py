"""95 % intervals: no rate is printed without one."""

from typing import Any

import numpy as np
from scipy.stats import binomtest

from edgeguard.evaluation.metrics import accuracy, class_f1, macro_f1

_RESAMPLES = 2000


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


def f1_rate(confusion: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """Macro F1 with the percentile interval of a bootstrap over records, stratified by true class.

    Resampling the records of one class is one multinomial draw of its row.
    """
    rng = np.random.default_rng(seed)
    rows = [
        rng.multinomial(row.sum(), row / row.sum(), size=_RESAMPLES)
        if row.sum()
        else np.zeros((_RESAMPLES, len(row)), int)
        for row in confusion
    ]
    drawn = class_f1(np.stack(rows, axis=1))
    held = np.isfinite(drawn).any(axis=1)
    means = np.nanmean(drawn[held], axis=1) if held.any() else np.array([np.nan])
    low, high = np.percentile(means, [2.5, 97.5])
    return {"value": macro_f1(confusion), "low": float(low), "high": float(high), "n": int(confusion.sum())}
