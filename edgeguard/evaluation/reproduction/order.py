"""In which order the defences stand, and how far that is the order that the paper found."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from edgeguard.evaluation.bootstrap import Scores, difference, interval


def agreement(ours: Mapping[str, Scores], theirs: Mapping[str, float | None]) -> dict[str, Any]:
    """The order found, best first, and pair by pair whether the paper has it too.

    A pair of defences is decided where the 95 % interval of their paired difference leaves out zero; no correction
    for the number of pairs, so one in twenty may be decided by chance. Defences that the paper's table lacks have a
    place in the order and no part in the rest.

    Args:
        ours: defence -> scores from common resamples.
        theirs: defence -> the paper's score, None where it has none.

    Returns:
        {"found", "paper": [[defence, score], ...], best first, "known": how many of the paper's, "pairs",
        "kendall_tau": tau-a with its middle 95 % over the resamples of records, or None, "same", "reversed": decided
        pairs in the paper's order and against it, "open": the others, "reversed_pairs": [[better here, better there],
        ...]}.
    """
    values = {name: float(scores.observed.mean()) for name, scores in ours.items()}
    paper = {name: float(score) for name in ours if (score := theirs.get(name)) is not None}
    counts = {"same": 0, "reversed": 0, "open": 0}
    reversed_pairs = []
    pairs = list(combinations(paper, 2))
    for pair in pairs:
        worse, better = sorted(pair, key=lambda name: paper[name])
        found = interval(difference(ours[better], ours[worse]), bounds=(-1.0, 1.0))
        kind = "same" if found["low"] > 0 else "reversed" if found["high"] < 0 else "open"
        counts[kind] += 1
        if kind == "reversed":
            reversed_pairs.append([worse, better])
    return {
        "found": _best_first(values),
        "paper": _best_first(paper),
        "known": len(paper),
        "pairs": len(pairs),
        "kendall_tau": _tau({name: ours[name] for name in paper}, list(paper.values())) if pairs else None,
        **counts,
        "reversed_pairs": reversed_pairs,
    }


def _tau(ours: Mapping[str, Scores], reference: list[float]) -> dict[str, float]:
    """Kendall's tau-a with a reference: pairs in its order less pairs against it, as a share of all."""
    first, second = np.triu_indices(len(reference), 1)
    order = np.sign(np.subtract.outer(reference, reference)[first, second])

    def tau(scores: np.ndarray) -> np.ndarray:
        return np.asarray((np.sign(scores[first] - scores[second]) * order[:, None]).mean(0))

    value = tau(np.array([[one.observed.mean()] for one in ours.values()]))[0]
    low, high = np.percentile(tau(np.stack([one.drawn.mean(1) for one in ours.values()])), [2.5, 97.5])
    return {"value": float(value), "low": float(low), "high": float(high)}


def _best_first(scores: Mapping[str, float]) -> list[list[Any]]:
    return [[name, scores[name]] for name in sorted(scores, key=lambda name: -scores[name])]
