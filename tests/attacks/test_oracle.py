"""The oracle counts every row that the model sees, keeps to the budget, and gives ties to the attacker."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.attacks.oracle import BudgetError, LabelOracle
from edgeguard.errors import InputError


class CountingModel:
    """Logits are the first four samples; keeps every row that it was asked."""

    def __init__(self) -> None:
        self.rows: list[np.ndarray] = []

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        self.rows += list(ecg)
        return ecg[:, 0, :4]


def query(*logits: float) -> np.ndarray:
    return np.array([[logits]], np.float32)


@given(
    st.integers(0, 4),
    st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=8),
)
def test_ledger_equals_the_rows_seen_and_stays_within_the_budget(budget: int, batches: list[list[int]]) -> None:
    model = CountingModel()
    oracle = LabelOracle(model, np.zeros(3), budget=budget)
    seen = np.zeros(3, np.int64)
    for batch in batches:
        wanted = seen + np.bincount(batch, minlength=3)
        ecg = np.zeros((len(batch), 1, 4), np.float32)
        if wanted.max() > budget:
            with pytest.raises(BudgetError):
                oracle.ask(np.array(batch), ecg)
        else:
            oracle.ask(np.array(batch), ecg)
            seen = wanted
        assert len(model.rows) == seen.sum()
        np.testing.assert_array_equal(oracle.ledger, seen)
        assert [oracle.remaining(i) for i in range(3)] == (budget - seen).tolist()


def test_samples_are_rounded_to_whole_codes() -> None:
    model = CountingModel()
    LabelOracle(model, np.array([0]), budget=1).ask(np.array([0]), query(0.4, -0.6, 7.51, 2))
    np.testing.assert_array_equal(model.rows[0], [[0, -1, 8, 2]])


@pytest.mark.parametrize(
    ("logits", "truth", "target", "told"),
    [
        ((5, 1, 1, 1), 0, None, 0),
        ((5, 5, 1, 1), 0, None, 1),
        ((5, 5, 1, 1), 1, None, 0),
        ((5, 1, 5, 5), 3, None, 0),
        ((7, 7, 7, 7), 0, None, 1),
        ((5, 5, 5, 1), 0, 2, 2),
        ((5, 5, 1, 1), 0, 2, 1),
        ((1, 1, 9, 1), 0, 2, 2),
    ],
)
def test_ties_go_to_the_attacker(logits: tuple, truth: int, target: int | None, told: int) -> None:
    targets = None if target is None else np.array([target])
    oracle = LabelOracle(CountingModel(), np.array([truth]), budget=1, targets=targets)
    answer = oracle.ask(np.array([0]), query(*logits))
    assert answer.tolist() == [told]
    assert answer.dtype == np.int64
    reached = told == target if target is not None else told != truth
    assert oracle.is_adversarial(np.array([0]), answer).tolist() == [reached]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_are_refused_uncounted(bad: float) -> None:
    model = CountingModel()
    oracle = LabelOracle(model, np.array([0]), budget=5)
    with pytest.raises(InputError, match="finite"):
        oracle.ask(np.array([0]), query(1, bad, 0, 0))
    assert not model.rows
    assert oracle.ledger.tolist() == [0]


def test_a_negative_budget_is_refused() -> None:
    with pytest.raises(InputError, match="queries"):
        LabelOracle(CountingModel(), np.array([0]), budget=-1)


@pytest.mark.parametrize("module", ["attacks.oracle", "attacks.campaign", "runtime.session", "runtime.census"])
def test_torch_stays_out(module: str) -> None:
    code = f"import sys, edgeguard.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
