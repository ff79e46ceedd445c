"""Can the signal be used? One figure a hop, from what a watch knows without a reference.

Three things make a sample worthless: it is lost or its electrode is off, it lies at a rail, or its whole hop is flat.
Muscle and contact noise make a hop doubtful; they show in the median slope, since QRS complexes, the only steep part
of a clean ECG, take less than half of the time. The figure is the share of good signal in the window, and so it says
how much of what the network sees can be trusted.

Sources of the indices: Clifford, Behar, Li and Rezek 2012 (Physiological Measurement 33:1419-1433) for flat line, rails
and the power of high frequencies; the slope is the cheapest high-pass filter there is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgeguard.errors import InputError


@dataclass(frozen=True)
class QualityLimits:
    """Where signal stops being good.

    The two slopes are quantiles of the median slope of CinC-2017 training records: 95 % of the rhythms lie below the
    first, 90 % of the recordings of class ~ below the second.

    Attributes:
        flat: a hop whose samples span fewer microvolts is a flat line; an electrode on the skin brings more
            noise than that.
        calm: median slope in microvolts a second up to which a hop is good.
        noisy: median slope from which it is worthless; in between its grade falls in a straight line.
    """

    flat: float = 10.0
    calm: float = 2_400.0
    noisy: float = 8_000.0


class QualityMeter:
    """Grades hops and tells the mean grade of the latest window."""

    def __init__(
        self,
        *,
        sampling_rate: float,
        window_hops: int,
        rails: tuple[float, float] = (-np.inf, np.inf),
        limits: QualityLimits | None = None,
    ) -> None:
        """A fresh stream.

        Args:
            sampling_rate: hertz of the samples.
            window_hops: hops of a window, at least 1.
            rails: microvolts at and beyond which a sample is saturated.
        """
        self._sampling_rate = sampling_rate
        self._rails = rails
        self._limits = limits or QualityLimits()
        self._grades = np.full(window_hops, np.nan)

    def push(self, samples: np.ndarray, *, invalid: np.ndarray | None = None) -> float:
        """Take the samples of one hop; the quality, 0 to 1, of the window that ends with it.

        While the first window is not full, of the hops so far.

        Args:
            samples: [n] microvolts; none for a hop that was lost.
            invalid: bool [n], True where a sample is lost or its electrode off.
        """
        self._grades[:-1] = self._grades[1:]
        self._grades[-1] = grade(
            samples, sampling_rate=self._sampling_rate, invalid=invalid, rails=self._rails, limits=self._limits
        )
        return float(np.nanmean(self._grades))

    def reset(self) -> None:
        """Begin a new stream."""
        self._grades[:] = np.nan

    def state(self) -> dict[str, np.ndarray]:
        """The latest grades, float64 [window_hops], NaN before the start; a copy."""
        return {"grades": self._grades.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a saved state; InputError for one of another window."""
        if "grades" not in state or state["grades"].shape != self._grades.shape:
            raise InputError(
                f"quality: the saved state has no grades of {len(self._grades)} hops; restart with the hop that it "
                "was saved under, or without it"
            )
        self._grades = np.array(state["grades"], np.float64)


def grade(
    samples: np.ndarray,
    *,
    sampling_rate: float,
    invalid: np.ndarray | None = None,
    rails: tuple[float, float] = (-np.inf, np.inf),
    limits: QualityLimits | None = None,
) -> float:
    """The grade, 0 to 1, of one stretch of about a second: the share of usable samples times the grade of their noise.

    Args:
        samples: [n] microvolts.
        sampling_rate: hertz.
        invalid: bool [n], True where a sample is lost or its electrode off.
        rails: microvolts at and beyond which a sample is saturated.
    """
    limits = limits or QualityLimits()
    usable = (samples > rails[0]) & (samples < rails[1])
    if invalid is not None:
        usable &= ~invalid
    pairs = usable[1:] & usable[:-1]
    if not pairs.any() or np.ptp(samples[usable]) < limits.flat:
        return 0.0
    slope = float(np.median(np.abs(np.diff(samples)[pairs]))) * sampling_rate
    calm = np.clip((limits.noisy - slope) / (limits.noisy - limits.calm), 0.0, 1.0)
    return float(calm * np.mean(usable))
