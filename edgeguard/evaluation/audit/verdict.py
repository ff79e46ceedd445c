"""From checks to the two verdicts, so simple that whoever reads a certificate can repeat them.

*Export*: is the file what it claims to be, and as good as its float form? *Robustness*: does it keep to the thresholds,
clean and attacked?
"""

from collections.abc import Sequence

from edgeguard.errors import InputError, unknown
from edgeguard.evaluation.audit.result import Check, Verdict

EXPORT, ROBUSTNESS = "export", "robustness"
QUESTIONS = (EXPORT, ROBUSTNESS)
NOT_JUDGED, REPORTED = "not judged", "reported"
PASSED = ("survives", "screened", NOT_JUDGED, REPORTED)
"""Verdicts that let a pipeline go on."""
_EXPORT_SECTIONS = ("ladder", "survival", "stream", "data")
_EXPORT_CHECKS = ("clean_loss", "records")
"""Of other sections: the margin is the export's, and so is the number of records that it needs."""
_ROBUSTNESS_SECTIONS = ("ladder", "clean", "white-box", "masking", "black-box", "confidence", "data")
_SURVIVING = ("survival", "clean")
"""Sections whose lines say why an export survives."""


def checks_of(question: str, checks: Sequence[Check]) -> tuple[Check, ...]:
    """The checks that a verdict is about; that a file is what it claims to be, and enough records, concern both."""
    if question == EXPORT:
        return tuple(one for one in checks if one.section in _EXPORT_SECTIONS or one.name in _EXPORT_CHECKS)
    return tuple(one for one in checks if one.section in _ROBUSTNESS_SECTIONS and one.name not in _EXPORT_CHECKS)


def export_verdict(checks: Sequence[Check], *, size: str, compared: bool) -> Verdict:
    """Whether the file is what it claims to be, and not inferior to its float form.

    `degraded` where a check fails; `not judged` without a float form; `survives` where every one holds; else
    `inconclusive`, or in the quick size, which shows too few records to decide much, `screened`.

    Args:
        compared: whether the file was held against a float form.
    """
    own = checks_of(EXPORT, checks)
    if not compared and all(one.holds is not False for one in own):
        return Verdict(NOT_JUDGED, ("no float form is at hand; name one with --reference",))
    return _verdict(own, why=_SURVIVING, screens=size == "quick")


def robustness_verdict(checks: Sequence[Check], *, size: str, judged: bool) -> Verdict:
    """Whether the file keeps to the thresholds.

    As `export_verdict`; of a file that never claimed to be robust, and of which nobody demands it, the figures are
    `reported` and decide nothing.

    Args:
        judged: whether robustness is claimed or demanded.
    """
    own = checks_of(ROBUSTNESS, checks)
    broken = any(one.holds is False for one in own if one.section == "ladder")
    if not judged and not broken:
        shown = tuple(one.reason for one in own if one.section == "white-box")
        return Verdict(REPORTED, shown or ("nothing is claimed or demanded",))
    found = _verdict(own, why=("white-box",), screens=size == "quick")
    if size == "quick" and found.verdict == "survives":
        # The attacks of the quick size are too few to call anything robust.
        return Verdict("screened", found.reasons or ("no check fails",))
    return found


def _verdict(checks: Sequence[Check], *, why: Sequence[str], screens: bool) -> Verdict:
    """`degraded`, `survives`, `screened` or `inconclusive`.

    Args:
        why: sections whose lines say why a file survives.
        screens: whether what is undecided is no more than a hint to look closer.
    """
    failed = tuple(one.reason for one in checks if one.holds is False)
    if failed:
        return Verdict("degraded", failed)
    undecided = [one for one in checks if one.holds is None and one.bar is not None]
    if not undecided:
        # What a comparison left open because there was nothing to lose stands beside what it showed.
        told = [one for one in checks if one.section in why and (one.holds or one.section == "survival")]
        return Verdict("survives", tuple(one.reason for one in told))
    few = any(one.section == "data" for one in undecided)
    verdict = "screened" if screens and not few else "inconclusive"
    return Verdict(verdict, tuple(one.reason for one in undecided))


def required_verdicts(text: str | Sequence[str] | None, *, compared: bool) -> tuple[str, ...]:
    """The verdicts that an exit code depends on: those named; else export with a float form, robustness without.

    Raises InputError for another name.
    """
    if text is None:
        return (EXPORT,) if compared else (ROBUSTNESS,)
    names = text.split(",") if isinstance(text, str) else text
    named = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    for name in named:
        if name not in QUESTIONS:
            raise unknown("--require", name, QUESTIONS, others=("both with a comma",))
    if not named:
        raise InputError(f"--require: names none; choose {EXPORT}, {ROBUSTNESS} or both with a comma")
    return named


def claims_robustness(defense: str | None) -> bool:
    """Whether a file says that its network was trained by a defence."""
    return defense not in (None, "none")


def asks_robustness(text: str | Sequence[str] | None) -> bool:
    """Whether robustness is among the verdicts that are asked for."""
    return text is not None and ROBUSTNESS in required_verdicts(text, compared=True)


def overall(export: Verdict, robustness: Verdict, required: Sequence[str]) -> Verdict:
    """The gravest of the required verdicts, which decides the exit code."""
    chosen = [{EXPORT: export, ROBUSTNESS: robustness}[name] for name in required]
    order = ("degraded", "inconclusive", "screened", "survives", REPORTED, NOT_JUDGED)
    return min(chosen, key=lambda one: order.index(one.verdict))


def first_verdict(checks: Sequence[Check], *, size: str) -> tuple[str, tuple[str, ...]]:
    """(verdict, reasons) of a certificate of version 1, which had one verdict over all checks."""
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
