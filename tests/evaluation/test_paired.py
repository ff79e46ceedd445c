"""Tango's interval and McNemar's test against published examples, a numerical derivation and exact coverage."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import multinomial

from edgeguard.evaluation.evaluate import Evaluation, Judged
from edgeguard.evaluation.intervals import wilson
from edgeguard.evaluation.paired import compare, mcnemar, newcombe, paired_difference, score, tango
from edgeguard.evaluation.portfolio import Attack

Z = 1.959963984540054


@st.composite
def tables(draw: st.DrawFn) -> tuple[int, int, int]:
    """(only first, only second, n)."""
    n = draw(st.integers(1, 800))
    first = draw(st.integers(0, n))
    return first, draw(st.integers(0, n - first)), n


def test_tangos_own_example():
    """Tango 1998, section 6.1: disinfection of soft contact lenses, 43 + 0 + 1 + 0 pairs."""
    assert score(0, 1, 44, -0.1) == pytest.approx(1.709, abs=5e-4)
    assert tango(0, 1, 44, level=0.9)[0] == pytest.approx(-0.096, abs=5e-4)


@pytest.mark.parametrize(
    ("table", "level", "low", "high", "digit"),
    [
        # Fagerland, Lydersen & Laake 2014, airway hyper-responsiveness before and after transplantation.
        ((1, 7, 21), 0.95, -0.517, -0.026, 5e-4),
        # R's PropCIs::scoreci.mp, whose difference is its second count less its first.
        ((28, 25, 618), 0.90, -0.0148, 0.0247, 5e-5),
        ((48, 41, 549), 0.90, -0.0157, 0.0414, 5e-5),
    ],
)
def test_published_intervals(table: tuple[int, int, int], level: float, low: float, high: float, digit: float):
    assert tango(*table, level=level) == (pytest.approx(low, abs=digit), pytest.approx(high, abs=digit))


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        # contingencytables (Fagerland et al. 2017), chapter 8; Chang et al., PMC10763857, table 3; CAMIS, paired page.
        ((6, 16, 161), -0.1240, -0.0054),
        ((25, 2, 102), 0.139, 0.321),
        ((15, 6, 46), 0.000419, 0.377185),
    ],
)
def test_intervals_of_other_tools(table: tuple[int, int, int], low: float, high: float):
    assert tango(*table) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


NEWCOMBE_TABLE_3 = [
    ((36, 12, 2, 0), 0.0569, 0.3404),
    ((20, 12, 2, 16), 0.0562, 0.3292),
    ((18, 12, 2, 18), 0.0562, 0.3290),
    ((36, 14, 0, 0), 0.1528, 0.4167),
    ((35, 14, 0, 1), 0.1461, 0.4175),
    ((18, 14, 0, 18), 0.1441, 0.3963),
    ((2, 97, 1, 0), 0.8721, 0.9854),
    ((1, 97, 1, 1), 0.8736, 0.9850),
    ((0, 29, 1, 0), 0.6666, 0.9882),
    ((2, 98, 0, 0), 0.9178, 0.9945),
    ((1, 98, 0, 1), 0.9171, 0.9916),
    ((0, 30, 0, 0), 0.8395, 1.0000),
    ((54, 0, 0, 0), -0.0664, 0.0664),
    ((53, 0, 0, 1), -0.0729, 0.0729),
    ((30, 0, 0, 24), -0.0358, 0.0358),
    ((29, 0, 0, 25), -0.0354, 0.0354),
    ((28, 0, 0, 26), -0.0352, 0.0352),
    ((27, 0, 0, 27), -0.0351, 0.0351),
]
"""Newcombe 1998 (Stat Med 17:2635), table III, method 10: (both, first alone, second alone, neither), the interval."""


@pytest.mark.parametrize(("table", "low", "high"), NEWCOMBE_TABLE_3)
def test_newcombes_own_table(table: tuple[int, int, int, int], low: float, high: float):
    assert newcombe(*table) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((59, 6, 16, 80), -0.1186, -0.0046),
        ((1, 0, 0, 1), -0.5734, 0.5734),
        ((7, 25, 2, 68), 0.133, 0.318),
        ((20, 15, 6, 5), 0.002602, 0.369943),
    ],
)
def test_newcombes_interval_in_other_tools(table: tuple[int, int, int, int], low: float, high: float):
    """contingencytables (twice), Chang et al., CAMIS."""
    assert newcombe(*table) == (pytest.approx(low, abs=5e-4), pytest.approx(high, abs=5e-4))


@given(cells=st.tuples(*[st.integers(0, 300)] * 4))
@settings(max_examples=80, deadline=None)
def test_what_newcombes_interval_keeps(cells: tuple[int, int, int, int]):
    both, first, second, neither = cells
    low, high = newcombe(*cells)
    if n := sum(cells):
        assert -1 - 1e-12 <= low <= (first - second) / n <= high <= 1 + 1e-12
    assert newcombe(both, second, first, neither) == (pytest.approx(-high), pytest.approx(-low))
    assert newcombe(neither, first, second, both) == (pytest.approx(low), pytest.approx(high))


@given(table=tables(), at=st.floats(-0.95, 0.95))
@settings(max_examples=60, deadline=None)
def test_the_score_is_that_of_the_likelihood_maximised_numerically(table: tuple[int, int, int], at: float):
    first, second, n = table

    def surprise(q: float) -> float:
        chances = np.array([q + at, q, 1 - 2 * q - at])
        counts = np.array([first, second, n - first - second])
        return -float(np.sum(counts[counts > 0] * np.log(np.maximum(chances[counts > 0], 1e-300))))

    found = minimize_scalar(surprise, bounds=(max(0.0, -at), (1 - at) / 2), method="bounded", options={"xatol": 1e-12})
    variance = (2 * found.x + at - at**2) / n
    if variance > 1e-6 / n:
        assert score(*table, at) == pytest.approx(((first - second) / n - at) / math.sqrt(variance), rel=1e-3, abs=1e-6)


@given(table=tables())
@settings(max_examples=80, deadline=None)
def test_the_interval_is_where_the_score_test_does_not_reject(table: tuple[int, int, int]):
    first, second, n = table
    low, high = tango(*table)
    difference = (first - second) / n
    assert -1 <= low <= difference <= high <= 1 and low < high
    if low > -1:
        assert score(*table, low) == pytest.approx(Z, abs=1e-6)
    if high < 1:
        assert score(*table, high) == pytest.approx(-Z, abs=1e-6)
    assert tango(second, first, n) == (pytest.approx(-high, abs=1e-9), pytest.approx(-low, abs=1e-9))
    wider = tango(*table, level=0.99)
    assert wider[0] <= low and wider[1] >= high


@pytest.mark.parametrize("n", [1, 30, 768])
def test_closed_forms_at_the_edges(n: int):
    """No discordant pair: Wilson's bound of none in n. All of one kind: (n - z^2) / (n + z^2)."""
    upper = wilson(0, n)[1]
    assert tango(0, 0, n) == (pytest.approx(-upper, abs=1e-9), pytest.approx(upper, abs=1e-9))
    assert tango(n, 0, n) == (pytest.approx((n - Z * Z) / (n + Z * Z), abs=1e-9), 1)
    assert tango(0, n, n)[0] == -1


