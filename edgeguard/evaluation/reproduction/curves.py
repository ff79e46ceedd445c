"""Predictions to the curves of Figures 3 to 6."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeguard.evaluation.bootstrap import SCORES, Resamples, interval


def curve(points: Mapping[float, np.ndarray], draws: Resamples) -> dict[str, Any]:
    """One line of a figure: {"x": [...], score: {"value", "low", "high": [...]}}, 95 % intervals.

    Args:
        points: place on the axis -> predictions int64 [S, N].
        draws: of the same records, common to all lines.
    """
    places = sorted(points)
    found: dict[str, Any] = {"x": places}
    for score in SCORES:
        rates = [interval(draws.score(points[place], score)) for place in places]
        found[score] = {key: [rate[key] for rate in rates] for key in ("value", "low", "high")}
    return found
