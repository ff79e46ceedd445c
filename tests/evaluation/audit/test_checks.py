"""Figures against bars, and the verdict that follows from them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.checks import rate_check, records_to_decide
from edgeguard.evaluation.audit.result import Check, Rate
from edgeguard.evaluation.audit.verdict import (
    export_verdict,
    first_verdict,
    overall,
    required_verdicts,
    robustness_verdict,
)
from edgeguard.evaluation.intervals import rate

HOLDS, FAILS = Check("a", "clean", True, 1, 0, "holds"), Check("b", "clean", False, 0, 1, "fails")
OPEN, STATED = Check("c", "clean", None, 0, 1, "open"), Check("d", "clean", None, 0, None, "stated")
FEW = Check("e", "data", None, 3, 9, "few")
KEPT = Check("f", "survival", True, 0, -1, "kept")


@pytest.mark.parametrize(
    ("checks", "quick", "other", "reasons"),
    [
        ([HOLDS, KEPT, STATED], "screened", "survives", ("kept",)),
        ([HOLDS], "screened", "survives", ()),
        ([STATED, STATED], "screened", "survives", ()),
        ([HOLDS, OPEN], "screened", "inconclusive", ("open",)),
        ([HOLDS, FEW, OPEN], "inconclusive", "inconclusive", ("few", "open")),
        ([OPEN, FAILS, FEW, KEPT], "degraded", "degraded", ("fails",)),
    ],
)
def test_the_rule(checks: list[Check], quick: str, other: str, reasons: tuple[str, ...]) -> None:
    """Of certificates of the first version."""
    assert first_verdict(checks, size="quick")[0] == quick
    for size in ("default", "full"):
        assert first_verdict(checks, size=size) == (other, reasons)


BROKEN = Check("failing_rungs", "ladder", False, 1, 0, "broken")
LOST, LOST_CLEAN = (
    Check("g", "survival", False, -1, 0, "lost"),
    Check("clean_loss", "clean", False, -1, 0, "lost clean"),
)
UNSURE = Check("h", "survival", None, -0.01, 0, "unsure")
FALLEN = Check("robustness_loss", "white-box", False, 0.5, 0.15, "fallen")


@pytest.mark.parametrize(
    ("checks", "quick", "other"),
    [
        ([KEPT, STATED], "survives", "survives"),
        ([KEPT, FALLEN, FAILS], "survives", "survives"),
        ([KEPT, UNSURE], "screened", "inconclusive"),
        ([KEPT, UNSURE, FEW], "inconclusive", "inconclusive"),
        ([KEPT, LOST], "degraded", "degraded"),
        ([KEPT, LOST_CLEAN], "degraded", "degraded"),
        ([KEPT, BROKEN], "degraded", "degraded"),
    ],
)
def test_an_export_is_judged_against_its_float_form_alone(checks: list[Check], quick: str, other: str) -> None:
    assert export_verdict(checks, size="quick", compared=True).verdict == quick
    assert export_verdict(checks, size="default", compared=True).verdict == other


def test_without_a_float_form_an_export_is_not_judged() -> None:
    assert export_verdict([KEPT, UNSURE], size="default", compared=False).verdict == "not judged"
    assert export_verdict([BROKEN], size="default", compared=False).verdict == "degraded"


@pytest.mark.parametrize(
    ("checks", "judged", "quick", "other"),
    [
        ([HOLDS, LOST, LOST_CLEAN], True, "screened", "survives"),
        ([HOLDS, OPEN], True, "screened", "inconclusive"),
        ([HOLDS, FALLEN], True, "degraded", "degraded"),
        ([FAILS, FALLEN, OPEN], False, "reported", "reported"),
        ([HOLDS, BROKEN], False, "degraded", "degraded"),
    ],
)
def test_robustness_is_judged_where_it_is_claimed(checks: list[Check], judged: bool, quick: str, other: str) -> None:
    assert robustness_verdict(checks, size="quick", judged=judged).verdict == quick
    assert robustness_verdict(checks, size="default", judged=judged).verdict == other


def test_the_graver_of_the_required_verdicts_decides() -> None:
    export = export_verdict([KEPT], size="default", compared=True)
    robustness = robustness_verdict([FALLEN], size="default", judged=True)
    assert overall(export, robustness, ["export"]) == export
    assert (
        overall(export, robustness, ["robustness"])
        == robustness
        == overall(export, robustness, ["export", "robustness"])
    )
    assert required_verdicts(None, compared=True) == ("export",)
    assert required_verdicts(None, compared=False) == ("robustness",)
    assert required_verdicts("robustness, export", compared=False) == ("robustness", "export")
    for text in ("", "clean", []):
        with pytest.raises(InputError, match="--require"):
            required_verdicts(text, compared=True)


@pytest.mark.parametrize(
    ("sense", "bar", "holds"),
    [("least", 0.7, True), ("least", 0.8, None), ("least", 0.9, False), ("most", 0.7, False), ("most", 0.9, True)],
)
def test_the_whole_interval_decides(sense: str, bar: float, holds: bool | None) -> None:
    found = rate_check("x", "clean", Rate(0.8, 0.75, 0.85, 100), bar, sense=sense, what="accuracy")
    assert found.holds is holds and (found.low, found.high, found.bar) == (0.75, 0.85, bar)
    assert "accuracy 0.800 [0.750, 0.850], n = 100" in found.reason and f"at {sense} {bar:g} demanded" in found.reason
    assert (found.needed is not None) == (holds is None and bar != 0.8)


def test_without_a_bar_a_figure_is_stated() -> None:
    found = rate_check("x", "clean", Rate(0.8, 0.75, 0.85, 100), None, sense="least", what="accuracy")
    assert (found.holds, found.bar, found.figure, found.sense) == (None, None, 0.8, None)
    nothing = rate_check("x", "clean", Rate(float("nan"), 0.0, 1.0, 0), 0.5, sense="least", what="accuracy")
    assert (nothing.holds, nothing.figure, nothing.bar) == (None, None, 0.5)


def wilson(share: float, n: float) -> tuple[float, float]:
    """The interval of a share of n, of a whole number of records or not (Wilson 1927)."""
    z = 1.959964
    middle, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


@given(right=st.integers(1, 99), bar=st.floats(0.02, 0.98))
def test_with_the_records_that_it_needs_a_share_is_decided(right: int, bar: float) -> None:
    found = Rate(**rate(right, 100))
    if not found.low < bar < found.high or abs(found.value - bar) < 0.001:
        return
    needed = records_to_decide(found, bar)
    assert needed is not None and needed > 100
    low, high = wilson(found.value, needed)
    assert bar <= low or bar >= high


def test_a_figure_on_its_bar_is_never_decided() -> None:
    assert records_to_decide(Rate(0.5, 0.4, 0.6, 96), 0.5) is None
    assert records_to_decide(Rate(0.5, 0.4, 0.6, 96), 0.45) == 384, "twice as near, four times as many"
    assert records_to_decide(Rate(0.9, 0.8, 0.95, 50), 0.92) == 707, "1.96^2 0.92 0.08 / 0.02^2 = 706.9, by width 313"