def test_no_pairs_tell_nothing():
    assert tango(0, 0, 0) == (-1, 1)
    nothing = paired_difference(np.zeros(0, bool), np.zeros(0, bool))
    assert math.isnan(nothing["difference"]) and nothing["n"] == 0 and nothing["mcnemar_p"] == 1


def test_the_interval_covers_the_truth():
    """Exact coverage: all 861 tables of 40 pairs, weighted with their chances."""
    n = 40
    counts = np.array([(b, c, n - b - c) for b in range(n + 1) for c in range(n + 1 - b)])
    low, high = tango(counts[:, 0], counts[:, 1], n)
    covered = []
    for only_first, only_second in ((0.05, 0.05), (0.1, 0.02), (0.3, 0.1), (0.2, 0.2), (0.5, 0.3), (0.02, 0.25)):
        chances = multinomial.pmf(counts, n, [only_first, only_second, 1 - only_first - only_second])
        truth = only_first - only_second
        covered.append(chances[(low <= truth) & (truth <= high)].sum())
    assert min(covered) > 0.93 and max(covered) < 0.985
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)


def test_mcnemar_by_hand():
    """Two tails of eight fair coins: 2 (1 + 8) / 256. At 6 : 1, 2 (1 + 7) / 128."""
    assert mcnemar(1, 7) == mcnemar(7, 1) == pytest.approx(18 / 256)
    assert mcnemar(6, 1) == pytest.approx(16 / 128)
    assert mcnemar(0, 0) == mcnemar(3, 3) == 1


@pytest.mark.parametrize(
    ("table", "exact"),
    [
        # Fagerland, Lydersen & Laake 2013: 1 to 7; contingencytables: 6 to 16.
        ((1, 7), 0.0703),
        ((6, 16), 0.052479),
    ],
)
def test_mcnemars_published_examples(table: tuple[int, int], exact: float):
    assert mcnemar(*table) == pytest.approx(exact, abs=5e-5)


