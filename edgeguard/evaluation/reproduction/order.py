"""In which order the defences stand, and how far that is the order that the paper found."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from edgeguard.evaluation.reproduction.draws import interval


def agreement(
    ours: Mapping[str, float], drawn: Mapping[str, np.ndarray], theirs: Mapping[str, float | None]
) -> dict[str, Any]:
    """The order found, best first, and pair by pair whether the paper has it too.

    A pair of defences is decided where the 95 % interval of their paired difference leaves out zero; no correction
    for the number of pairs, so one in twenty may be decided by chance. Defences whose score in the paper is not known
    have a place in the order and no part in the rest.

    Args:
        ours: defence -> score.
        drawn: defence -> [R], the scores in common resamples.
        theirs: defence -> the paper's score, None where it is not known.

    Returns:
        {"found", "paper": defences, best first, "known": how many of the paper's, "pairs", "kendall_tau": tau-a with
        its interval over the resamples or None, "same", "reversed": decided pairs in the paper's order and against it,
        "open": the others, "reversed_pairs": [[better here, better there], ...]}.
    """
    known = [name for name in ours if theirs.get(name) is not None]
    counts = {"same": 0, "reversed": 0, "open": 0}
    reversed_pairs = []
    paper = np.array([theirs[name] for name in known], float)
    pairs = list(combinations(range(len(known)), 2))
    for first, second in pairs:
        better, worse = (first, second) if paper[first] > paper[second] else (second, first)
        low, high = interval(drawn[known[better]] - drawn[known[worse]])
        kind = "same" if low > 0 else "reversed" if high < 0 else "open"
        counts[kind] += 1
        if kind == "reversed":
            reversed_pairs.append([known[worse], known[better]])
    tau = None
    if pairs:
        low, high = interval(_kendall(np.stack([drawn[name] for name in known]), paper))
        value = float(_kendall(np.array([[ours[name]] for name in known]), paper)[0])
        tau = {"value": value, "low": low, "high": high}
    return {
        "found": sorted(ours, key=lambda name: -ours[name]),
        "paper": sorted(known, key=lambda name: -(theirs[name] or 0)),
        "known": len(known),
        "pairs": len(pairs),
        "kendall_tau": tau,
        **counts,
        "reversed_pairs": reversed_pairs,
    }


def _kendall(scores: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """[R]: Kendall's tau-a of scores [K, R] with a reference [K]: pairs in its order less pairs against it, a share."""
    first, second = np.triu_indices(len(reference), 1)
    signs = np.sign(scores[first] - scores[second]) * np.sign(reference[first] - reference[second])[:, None]
    return np.asarray(signs.mean(0))
