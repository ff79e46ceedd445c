"""Figures against bars: the conditions of the verdict, each decided by `verdict.decide`."""

import math

from edgeguard.evaluation.audit.result import Check, Rate
from edgeguard.evaluation.audit.verdict import decide

_Z = 1.96
"""Of 95 %."""


def rate_check(name: str, section: str, rate: Rate, bar: float | None, *, sense: str, what: str) -> Check:
    """A rate that may not lie below its bar (`least`) or above it (`most`); without a bar it is stated only.

    Args:
        what: the figure, for people: `accuracy on clean records`.
    """
    shown = f"{what} {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}], n = {rate.n}"
    if bar is None:
        return Check(name, section, None, _number(rate.value), None, f"{shown}; nothing is demanded of it")
    demanded = f"at {sense} {bar:g} demanded"
    if not math.isfinite(rate.value):
        return Check(
            name, section, None, None, bar, f"{what} cannot be told of {rate.n} records; {demanded}", None, sense
        )
    holds = decide(rate.value, bar, sense=sense, low=rate.low, high=rate.high)
    needed = records_to_decide(rate, bar) if holds is None else None
    reason = f"{shown}; {demanded}{needed_text(needed) if holds is None else ''}"
    return Check(name, section, holds, rate.value, bar, reason, needed, sense, rate.low, rate.high)


def records_to_decide(rate: Rate, bar: float) -> int | None:
    """Records at which the interval would leave the bar aside, were the figure the same; None where it lies on the bar.

    The larger of two reckonings: that the interval's width falls with the root of n, and that of a share Wilson's
    interval ends where the score test does, |p - bar| = z sqrt(bar (1 - bar) / n), which at the ends of the scale is
    more.
    """
    distance = abs(rate.value - bar)
    reach = rate.value - rate.low if rate.value > bar else rate.high - rate.value
    if distance == 0 or not math.isfinite(reach):
        return None
    by_width = rate.n * (reach / distance) ** 2
    by_score = _Z**2 * bar * (1 - bar) / distance**2 if 0 < bar < 1 else 0.0
    return max(math.ceil(by_width), math.ceil(by_score), rate.n + 1)


def needed_text(needed: int | None) -> str:
    """What an undecided check says of its lack of records."""
    return "; no number of records would tell" if needed is None else f"; about {needed:,} records would tell"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
