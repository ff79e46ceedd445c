"""Two files under one black-box attack, with the same records, seeds and budgets: which of them falls nearer?

Record by record, the ratio of the distances at which the two were fooled. A record that only one of them was fooled on
has the ratio 0 or infinity, and counts as such; one that neither was fooled on tells nothing about the ratio.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgeguard.attacks.scheduler import Trace
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.perturbation import NORMS, Norm

_RESAMPLES = 2000
_LEAST_PAIRS = 6
"""The range of 5 ratios covers their population's median with 93.75 %, of 6 with 96.9 %: 1 - 2 / 2^n."""


def compare_traces(
    first: Mapping[int, Trace],
    second: Mapping[int, Trace],
    *,
    names: tuple[str, str],
    queries: Sequence[int],
    radii_uv: Sequence[float],
    norm: Norm = "l2",
    seed: int = 0,
) -> dict[str, Any]:
    """The second file against the first, JSON-ready: None stands for what is infinite or not known.

    Args:
        first, second: record -> what the attack found, for the records that each file gets right.
        names: of the two files, for people.
        queries: counts to compare at, rising, within the budget of both.
        radii_uv: L-inf radii within which a record counts as fooled.
        norm: distance that the sentence is about, `l2` or `linf`.
        seed: of the bootstrap.

    Returns:
        {"first", "second": names, "norm", "n": records that both get right, the only ones that are compared,
        "only_first", "only_second": records that one alone gets right, "curve": [{"queries", "l2", "linf":
        `compare_distances` of each, "success": {radius: second less first, with Tango's interval}}], "sentence"}.
    """
    shared = [record for record in first if record in second]
    curve = []
    for count in queries:
        ours, theirs = (_reached(traces, shared, count) for traces in (second, first))
        point: dict[str, Any] = {"queries": int(count)}
        for place, one in enumerate(NORMS):
            point[one] = compare_distances(theirs[:, place], ours[:, place], seed=seed)
        point["success"] = {f"{eps:g}": _success(theirs[:, 1] <= eps, ours[:, 1] <= eps) for eps in radii_uv}
        curve.append(point)
    return {
        "first": names[0],
        "second": names[1],
        "n": len(shared),
        "only_first": len(first) - len(shared),
        "only_second": len(second) - len(shared),
        "norm": norm,
        "curve": curve,
        "sentence": _sentence(curve[-1], norm, names) if curve else "no queries, no comparison",
    }


def compare_distances(first: np.ndarray, second: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """The ratio second / first of paired distances.

    Args:
        first, second: float [N], above 0, infinite where a record was not fooled.
        seed: of the bootstrap.

    Returns:
        {"ratio": {"value", "low", "high", "n"}: the median over the n records that at least one was fooled on, with the
        95 % percentile interval of a bootstrap over them (between two middle ratios, their geometric mean), "nearer",
        "farther": rates of all records that the second was fooled on at the smaller, at the larger distance,
        "only_first", "only_second", "neither": records fooled}.

        An end is None where it is infinite, and both are where there are fewer than 6 ratios; the value also where it
        lies between a record that only the second and one that only the first was fooled on. A rate is None where
        there are no records.
    """
    fooled_first, fooled_second = np.isfinite(first), np.isfinite(second)
    told = fooled_first | fooled_second
    # In logarithms, so that exchanging the two files turns the ratio, and its interval, into their inverses.
    logs = np.log(second[told]) - np.log(first[told])
    value, low, high = _median_with_interval(logs, seed)
    return {
        "ratio": {"value": _exp(value), "low": _exp(low), "high": _exp(high), "n": len(logs)},
        "nearer": rate(int((second < first).sum()), len(first)) if len(first) else None,
        "farther": rate(int((second > first).sum()), len(first)) if len(first) else None,
        "only_first": int((fooled_first & ~fooled_second).sum()),
        "only_second": int((fooled_second & ~fooled_first).sum()),
        "neither": int((~told).sum()),
    }


def _median_with_interval(values: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Median, low, high; NaN for what is not known. Infinite values are allowed, and no end is interpolated to one."""
    count = len(values)
    if not count:
        return math.nan, math.nan, math.nan
    below, above = (count - 1) // 2, count // 2
    ordered = np.sort(values)
    opposed = ordered[below] == -math.inf and ordered[above] == math.inf
    middle = math.nan if opposed else float(ordered[below] + ordered[above]) / 2
    if count < _LEAST_PAIRS:
        return middle, math.nan, math.nan
    drawn = np.sort(np.random.default_rng(seed).choice(values, (_RESAMPLES, count)), axis=1)
    low = np.quantile(drawn[:, below], 0.025, method="lower")
    high = np.quantile(drawn[:, above], 0.975, method="higher")
    return middle, float(low), float(high)


def _reached(traces: Mapping[int, Trace], records: Sequence[int], queries: int) -> np.ndarray:
    """Distances [records, (L2, L-inf)] in microvolts."""
    return np.array([traces[record].at(queries) for record in records], np.float64).reshape(-1, 2)


def _success(first: np.ndarray, second: np.ndarray) -> dict[str, Any]:
    """The second's share of records fooled, bool [N] each, less the first's."""
    found = paired_difference(second, first)
    return {
        "difference": found["difference"] if found["n"] else None,
        "low": found["low"],
        "high": found["high"],
        "n": found["n"],
        "only_first": found["only_second"],
        "only_second": found["only_first"],
    }


def _exp(logarithm: float) -> float | None:
    return math.exp(logarithm) if logarithm < math.inf else None


def _sentence(point: dict[str, Any], norm: Norm, names: tuple[str, str]) -> str:
    first, second = names
    found = point[norm]
    ratio, told = found["ratio"], f"{NORMS[norm]}, {point['queries']} queries, n = {found['ratio']['n']}"
    if not ratio["n"]:
        return f"no record of {first} or {second} was fooled, or none is right in both: nothing to compare"
    if ratio["value"] is None and found["only_first"] > found["only_second"]:
        claim = f"{second} mostly withstands what fools {first}"
    elif ratio["value"] is None:
        claim = f"{second} and {first} fall on different records"
    else:
        claim = f"{second} falls at {ratio['value']:.2f} times the distance of {first}"
    if ratio["n"] < _LEAST_PAIRS:
        return f"{claim} ({told}): too few records for an interval"
    low, high = (math.inf if ratio[end] is None else ratio[end] for end in ("low", "high"))
    verdict = "no difference seen"
    if high < 1:
        verdict = f"{second} is the easier to fool"
    elif low > 1:
        verdict = f"{second} is the harder to fool"
    return f"{claim} [{low:.2f}, {high:.2f}] ({told}): {verdict}"
