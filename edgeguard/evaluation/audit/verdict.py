"""From checks to a verdict, so simple that whoever reads a certificate can repeat it."""

from collections.abc import Sequence

from edgeguard.evaluation.audit.result import Check


def verdict_of(checks: Sequence[Check], *, size: str) -> tuple[str, tuple[str, ...]]:
    """(verdict, reasons).

    A check that fails makes it `degraded`. Else one that is undecided makes it `inconclusive`, but in the quick size,
    which decides nothing: there what shows no harm is `screened`, unless it was shown too few records to look at.
    Else it `survives`.
    """
    failed = tuple(check.reason for check in checks if check.holds is False)
    open_ = [check for check in checks if check.holds is None and check.bar is not None]
    undecided = tuple(check.reason for check in open_)
    if failed:
        return "degraded", failed
    if size == "quick" and not any(check.section == "data" for check in open_):
        return "screened", undecided or ("no check fails",)
    if undecided:
        return "inconclusive", undecided
    return "survives", tuple(check.reason for check in checks if check.holds and check.section == "survival")


def decide(
    figure: float, bar: float, *, sense: str, low: float | None = None, high: float | None = None
) -> bool | None:
    """Whether a figure keeps to its bar; with an interval only where all of it lies on one side, else None.

    Args:
        sense: `least` for a figure that may not lie below the bar, `most` for one that may not lie above it.
    """
    low, high = figure if low is None else low, figure if high is None else high
    if sense == "most":
        low, high, bar = -high, -low, -bar
    if low >= bar:
        return True
    return False if high < bar else None
