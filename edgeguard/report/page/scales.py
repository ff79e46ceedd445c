"""From figures to places on paper, and the round numbers that stand along an axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CROWDED = 12.0
"""Largest radius over least from which radii stand in equal steps, and not to scale: the small ones would touch."""


@dataclass(frozen=True)
class Scale:
    """`low` .. `high` onto `start` .. `end`, linear or logarithmic; what lies outside goes to the nearer end."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """NaN for what has no place: NaN, and on a logarithmic scale what is not above 0."""
        if math.isnan(value) or (self.log and value <= 0):
            return math.nan
        inside = min(max(value, self.low), self.high)
        low, high, at = (
            (math.log(v) for v in (self.low, self.high, inside)) if self.log else (self.low, self.high, inside)
        )
        share = (at - low) / (high - low) if high > low else 0.5
        return self.start + share * (self.end - self.start)


@dataclass(frozen=True)
class Steps:
    """Rising figures in equal steps from `start` to `end`, and what lies between them in between."""

    values: tuple[float, ...]
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The place of a figure."""
        return float(np.interp(value, self.values, np.linspace(self.start, self.end, len(self.values))))


def radii_scale(radii: Sequence[float], start: float, end: float) -> Scale | Steps:
    """Of an attack's radii, 0 among them: to scale where they can be told apart, else in equal steps."""
    above = [eps for eps in radii if eps > 0]
    if not above:
        return Scale(0, 1, start, end)
    if max(above) <= CROWDED * min(above):
        return Scale(0, max(above), start, end)
    return Steps(tuple(sorted({0.0, *above})), start, end)


def round_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` multiples of 1, 2 or 5 times a power of ten within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next((m for m in (1, 2, 5) if m * power >= rough * 0.999), 10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{place * step:.12g}") for place in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten within [low, high]; with their 2 and 5 where there are fewer than three of them."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)

    def within(steps: tuple[int, ...]) -> list[float]:
        return [m * 10.0**p for p in powers for m in steps if low * 0.999 <= m * 10.0**p <= high * 1.001]

    tens = within((1,))
    return tens if len(tens) >= 3 else within((1, 2, 5)) or [low, high]


def time_ticks(seconds: float) -> tuple[list[float], float, str]:
    """(places in seconds, seconds of the unit, the unit) along a signal of that length."""
    for unit, length in (("h", 3600.0), ("min", 60.0)):
        if seconds > 3 * length:
            return [tick * length for tick in round_ticks(0, seconds / length, 8)], length, unit
    return round_ticks(0, seconds, 8), 1.0, "s"
