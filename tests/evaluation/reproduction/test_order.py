"""Agreement of two orders, against scipy and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from edgeguard.evaluation.bootstrap import Resamples, Scores
from edgeguard.evaluation.reproduction.order import agreement

NAMES = ("none", "jr", "nsr", "dd", "at", "adt")
LABELS = np.zeros(400, int)
DRAWS = Resamples(LABELS)


def right_on(*parts: tuple[int, int]) -> Scores:
    """Accuracy of one network that is right on so many records from each place on."""
    said = np.ones((1, 400), int)
    for first, count in parts:
        said[0, first : first + count] = 0
    return DRAWS.score(said)


@given(st.permutations(range(6)), st.permutations(range(6)))
@settings(max_examples=25, deadline=None)
def test_kendalls_tau_is_scipys_where_nothing_is_tied(ours: list[int], theirs: list[int]) -> None:
    # Each is right wherever the next worse one is: 60 records more decide every pair.
    scores = {name: right_on((0, 20 + 60 * rank)) for name, rank in zip(NAMES, ours, strict=True)}
    found = agreement(scores, dict(zip(NAMES, map(float, theirs), strict=True)))
    expected = kendalltau(ours, theirs).statistic
    assert found["kendall_tau"] == {key: pytest.approx(expected) for key in ("value", "low", "high")}
    assert (found["same"] - found["reversed"]) / 15 == pytest.approx(expected) and found["open"] == 0


def test_a_pair_is_decided_only_where_the_interval_leaves_out_zero() -> None:
    # None and at share what they have right, but for 20 records: paired, they differ for certain.
    ours = {"none": right_on((0, 160)), "at": right_on((0, 180)), "adt": right_on((0, 160), (200, 21))}
    found = agreement(ours, {"none": 0.3, "at": 0.8, "adt": 0.2})
    assert found["found"] == [["adt", 181 / 400], ["at", 180 / 400], ["none", 160 / 400]]
    assert found["paper"] == [["at", 0.8], ["none", 0.3], ["adt", 0.2]]
    assert (found["pairs"], found["same"], found["reversed"], found["open"]) == (3, 1, 1, 1)
    assert found["reversed_pairs"] == [["adt", "none"]]
    assert found["kendall_tau"]["value"] == pytest.approx(-1 / 3)


def test_what_the_paper_does_not_say_has_no_part_in_it() -> None:
    ours = {"none": right_on((0, 100)), "at": right_on((0, 200)), "adt": right_on((0, 300))}
    found = agreement(ours, {"none": 0.3, "at": None, "adt": 0.9})
    assert [name for name, _ in found["found"]] == ["adt", "at", "none"]
    assert found["paper"] == [["adt", 0.9], ["none", 0.3]]
    assert (found["known"], found["pairs"]) == (2, 1)
    alone = agreement(ours, {"none": 0.3, "at": None, "adt": None})
    assert alone["kendall_tau"] is None and alone["pairs"] == 0
