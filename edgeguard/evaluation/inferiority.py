"""The rule by which an export survives: not inferior to its reference by more than a margin fixed beforehand."""

from edgeguard.evaluation.wilson import wilson_interval

VERDICTS = ("survives", "degraded", "inconclusive")


def has_nothing_to_lose(right: int, n: int, margin: float) -> bool:
    """Whether a reference is so often wrong that no export of it could lose the margin.

    Args:
        right: records that the reference has right in the worst case, of `n`.
    """
    return n == 0 or wilson_interval(right / n, n)[0] <= margin


def verdict_of(low: float, high: float, margin: float, *, nothing_to_lose: bool = False) -> str:
    """One of VERDICTS, from the interval of exported less reference.

    Args:
        nothing_to_lose: as `has_nothing_to_lose` finds it; it makes "survives" mean nothing.
    """
    if nothing_to_lose and high >= -margin:
        return "inconclusive"
    if low > -margin:
        return "survives"
    return "degraded" if high < -margin else "inconclusive"
