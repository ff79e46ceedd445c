"""Two classifiers on the same records: the paired difference of their accuracies, and whether one is not inferior."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import bisect
from scipy.stats import binomtest, norm

if TYPE_CHECKING:
    from edgeguard.evaluation.evaluate import Evaluation


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


def tango(only_first: int, only_second: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Score interval of a difference of paired proportions; (-1, 1) for no pairs (Tango 1998, eq. 24 to 26).

    The differences that the score test does not reject. Unlike Wald's, it stays within [-1, 1], keeps its level at
    a few hundred records, and has a width where no pair is discordant.
    """
    if n == 0:
        return -1.0, 1.0
    difference, z = (only_first - only_second) / n, norm.ppf((1 + level) / 2)

    def excess(sign: int, at: float) -> float:
        return score(only_first, only_second, n, at) - sign * z

    low = bisect(lambda at: excess(1, at), -1.0, difference) if difference > -1 else -1.0
    high = bisect(lambda at: excess(-1, at), difference, 1.0) if difference < 1 else 1.0
    return float(low), float(high)


def score(only_first: int, only_second: int, n: int, difference: float) -> float:
    """Score statistic of the hypothesis that the paired proportions differ by `difference`: normal under it.

    Tango 1998, eq. 24 to 26 with difference = -Delta; `rare` is the chance of a pair that only the second has right,
    at its maximum likelihood under the hypothesis. At difference 0 it is McNemar's (b - c) / sqrt(b + c).
    """
    b = (2 * n - only_first + only_second) * difference - only_first - only_second
    c = -only_second * difference * (1 - difference)
    rare = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    distance = only_first - only_second - n * difference
    variance = n * (2 * rare + difference * (1 - difference))
    if distance == 0:
        return 0.0
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p of equal paired proportions: a fair coin decides every discordant pair (McNemar 1947)."""
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0


def _clean(evaluation: "Evaluation") -> np.ndarray | None:
    return next((entry.predicted for entry in evaluation.judged if entry.attack.name == "clean"), None)
