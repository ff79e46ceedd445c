"""Two classifiers on the same records: the paired difference of their accuracies, and whether one is not inferior."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest, norm

from edgeguard.evaluation.intervals import wilson

if TYPE_CHECKING:
    from edgeguard.evaluation.evaluate import Evaluation

Count = float | np.ndarray
_BISECTIONS = 52


def compare(first: "Evaluation", second: "Evaluation", *, margin: float) -> dict[str, Any]:
    """The first classifier minus the second, in clean accuracy and in the worst case, as the JSON contract names it.

    Args:
        first, second: judged on the same records under the same attacks.
        margin: largest inferiority that is accepted, as a share of the records.

    Returns:
        {"clean", "worst_case", "margin", "holds"}: `paired_difference` of each (clean: None where clean records were
        not judged), the margin, and whether the worst case's lower bound lies above -margin, which is the claim "not
        inferior" at one-sided 2.5 % (Tango 1998, section 2).
    """
    labels = first.labels
    if not np.array_equal(labels, second.labels):
        raise ValueError("two evaluations of the same records are needed")
    ours, theirs = _clean(first), _clean(second)
    worst = paired_difference(first.worst_case() == labels, second.worst_case() == labels)
    return {
        "clean": None if ours is None or theirs is None else paired_difference(ours == labels, theirs == labels),
        "worst_case": worst,
        "margin": margin,
        "holds": worst["low"] > -margin,
    }


def paired_difference(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """The first's share of records less the second's.

    Args:
        first, second: bool [N], whether each classifier has the record right.

    Returns:
        {"difference", "low", "high", "n", "mcnemar_p", "only_first", "only_second"}: shares of the n records with
        Tango's 95 % interval, exact McNemar p, and the records that one alone has right.
    """
    n = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    low, high = tango(only_first, only_second, n)
    return {
        "difference": (only_first - only_second) / n if n else math.nan,
        "low": low,
        "high": high,
        "n": n,
        "mcnemar_p": mcnemar(only_first, only_second),
        "only_first": only_first,
        "only_second": only_second,
    }


def tango(only_first: Count, only_second: Count, n: int, level: float = 0.95) -> tuple[Any, Any]:
    """Score interval of a difference of paired proportions; (-1, 1) for no pairs (Tango 1998, eq. 24 to 26).

    The differences that the score test does not reject. Unlike Wald's, it stays within [-1, 1], keeps its level at
    a few hundred records, and has a width where no pair is discordant. Every verdict is read off this interval, because
    it is the test of non-inferiority that it inverts: its lower end lies above -margin exactly where that test rejects.

    Args:
        only_first, only_second: counts, or arrays of counts for as many intervals of n pairs each.
    """
    if n == 0:
        return -1.0, 1.0
    first, second = np.asarray(only_first, float), np.asarray(only_second, float)
    z = norm.ppf((1 + level) / 2)

    def end(sign: int) -> Any:
        inside = (first - second) / n
        outside = np.full(inside.shape, -float(sign))
        for _ in range(_BISECTIONS):
            middle = (inside + outside) / 2
            rejected = sign * score(first, second, n, middle) > z
            inside, outside = np.where(rejected, inside, middle), np.where(rejected, middle, outside)
        found = (inside + outside) / 2
        return found if found.ndim else float(found)

    return end(1), end(-1)


def newcombe(
    both_right: int, only_first: int, only_second: int, both_wrong: int, level: float = 0.95
) -> tuple[float, float]:
    """Square-and-add interval of a difference of paired proportions; (-1, 1) for no pairs (Newcombe 1998, method 10).

    Wilson's intervals of the two proportions, added in quadrature with their correlation, which is taken down by half
    a record. A closed form that shares nothing with `tango`: a second opinion, by which nothing is decided. It inverts
    no test, and where two classifiers agree on nearly every record, as the forms of one network do, it holds the truth
    in 98 to 100 % of samples (`benchmarks/coverage.py`).
    """
    n = both_right + only_first + only_second + both_wrong
    if n == 0:
        return -1.0, 1.0
    first, second = both_right + only_first, both_right + only_second
    (first_low, first_high), (second_low, second_high) = wilson(first, n, level), wilson(second, n, level)
    product = float(both_right * both_wrong - only_first * only_second)
    if product > 0:
        product = max(product - n / 2, 0.0)
    spread = math.sqrt(first * (n - first) * second * (n - second))
    correlation = product / spread if spread else 0.0

    def half(one: float, other: float) -> float:
        return math.sqrt(max(one**2 - 2 * correlation * one * other + other**2, 0.0))

    difference = (only_first - only_second) / n
    below = half(first / n - first_low, second_high - second / n)
    above = half(second / n - second_low, first_high - first / n)
    return difference - below, difference + above


def score(only_first: Count, only_second: Count, n: int, difference: Count) -> Any:
    """Score statistic of the hypothesis that the paired proportions differ by `difference`: normal under it.

    Tango 1998, eq. 24 to 26 with difference = -Delta. At difference 0 it is McNemar's (b - c) / sqrt(b + c).

    Args:
        only_first, only_second, difference: numbers, or arrays for as many statistics.
    """
    distance = np.asarray(only_first, float) - only_second - n * difference
    variance = n * np.asarray(restricted_variance(only_first, only_second, n, difference))
    known = variance > 0
    statistic = distance / np.sqrt(np.where(known, variance, 1.0))
    return np.where(distance == 0, 0.0, np.where(known, statistic, np.copysign(np.inf, distance)))[()]


def restricted_variance(only_first: Count, only_second: Count, n: int, difference: Count) -> Any:
    """Variance of a pair's difference under that hypothesis: 2 q + difference (1 - difference).

    q, the chance of a pair that only the second has right, is at its maximum likelihood under the hypothesis. With
    n = 1 the counts may be shares.
    """
    first, second = np.asarray(only_first, float), np.asarray(only_second, float)
    b = (2 * n - first + second) * difference - first - second
    c = -second * difference * (1 - difference)
    q = (np.sqrt(np.maximum(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    return 2 * q + difference * (1 - difference)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of equal paired proportions: a fair coin decides every discordant pair (McNemar 1947)."""
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def _clean(evaluation: "Evaluation") -> np.ndarray | None:
    return next((entry.predicted for entry in evaluation.judged if entry.attack.name == "clean"), None)
