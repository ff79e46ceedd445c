"""What Figures 1 and 3 to 6 show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.evaluation.bootstrap import SCORES, Resamples, interval


@dataclass(frozen=True)
class Segment:
    """One record under both attacks, for Figure 1.

    Attributes:
        name: of the record.
        original, pgd, sap: float32 [L] microvolts, without padding.
        said: classes that the undefended network gives to the three, by name.
    """

    name: str
    original: np.ndarray
    pgd: np.ndarray
    sap: np.ndarray
    said: tuple[str, str, str]


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
