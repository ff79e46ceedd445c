"""The oracle counts every row that the model sees, keeps to the budget, and gives ties to the attacker."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.attacks.oracle import BudgetError, LabelOracle, ThreatModel
from edgeguard.errors import InputError


class CountingModel:
    """Logits are the first four samples; keeps every row that it was asked. Sees steps of `step` microvolts."""

    def __init__(self, step: float = 1.0) -> None:
        self.rows: list[np.ndarray] = []
        self.step = step

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        self.rows += list(ecg)
        return ecg[:, 0, :4]

    def input_codes(self, ecg: np.ndarray) -> np.ndarray:
        return np.rint(ecg / self.step).astype(np.int32)


_NEVER_TWICE = itertools.count(1)


def fresh(rows: int) -> np.ndarray:
    """Rows that were not asked before."""
    return np.array([[[next(_NEVER_TWICE), 0, 0, 0]] for _ in range(rows)], np.float32).reshape(rows, 1, 4)


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
        ecg = fresh(len(batch))
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
    answer = oracle.ask(np.array([0]), query(*logits)).labels
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


def test_equal_codes_are_counted_and_asked_once() -> None:
    """Two records ask the same points: the model is asked once a record and code, the ledger counts every query."""
    model = CountingModel(step=10)
    oracle = LabelOracle(model, np.array([0, 1]), budget=5)
    points = np.concatenate([query(1, 0, 0, 40), query(2, 0, 0, 41), query(30, 0, 0, 0), query(3, 0, 0, 42)])
    first = oracle.ask(np.array([0, 0, 0, 1]), points)
    assert first.repeated.tolist() == [False, True, False, False]
    assert first.labels.tolist() == [3, 3, 0, 3], "the second is answered as the first was"
    again = oracle.ask(np.array([0, 1]), points[[1, 2]])
    assert again.repeated.tolist() == [True, False]
    assert oracle.ledger.tolist() == [4, 2]
    assert [row[0].tolist() for row in model.rows] == [points[i, 0].tolist() for i in (0, 2, 3, 2)]


def test_a_forgotten_record_is_asked_anew() -> None:
    model = CountingModel()
    oracle = LabelOracle(model, np.array([0]), budget=5)
    for _ in range(2):
        oracle.ask(np.array([0]), query(1, 0, 0, 0))
        oracle.forget(0)
    assert len(model.rows) == 2


def test_answers_of_an_earlier_run_cost_no_call() -> None:
    """The journal answers the first queries of each record; what it does not know is asked."""
    points, owner = fresh(6), np.array([0, 1, 0, 1, 0, 0])
    whole = LabelOracle(CountingModel(), np.array([0, 3]), budget=4)
    expected = whole.ask(owner, points)
    begun = LabelOracle(CountingModel(), np.array([0, 3]), budget=4)
    begun.ask(owner[:3], points[:3])
    model = CountingModel()
    resumed = LabelOracle(model, np.array([0, 3]), budget=4, journal=begun.journal)
    answer = resumed.ask(owner, points)
    np.testing.assert_array_equal(answer.labels, expected.labels)
    np.testing.assert_array_equal(answer.repeated, expected.repeated)
    assert resumed.ledger.tolist() == whole.ledger.tolist()
    assert len(model.rows) == 3


def threat(rail: float = 100) -> ThreatModel:
    originals = np.array([[[5, 0, 0, 0]], [[0, 150, 0, 7]]], np.float32)
    mask = np.array([[[True] * 4], [[True, True, True, False]]])
    return ThreatModel(originals, mask, rail_uv=rail)


@pytest.mark.parametrize(
    ("record", "point", "says"),
    [
        (0, (101, 0, 0, 0), "rail"),
        (0, (0, 0, -101, 0), "rail"),
        (1, (0, 151, 0, 7), "rail"),
        (1, (0, 0, 0, 8), "padding"),
        (0, (np.nan, 0, 0, 0), "finite"),
    ],
)
def test_points_outside_the_threat_model_are_refused_uncounted(record: int, point: tuple, says: str) -> None:
    model = CountingModel()
    oracle = LabelOracle(model, np.zeros(2), budget=5, threat=threat())
    with pytest.raises(InputError, match=says):
        oracle.ask(np.array([record]), query(*point))
    assert not model.rows and not oracle.ledger.any()


@pytest.mark.parametrize(("record", "point"), [(0, (100, -100, 0, 0)), (1, (0, 150, -100, 7)), (1, (0, -150, 0, 7))])
def test_points_within_the_threat_model_pass(record: int, point: tuple) -> None:
    """A record that lies beyond the rails itself may keep its own magnitude."""
    oracle = LabelOracle(CountingModel(), np.zeros(2), budget=5, threat=threat())
    assert len(oracle.ask(np.array([record]), query(*point)).labels) == 1


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.data())
def test_padding_may_lie_anywhere(valid: list[bool], data: st.DataObject) -> None:
    """A change of one sample is refused where the mask is False, and nowhere else."""
    place = data.draw(st.integers(0, len(valid) - 1))
    originals = np.arange(1, len(valid) + 1, dtype=np.float32).reshape(1, 1, -1)
    model = ThreatModel(originals, np.array(valid).reshape(1, 1, -1))
    point = originals.copy()
    model.check(np.array([0]), point)
    point[0, 0, place] += 1
    if valid[place]:
        model.check(np.array([0]), point)
    else:
        with pytest.raises(InputError, match="padding"):
            model.check(np.array([0]), point)


def test_logits_that_are_not_numbers_are_refused() -> None:
    class Broken(CountingModel):
        def logits(self, ecg: np.ndarray) -> np.ndarray:
            return np.full((len(ecg), 4), np.nan, np.float32)

    with pytest.raises(InputError, match="NaN"):
        LabelOracle(Broken(), np.array([0]), budget=1).ask(np.array([0]), fresh(1))


@pytest.mark.parametrize("module", ["attacks.oracle", "attacks.campaign", "runtime.session", "runtime.census"])
def test_torch_stays_out(module: str) -> None:
    code = f"import sys, edgeguard.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
