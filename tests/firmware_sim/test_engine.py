from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.ecg.record import CLASSES
from edgeguard.errors import InputError
from edgeguard.firmware_sim.engine import Decision, Engine, Status, hop_samples


def play(engine: Engine, ecg: np.ndarray, chunk: int) -> list[Decision]:
    """All decisions, without the measured time."""
    decisions = [d for i in range(0, len(ecg), chunk) for d in engine.push(ecg[i : i + chunk])]
    return [replace(d, latency=None) for d in decisions]


def test_decides_every_hop_on_the_window_that_ends_there(make_model: Any, mean_logits: Any, ecg: np.ndarray) -> None:
    model = make_model()
    decisions = play(Engine(model, hop=1.0), ecg, 16)
    assert [d.sample for d in decisions] == list(range(20, 501, 20))
    assert [d.seconds for d in decisions] == list(range(1, 26))
    scored = [d for d in decisions if d.status is Status.SCORING]
    assert [d.sample for d in scored] == list(range(60, 501, 20))
    for decision in scored:
        expected = mean_logits(ecg[decision.sample - 60 : decision.sample])
        np.testing.assert_allclose(decision.logits, expected, rtol=1e-6)
        assert decision.label == CLASSES[int(expected.argmax())]
    assert len({d.label for d in scored}) >= 3


def test_warming_up_never_runs_the_model(make_model: Any) -> None:
    model = make_model()
    decisions = Engine(model).push(np.ones(59, np.float32))
    assert [d.status for d in decisions] == [Status.WARMING_UP, Status.WARMING_UP]
    assert all(d.label is d.logits is d.latency is None for d in decisions)
    assert model.seen == []


@pytest.mark.parametrize("chunk", [1, 7, 16, 32, 300, 500])
def test_decisions_do_not_depend_on_the_chunks(make_model: Any, ecg: np.ndarray, chunk: int) -> None:
    model, other = make_model(), make_model()
    assert play(Engine(model), ecg, chunk) == play(Engine(other), ecg, 20)
    np.testing.assert_array_equal(model.seen, other.seen)


@given(st.data())
def test_any_window_hop_and_chunks_give_what_slicing_gives(make_model: Any, data: st.DataObject) -> None:
    window, hop = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 40))
    chunks = data.draw(st.lists(st.integers(0, 50), max_size=10))
    ecg = np.arange(sum(chunks), dtype=np.float32)
    model = make_model(window=window, sampling_rate=10.0)
    engine = Engine(model, hop=hop / 10)
    decisions = [d for part in np.split(ecg, np.cumsum(chunks)[:-1]) if chunks for d in engine.push(part)]
    ends = [n for n in range(1, len(ecg) + 1) if (n - window) % hop == 0]
    assert [d.sample for d in decisions] == ends
    scored = [n for n in ends if n >= window]
    assert [d.sample for d in decisions if d.status is Status.SCORING] == scored
    assert [w.tolist() for w in model.seen] == [ecg[n - window : n].tolist() for n in scored]


def test_a_loss_keeps_the_clock_and_voids_every_window_that_holds_it(make_model: Any) -> None:
    model = make_model()
    engine = Engine(model)
    engine.push(np.zeros(70, np.float32))
    missed = engine.skip(35)
    assert [(d.sample, d.status) for d in missed] == [(80, "invalid"), (100, "invalid")]
    assert engine.clock == 105
    later = engine.push(np.full(75, 7, np.float32))
    assert [(d.sample, d.status) for d in later] == [
        (120, "invalid"),
        (140, "invalid"),
        (160, "invalid"),
        (180, "scoring"),
    ]
    assert (model.seen[-1] == 7).all()


def test_reset_begins_at_zero_with_nothing_heard(make_model: Any, ecg: np.ndarray) -> None:
    engine = Engine(make_model())
    first = play(engine, ecg[:150], 16)
    engine.reset()
    assert play(engine, ecg[:150], 16) == first


def test_logits_that_are_not_numbers_are_refused(make_model: Any) -> None:
    model = make_model()
    model.logits = lambda _: np.array([[0.0, np.nan, 0.0, 0.0]])
    with pytest.raises(InputError, match="not all numbers"):
        Engine(model).push(np.zeros(60, np.float32))


@pytest.mark.parametrize("hop", [0.0, -1.0, 0.01, 1.01, float("nan"), float("inf")])
def test_a_hop_must_be_whole_samples(hop: float) -> None:
    with pytest.raises(InputError, match="hop"):
        hop_samples(hop, 20.0)


@pytest.mark.parametrize(("hop", "rate", "samples"), [(1.0, 300.0, 300), (0.1, 300.0, 30), (1 / 3, 300.0, 100)])
def test_hops_in_samples(hop: float, rate: float, samples: int) -> None:
    assert hop_samples(hop, rate) == samples
