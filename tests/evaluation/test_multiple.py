"""Holm's adjustment against published output, the procedure as Holm wrote it, and what it promises."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.evaluation.multiple import holm

families = st.lists(st.floats(0, 1), min_size=1, max_size=30)

SAS = (
    *(0.28282, 0.30688, 0.71022, 0.77175, 0.78180, 0.88581, 0.54685, 0.84978, 0.24228, 0.58977, 0.03498, 0.41607),
    *(0.31631, 0.05254, 0.45061, 0.75758, 0.12496, 0.49485, 0.21572, 0.50505, 0.94372, 0.81260, 0.77596, 0.36889),
)
"""SAS/STAT User's Guide, PROC MULTTEST, "Inputting Raw p-Values": of its 24 only test 11 stays below 1, at 0.8395."""


def test_the_published_example() -> None:
    adjusted = holm(SAS)
    assert adjusted[10] == pytest.approx(0.8395, abs=5e-5)
    assert [value for place, value in enumerate(adjusted) if place != 10] == [1.0] * 23


def test_by_hand() -> None:
    """Sorted .005 .01 .03 .04, times 4 3 2 1: .02 .03 .06 and, no smaller than the one before it, .06."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@given(p=families, alpha=st.floats(0.001, 0.5))
def test_it_rejects_what_holms_steps_reject(p: list[float], alpha: float) -> None:
    """The smallest p against alpha / n, the next against alpha / (n - 1), until one is not rejected."""
    rejected = set()
    for step, place in enumerate(np.argsort(p, kind="stable")):
        if p[place] * (len(p) - step) > alpha:
            break
        rejected.add(int(place))
    assert {place for place, value in enumerate(holm(p)) if value <= alpha} == rejected


@given(p=families)
def test_what_it_promises(p: list[float]) -> None:
    raw, adjusted = np.array(p), np.array(holm(p))
    assert (adjusted >= raw).all() and (adjusted <= np.minimum(1, len(p) * raw)).all()
    order = np.argsort(raw)
    assert (np.diff(adjusted[order]) >= 0).all()
    assert holm(p[::-1]) == holm(p)[::-1]


def test_one_test_is_not_adjusted_and_none_are_none() -> None:
    assert holm([0.03]) == [0.03] and holm([]) == []


@pytest.mark.parametrize("p", [[-0.1], [0.2, 1.1], [float("nan")]])
def test_what_is_no_p_is_refused(p: list[float]) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        holm(p)
