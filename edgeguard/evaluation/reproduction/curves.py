"""Predictions to the curves of Figures 3 to 6."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeguard.evaluation.reproduction.draws import METRICS, Draws, interval, seed_scores


def curve(
    labels: np.ndarray, classes: tuple[str, ...], points: Mapping[float, np.ndarray], draws: Draws
) -> dict[str, Any]:
    """One line of a figure: {"x": [...], metric: {"value", "low", "high": [...]}}, 95 % intervals.

    Args:
        labels: int64 [N].
        points: place on the axis -> predictions int64 [S, N].
        draws: of the same records, common to all lines.
    """
    places = sorted(points)
    found: dict[str, Any] = {metric: {"value": [], "low": [], "high": []} for metric in METRICS}
    for place in places:
        values, drawn = seed_scores(labels, points[place], classes), draws.scores(points[place])
        for metric in METRICS:
            low, high = interval(drawn[metric])
            for key, value in (("value", float(values[metric].mean())), ("low", low), ("high", high)):
                found[metric][key].append(value)
    return {"x": list(places), **found}