def test_the_approval_of_a_prime_minister():
    """Agresti, Categorical Data Analysis: 794, 150, 86, 570 of 1,600; z^2 = 17.36, a drop of 2 to 6 points."""
    assert score(150, 86, 1600, 0) ** 2 == pytest.approx(64**2 / 236) == pytest.approx(17.36, abs=0.005)
    assert mcnemar(150, 86) == pytest.approx(2 * sum(math.comb(236, k) for k in range(87)) / 2**236)
    for low, high in (tango(150, 86, 1600), newcombe(794, 150, 86, 570)):
        assert low == pytest.approx(0.04 - Z * 0.0095, abs=5e-4) and high == pytest.approx(0.04 + Z * 0.0095, abs=5e-4)


@given(arrays=st.lists(tables(), min_size=1, max_size=5), at=st.floats(-0.9, 0.9))
@settings(max_examples=30, deadline=None)
def test_statistics_of_many_tables_at_once(arrays: list[tuple[int, int, int]], at: float):
    first, second = np.array([table[:2] for table in arrays]).T
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    np.testing.assert_array_equal(score(first, second, 800, at), [score(b, c, 800, at) for b, c in pairs])
    np.testing.assert_array_equal(np.transpose(tango(first, second, 800)), [tango(b, c, 800) for b, c in pairs])


@given(table=tables(), seed=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_the_difference_of_two_lists_of_right_answers(table: tuple[int, int, int], seed: int):
    only_first, only_second, n = table
    order = np.random.default_rng(seed).permutation(n)
    both = np.arange(n)[::2] if only_first + only_second < n else np.arange(0)
    first = np.isin(np.arange(n), both[both >= only_first + only_second]) | (np.arange(n) < only_first)
    second = (np.arange(n) >= only_first) & (first | (np.arange(n) < only_first + only_second))
    about = paired_difference(first[order], second[order])
    assert about["difference"] == pytest.approx(first.mean() - second.mean())
    assert (about["only_first"], about["only_second"], about["n"]) == table
    assert (about["low"], about["high"]) == tango(*table) and about["mcnemar_p"] == mcnemar(only_first, only_second)


LABELS = np.zeros(10, np.int64)


def judged(**wrong: list[int]) -> Evaluation:
    """Ten records of class 0, of which each attack sends the named ones to class 1."""
    entries = []
    for name, records in wrong.items():
        predicted = LABELS.copy()
        predicted[records] = 1
        entries.append(Judged(Attack(name), None if name == "clean" else "II", predicted))
    return Evaluation(("N", "A", "O", "~"), LABELS, entries)


def test_clean_and_worst_case_are_compared_record_by_record():
    first = judged(clean=[0], pgd=[0, 1], sap=[0, 2])
    second = judged(clean=[0, 9], pgd=[9], sap=[0, 3, 4, 5, 9])
    found = compare(first, second, margin=0.2)
    clean, worst = found["clean"], found["worst_case"]
    assert (clean["only_first"], clean["only_second"], clean["difference"]) == (1, 0, pytest.approx(0.1))
    # The first is fooled on 0 1 2, the second on 0 3 4 5 9.
    assert (worst["only_first"], worst["only_second"], worst["difference"]) == (4, 2, pytest.approx(0.2))
    assert (worst["low"], worst["high"]) == tango(4, 2, 10) and worst["mcnemar_p"] == mcnemar(4, 2)
    assert found["margin"] == 0.2 and found["holds"] is (worst["low"] > -0.2)


def test_the_claim_needs_the_lower_bound_above_the_margin():
    same = judged(clean=[], pgd=[3])
    low = tango(0, 0, 10)[0]
    for margin, holds in ((-low + 1e-9, True), (-low, False), (0.02, False)):
        assert compare(same, same, margin=margin)["holds"] is holds


def test_without_clean_records_only_the_worst_case_is_compared():
    found: dict[str, Any] = compare(judged(pgd=[1]), judged(pgd=[2]), margin=0.5)
    assert found["clean"] is None and found["worst_case"]["difference"] == 0


def test_other_records_are_not_compared():
    other = judged(clean=[])
    other.labels[0] = 0
    shifted = Evaluation(other.classes, np.ones(10, np.int64), other.judged)
    with pytest.raises(ValueError, match="same records"):
        compare(other, shifted, margin=0.02)
