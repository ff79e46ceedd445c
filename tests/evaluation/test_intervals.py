import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.evaluation.bootstrap import Resamples, interval
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate, wilson
from edgeguard.evaluation.metrics import macro_f1


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_published_intervals(successes: int, n: int, low: float, high: float):
    """Newcombe 1998, table I, method 3."""
    assert wilson(successes, n) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@given(n=st.integers(1, 5000), share=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_wilsons_formula(n: int, share: float):
    successes, z = round(n * share), 1.959963984540054
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = wilson(successes, n)
    assert low == pytest.approx(middle - half, abs=1e-9) and high == pytest.approx(middle + half, abs=1e-9)
    assert 0 <= low <= p <= high <= 1


def test_a_higher_level_is_wider():
    low, high = wilson(40, 100)
    lower, higher = wilson(40, 100, level=0.99)
    assert lower < low < high < higher


def test_a_rate_has_value_bounds_and_n():
    low, high = wilson(3, 4)
    assert rate(3, 4) == {"value": 0.75, "low": low, "high": high, "n": 4}
    nothing = rate(0, 0)
    assert math.isnan(nothing["value"]) and (nothing["low"], nothing["high"], nothing["n"]) == (0, 1, 0)


def test_accuracy_is_the_rate_of_the_diagonal():
    assert accuracy_rate(np.array([[8, 2], [1, 9]])) == rate(17, 20)


def test_the_f1_interval_holds_the_value_and_follows_its_seed():
    confusion = np.array([[50, 2, 6, 2], [3, 20, 5, 2], [8, 4, 30, 3], [1, 0, 2, 12]])
    first = f1_rate(confusion)
    assert first == f1_rate(confusion) != f1_rate(confusion, seed=1)
    assert first["value"] == macro_f1(confusion) and first["n"] == 150
    assert first["low"] < first["value"] < first["high"]
    wider = f1_rate(confusion // 4 + (confusion > 0))
    assert wider["high"] - wider["low"] > first["high"] - first["low"]


def test_the_f1_interval_is_bca():
    """As that of the records written out one by one."""
    confusion = np.array([[50, 2, 6, 2], [3, 20, 5, 2], [8, 4, 30, 3], [1, 0, 2, 12]])
    labels, predicted = np.repeat(np.indices((4, 4)).reshape(2, 16), confusion.ravel(), axis=1)
    found = interval(Resamples(labels, resamples=20_000).score(predicted[None], "f1"))
    ours = f1_rate(confusion)
    assert ours["value"] == pytest.approx(found["value"]) and ours["n"] == found["n"]
    assert (ours["low"], ours["high"]) == (
        pytest.approx(found["low"], abs=0.01),
        pytest.approx(found["high"], abs=0.01),
    )


def test_the_f1_interval_covers_the_truth():
    """200 test sets drawn from known chances: the truth lies within in about 95 of 100."""
    chances = np.array([[0.9, 0.02, 0.06, 0.02], [0.1, 0.75, 0.1, 0.05], [0.2, 0.1, 0.65, 0.05], [0.1, 0, 0.1, 0.8]])
    counts = np.array([240, 60, 100, 40])
    truth = macro_f1(chances * counts[:, None])
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        drawn = f1_rate(np.stack([rng.multinomial(n, p) for n, p in zip(counts, chances, strict=True)]))
        held += drawn["low"] <= truth <= drawn["high"]
    assert 178 <= held <= 199


@pytest.mark.parametrize("confusion", [np.diag([5, 5, 5, 5]), np.diag([0, 7, 0, 0])])
def test_where_all_is_right_the_f1_interval_is_a_point(confusion: np.ndarray):
    assert f1_rate(confusion) == {"value": 1.0, "low": 1.0, "high": 1.0, "n": int(confusion.sum())}


def test_no_records_have_no_f1():
    nothing = f1_rate(np.zeros((4, 4), int))
    assert nothing["n"] == 0 and all(math.isnan(nothing[key]) for key in ("value", "low", "high"))
