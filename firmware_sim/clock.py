"""A sampling clock that is off, and the samples that it takes."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import pi

import numpy as np

from edgeguard.errors import InputError
from edgeguard.firmware_sim.indexed import BLOCK, Indexed
from edgeguard.firmware_sim.samples import State, saved

_POINTS = 6


@dataclass(frozen=True)
class Clock:
    """When samples are taken that the firmware believes to be a regular grid.

    Attributes:
        error: parts per million by which the clock runs too fast.
        wander: parts per million of slow deviation to either side of it.
        period: seconds of the wander.
    """

    error: float = 0.0
    wander: float = 0.0
    period: float = 3600.0

    def __post_init__(self) -> None:
        """InputError for an error beyond 10 %, or a period that is not above 0."""
        if not (abs(self.error) + abs(self.wander) <= 1e5 and self.period > 0):
            raise InputError(
                f"clock: {self.error:g} ppm, wander {self.wander:g} ppm in {self.period:g} s; "
                "give at most 100000 ppm and a period above 0"
            )

    @property
    def perfect(self) -> bool:
        """Is every sample where it is believed to be?"""
        return self.error == 0 and self.wander == 0

    def positions(self, rate: float) -> Indexed:
        """True time of sample n, in samples of the nominal `rate`: the integral of 1 - error - wander sin."""
        swing = self.wander * 1e-6 * self.period * rate / (2 * pi)

        def block(b: int) -> np.ndarray:
            index = np.arange(b * BLOCK, (b + 1) * BLOCK, dtype=np.float64)
            phase = index / (self.period * rate) % 1.0
            return index / (1 + self.error * 1e-6) - swing * (1 - np.cos(2 * pi * phase))

        return Indexed(block)


class ClockSampler:
    """Samples of a regular grid taken by another clock, by six-point Lagrange interpolation.

    At 512 Hz the interpolation's error is below 1e-4 of a 40 Hz component. Before the first sample the signal
    holds its first value.
    """

    def __init__(self, clock: Clock, rate: float) -> None:
        """`rate`: hertz of the grid."""
        self._perfect = clock.perfect
        self._most = 1 + 2e-6 * (abs(clock.error) + abs(clock.wander))
        self._positions = clock.positions(rate)
        self._made = 0
        self._kept = np.zeros(0)
        self._first = -(_POINTS // 2)

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Float64 [m]: what the clock has sampled once samples [n] are known."""
        if self._perfect or len(samples) == 0:
            return samples
        if self._made == 0 and len(self._kept) == 0:
            self._kept = np.full(_POINTS // 2, samples[0])
        buffer = np.concatenate([self._kept, samples])
        last = self._first + len(buffer) - 1 - _POINTS // 2
        at = self._positions.take(self._made, int(len(samples) * self._most) + 2 * _POINTS)
        at = at[: int(np.searchsorted(at, last, side="right"))]
        whole = np.floor(at).astype(np.int64)
        out = _lagrange(buffer, whole - (_POINTS // 2 - 1) - self._first, at - whole)
        self._made += len(out)
        following = int(np.floor(self._positions.take(self._made, 1)[0])) - (_POINTS // 2)
        first = min(max(following, self._first), self._first + len(buffer))
        self._kept = buffer[first - self._first :].copy()
        self._first = first
        return out

    def state(self) -> State:
        """What `restore` takes."""
        return {"kept": self._kept.copy(), "count": np.array([self._first, self._made])}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._kept = saved(state, "kept")
        self._first, self._made = (int(count) for count in saved(state, "count", (2,)))


def _lagrange(buffer: np.ndarray, first: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    """Values [m] between points 2 and 3 of the six from buffer[first] on, at `fraction` of the way."""
    out = np.zeros(len(first))
    nodes = range(-(_POINTS // 2 - 1), _POINTS // 2 + 1)
    for k, node in enumerate(nodes):
        weight = np.ones(len(first))
        for other in nodes:
            if other != node:
                weight *= (fraction - other) / (node - other)
        out += weight * buffer[first + k]
    return out
