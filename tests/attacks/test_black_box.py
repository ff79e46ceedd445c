"""A black-box attack that is interrupted goes on where it was, and ends as if nothing had happened."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeguard.attacks.black_box import BlackBoxResult, attack_records
from edgeguard.attacks.boundary import Boundary
from edgeguard.attacks.journal import Journal, load_journal, save_journal
from edgeguard.errors import InputError

T = 120


class Slope:
    """Two classes by the mean of the record; counts its rows, and fails once it has seen `patience` of them."""

    def __init__(self, patience: int | None = None) -> None:
        self.calls, self.patience = 0, patience

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        if self.patience is not None and self.calls >= self.patience:
            raise KeyboardInterrupt
        self.calls += len(ecg)
        score = np.stack([row.mean(dtype=np.float64) + 0.3 * np.abs(row[0, :9]).max() for row in ecg])
        return np.stack([-score, score], axis=1).astype(np.float32)

    def input_codes(self, ecg: np.ndarray) -> np.ndarray:
        return ecg.astype(np.int32)


@pytest.fixture
def attack() -> Callable[..., BlackBoxResult]:
    rng = np.random.default_rng(0)
    labels = np.arange(6) % 2
    ecg = (rng.normal(0, 20, (6, 1, T)) + 60 * (2 * labels - 1)[:, None, None]).astype(np.float32)
    mask = np.ones((6, 1, T), bool)

    def go(model: Slope, **options) -> BlackBoxResult:
        names = [f"r{i}" for i in range(6)]
        return attack_records(model, ecg, mask, labels, names, **{"attack": Boundary(), "queries": 90, **options})

    return go


def same(ours: BlackBoxResult, theirs: BlackBoxResult) -> None:
    np.testing.assert_array_equal(ours.ledger, theirs.ledger)
    assert list(ours.traces) == list(theirs.traces)
    for record, trace in ours.traces.items():
        other = theirs.traces[record]
        assert (trace.queries, trace.l2, trace.linf, trace.ended) == (
            other.queries,
            other.l2,
            other.linf,
            other.ended,
        )
        np.testing.assert_array_equal(trace.nearest_l2, other.nearest_l2)


@pytest.mark.parametrize("after", [7, 100, 333])
def test_resumed_equals_uninterrupted(attack: Callable, tmp_path: Path, monkeypatch, after: int) -> None:
    """The state is what was saved after `after` answers; the rest costs exactly the calls that it lacks."""
    whole = Slope()
    expected = attack(whole)
    state = tmp_path / "state.npz"
    interrupt_after(monkeypatch, after)
    with pytest.raises(KeyboardInterrupt):
        attack(Slope(), state=state)
    monkeypatch.undo()
    rest = Slope()
    resumed = attack(rest, state=state)
    same(resumed, expected)
    assert 0 < rest.calls < whole.calls
    assert not state.exists(), "a finished attack leaves no state"


def interrupt_after(monkeypatch: pytest.MonkeyPatch, answers: int) -> None:
    """The main thread is interrupted once so many answers were given."""
    import signal
    import threading
    import time

    from edgeguard.attacks.oracle import LabelOracle

    ask, done = LabelOracle.ask, []

    def counting(self: LabelOracle, records: np.ndarray, ecg: np.ndarray):
        answer = ask(self, records, ecg)
        if self.ledger.sum() >= answers and not done and threading.current_thread() is not threading.main_thread():
            done.append(True)
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            time.sleep(0.5)  # so that the main thread stops the workers before they are through
        return answer

    monkeypatch.setattr(LabelOracle, "ask", counting)


@pytest.mark.parametrize("change", [{"seed": 1}, {"queries": 91}, {"attack": Boundary(smoothing=0)}, {"model_id": "x"}])
def test_the_state_of_another_attack_is_refused(attack: Callable, tmp_path: Path, monkeypatch, change: dict) -> None:
    state = tmp_path / "state.npz"
    interrupt_after(monkeypatch, 50)
    with pytest.raises(KeyboardInterrupt):
        attack(Slope(), state=state)
    monkeypatch.undo()
    kept = state.read_bytes()
    with pytest.raises(InputError, match="another attack"):
        attack(Slope(), state=state, **change)
    assert state.read_bytes() == kept


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.npz"
    save_journal(state, "id", Journal.empty(2, 5))
    state.write_bytes(state.read_bytes()[:-30])
    with pytest.raises(InputError, match="state"):
        load_journal(state, "id", like=Journal.empty(2, 5))


def test_workers_and_batches_do_not_change_a_bit(attack: Callable) -> None:
    one = attack(Slope(), batch=1, lanes=1)
    for options in ({"batch": 64}, {"workers": 2}, {"batch": 5, "lanes": 2, "workers": 2}):
        same(attack(Slope(), **options), one)
