"""One scheduler for many attacks: batches are full, answers go home, budgets hold, and company does not matter."""

import signal
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.attacks.meter import MaskingMeter
from edgeguard.attacks.oracle import LabelOracle
from edgeguard.attacks.scheduler import Trace, run
from edgeguard.attacks.walk import Request, Walk

T = 8


class Parity:
    """Says 1 where the first sample is odd; keeps the size of every batch."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        self.batches.append(len(ecg))
        odd = ecg[:, 0, :1] % 2
        return np.concatenate([1 - odd, odd], axis=1).astype(np.float32)

    def input_codes(self, ecg: np.ndarray) -> np.ndarray:
        return ecg.astype(np.int32)


def ramp(first: int, sizes: list[int], heard: list[bool]) -> Walk:
    """Asks first, first + 1, ... in requests of the sizes; keeps what it hears."""
    value = first
    for size in sizes:
        points = np.zeros((size, 1, T), np.float32)
        points[:, 0, 0] = np.arange(value, value + size)
        value += size
        heard += (yield Request(points)).tolist()
    return "done"


@given(
    st.lists(st.lists(st.integers(1, 7), max_size=5), min_size=1, max_size=6),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(0, 20),
)
def test_every_request_is_answered_in_its_own_order(
    plans: list[list[int]], batch: int, lanes: int, workers: int, budget: int
) -> None:
    """Whatever the sizes of requests, batches and lanes: odd numbers hit, each walk hears its own, none overspends."""
    model, n = Parity(), len(plans)
    oracle = LabelOracle(model, np.zeros(n), budget=budget)
    heard: list[list[bool]] = [[] for _ in plans]
    spent: list[int] = []
    traces = run(
        oracle,
        range(n),
        lambda record: ramp(100 * record, plans[record], heard[record]),
        np.zeros((n, 1, T), np.float32),
        batch=batch,
        lanes=lanes,
        workers=workers,
        progress=spent.append,
    )
    assert max(model.batches, default=0) <= batch
    assert sum(model.batches) == oracle.ledger.sum() and sum(spent) == n * budget
    for record, plan in enumerate(plans):
        whole = np.cumsum(plan).tolist()
        assert oracle.ledger[record] == min(sum(plan), budget)
        complete = max([0, *(count for count in whole if count <= budget)])
        assert heard[record] == [bool((100 * record + k) % 2) for k in range(complete)]
        assert traces[record].ended == ("done" if sum(plan) <= budget else "budget spent")


def test_batches_are_filled_across_records_and_requests() -> None:
    """Only the last record, whose next request waits for the answers to this one, leaves a batch that is not full."""
    model = Parity()
    oracle = LabelOracle(model, np.zeros(3), budget=100)
    run(oracle, range(3), lambda r: ramp(100 * r, [5, 5], []), np.zeros((3, 1, T), np.float32), batch=4)
    assert model.batches[:6] == [4] * 6 and sum(model.batches) == 30


def test_hits_are_noted_with_the_query_that_found_them_and_probes_are_not() -> None:
    def walk(probing: bool) -> Walk:
        points = np.zeros((3, 1, T), np.float32)
        points[:, 0, 0] = [7.4, 4.6, 4]
        yield Request(points, centre=points[0] if probing else None)
        return "done"

    oracle = LabelOracle(Parity(), np.zeros(2), budget=10)
    traces = run(oracle, [0, 1], lambda record: walk(record == 1), np.zeros((2, 1, T), np.float32))
    assert (traces[0].queries, traces[0].l2, traces[0].linf) == ([1, 2], [7, 5], [7, 5])
    assert traces[0].nearest_l2[0, 0] == 5
    assert traces[1].nearest_l2 is None


def test_probes_are_weighed_by_what_the_codes_carry() -> None:
    """A step of 10: probes of 1.2 uV around 3 land on its code, probes of 20 uV are carried whole.

    Only the first of eight blocks is weighed: the second weighed one repeats what seven before it asked.
    """

    class Coarse(Parity):
        def input_codes(self, ecg: np.ndarray) -> np.ndarray:
            return np.rint(ecg / 10).astype(np.int32)

    def walk() -> Walk:
        centre = np.full((1, T), 3, np.float32)
        for size in (1.2,) + (20,) * 8:
            yield Request(centre + np.float32(size) * np.array([[[1] * T], [[-1] * T]], np.float32), centre=centre)
        return "done"

    meter, model = MaskingMeter(), Coarse()
    oracle = LabelOracle(model, np.zeros(1), budget=20)
    run(oracle, [0], lambda _: walk(), np.zeros((1, 1, T), np.float32), codes=model.input_codes, meter=meter)
    small, large = meter.table()
    assert small["probe_rms_uv"] == [1, 2] and small["probes"] == 2
    assert (small["identical"], small["fidelity"]) == (0.5, 0)
    assert large["probe_rms_uv"] == [16, 32] and (large["identical"], large["fidelity"]) == (1, pytest.approx(1))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_model_ends_the_run(workers: int) -> None:
    class Failing(Parity):
        def logits(self, ecg: np.ndarray) -> np.ndarray:
            raise RuntimeError("no")

    oracle = LabelOracle(Failing(), np.zeros(3), budget=5)
    with pytest.raises(RuntimeError, match="no"):
        run(oracle, range(3), lambda r: ramp(r, [5], []), np.zeros((3, 1, T), np.float32), workers=workers)


def test_an_interrupt_saves_and_stops() -> None:
    """The main thread is interrupted while a worker is busy: the answers are saved, and no further batch is asked."""
    saved: list[int] = []
    model = Parity()
    oracle = LabelOracle(model, np.zeros(1), budget=10**6)

    def endless() -> Walk:
        while True:
            if oracle.ledger[0] == 50:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            yield Request(np.full((1, 1, T), oracle.ledger[0] % 1000, np.float32))

    with pytest.raises(KeyboardInterrupt):
        run(
            oracle,
            [0],
            lambda _: endless(),
            np.zeros((1, 1, T), np.float32),
            save=lambda: saved.append(int(oracle.ledger[0])),
        )
    assert saved[-1] == oracle.ledger[0] >= 50


def test_trace_keeps_the_best_of_each_norm() -> None:
    trace, original = Trace(), np.zeros((1, 4), np.float32)
    assert trace.at(100) == (np.inf, np.inf)
    flat, peak = np.full((1, 4), 3, np.float32), np.array([[5, 0, 0, 0]], np.float32)
    trace.note(3, flat, original)
    trace.note(7, peak, original)
    trace.note(9, np.full((1, 4), 4, np.float32), original)
    assert [trace.at(q) for q in (2, 3, 6, 7, 99)] == [(np.inf, np.inf), (6, 3), (6, 3), (5, 3), (5, 3)]
    np.testing.assert_array_equal(trace.nearest_l2, peak)
    np.testing.assert_array_equal(trace.nearest_linf, flat)
