"""BCa against scipy's, a textbook's worked example, and tables without one record written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from edgeguard.evaluation.bca import bca, without_one

SPATIAL = np.array(
    [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41], float
)
"""Efron & Tibshirani 1993, table 14.1: spatial test data A."""


def without_each(values: np.ndarray) -> np.ndarray:
    return np.array([np.delete(values, place).var() for place in range(len(values))])


def test_the_textbooks_variance() -> None:
    """Efron & Tibshirani 1993, section 14.3: 171.5, a = 0.061, z_0 = 0.146, 90 % [115.8, 259.6] by 2,000 resamples."""
    rng = np.random.default_rng(0)
    drawn = SPATIAL[rng.integers(26, size=(20_000, 26))].var(axis=1)
    found = bca(SPATIAL.var(), drawn, without_each(SPATIAL), np.zeros(26))
    assert found.estimate == pytest.approx(171.5, abs=0.05)
    assert found.acceleration == pytest.approx(0.061, abs=5e-4)
    assert found.bias == pytest.approx(0.146, abs=0.06)
    assert found.ends(0.9) == (pytest.approx(115.8, abs=5), pytest.approx(259.6, abs=8))


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.99])
def test_it_is_scipys(level: float) -> None:
    theirs = bootstrap(
        (SPATIAL,), np.var, axis=-1, n_resamples=999, confidence_level=level, rng=np.random.default_rng(1)
    )
    drawn = theirs.bootstrap_distribution
    ours = bca(float(SPATIAL.var()), drawn, without_each(SPATIAL), np.zeros(26)).ends(level)
    assert ours == pytest.approx(tuple(theirs.confidence_interval), rel=1e-9)


def test_kinds_of_records_are_records() -> None:
    values, times = np.array([1.0, 2.0, 5.0, 3.0, 9.0]), np.array([3, 1, 2, 4, 1])
    strata = np.array([0, 0, 0, 1, 1])
    drawn = np.random.default_rng(0).normal(size=100)
    one = bca(0.1, drawn, np.repeat(values, times), np.repeat(strata, times))
    kinds = bca(0.1, drawn, np.append(values, 99.0), np.append(strata, 1), np.append(times, 0))
    assert kinds.acceleration == pytest.approx(one.acceleration) != 0
    assert kinds.bias == one.bias


def test_where_no_resample_differs_the_interval_is_a_point() -> None:
    same = bca(0.3, np.full(50, 0.1 + 0.2), np.full(4, 0.3), np.zeros(4))
    assert same.ends() == pytest.approx((0.3, 0.3)) and (same.bias, same.acceleration) == (0, 0)


def test_resamples_without_a_value_are_left_out() -> None:
    drawn = np.array([0.1, np.nan, 0.3, np.inf, 0.2])
    assert bca(0.2, drawn, np.zeros(3), np.zeros(3)).drawn.tolist() == [0.1, 0.2, 0.3]
    assert all(np.isnan(bca(0.2, np.full(3, np.nan), np.zeros(3), np.zeros(3)).ends()))


@given(
    cells=st.lists(st.integers(0, 4), min_size=9, max_size=9),
    row=st.integers(0, 2),
    column=st.integers(0, 2),
)
@settings(max_examples=80, deadline=None)
def test_a_matrix_without_one_record(cells: list[int], row: int, column: int) -> None:
    confusion = np.array(cells).reshape(3, 3)
    if confusion[row, column] == 0:
        return
    expected, count = confusion.astype(float), confusion[row].sum()
    if count > 1:
        expected[row, column] -= 1
        expected[row] *= count / (count - 1)
    both = without_one(np.stack([confusion, confusion]))
    np.testing.assert_allclose(both[1, row, column], expected)
    assert both[0, row, column].sum() == pytest.approx(confusion.sum())
