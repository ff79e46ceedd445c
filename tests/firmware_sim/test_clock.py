from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.firmware_sim.clock import Clock, ClockSampler
from edgeguard.firmware_sim.indexed import drift, steps, white

RATE = 512.0


def tone(count: int, hertz: float = 12.0) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(count) / RATE)


def test_a_perfect_clock_changes_nothing() -> None:
    assert np.array_equal(ClockSampler(Clock(), RATE).push(tone(100)), tone(100))


@pytest.mark.parametrize("error", [-10_000.0, -50.0, 20.0, 300.0, 10_000.0])
def test_a_fast_clock_takes_samples_closer_together(error: float) -> None:
    out = ClockSampler(Clock(error), RATE).push(tone(20_000))
    expected = np.sin(2 * np.pi * 12 / RATE * np.arange(len(out)) / (1 + error * 1e-6))
    np.testing.assert_allclose(out[3:], expected[3:], atol=1e-5)
    assert len(out) == pytest.approx((20_000 - 3) * (1 + error * 1e-6), abs=1)


def test_the_wander_is_the_integral_of_a_sine() -> None:
    """Against the sum over samples of what each interval is short of the nominal one."""
    clock = Clock(error=0.0, wander=500.0, period=10.0)
    n = np.arange(20_000)
    intervals = 1 - 500e-6 * np.sin(2 * np.pi * (n + 0.5) / (10 * RATE))
    expected = np.concatenate([[0], np.cumsum(intervals)[:-1]])
    np.testing.assert_allclose(clock.positions(RATE).take(0, 20_000), expected, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(
    error=st.floats(-5000, 5000),
    wander=st.sampled_from([0.0, 400.0]),
    cuts=st.lists(st.integers(0, 9000), max_size=10),
    restart=st.integers(0, 10),
)
def test_chunks_and_a_restart_change_no_bit(error: float, wander: float, cuts: list[int], restart: int) -> None:
    clock, samples = Clock(error, wander, 7.0), tone(9000)
    running, parts = ClockSampler(clock, RATE), []
    for number, (start, stop) in enumerate(pairwise([0, *sorted(cuts), 9000])):
        if number == restart:
            state, running = running.state(), ClockSampler(clock, RATE)
            running.restore(state)
        parts.append(running.push(samples[start:stop]))
    assert np.array_equal(np.concatenate(parts), ClockSampler(clock, RATE).push(samples))


@pytest.mark.parametrize("settings_", [(2e5, 0.0, 1.0), (0.0, 10.0, 0.0), (float("nan"), 0.0, 1.0)])
def test_clocks_that_are_none_are_refused(settings_: tuple[float, float, float]) -> None:
    with pytest.raises(InputError, match="clock: "):
        Clock(*settings_)


@settings(max_examples=15, deadline=None)
@given(start=st.integers(0, 30_000), count=st.integers(0, 9000))
@pytest.mark.parametrize(
    "make", [lambda: white(3, 1, 2.0), lambda: drift(3, 2, RATE, 5.0), lambda: steps(3, 3, RATE, 9.0, 200.0)]
)
def test_indexed_noise_is_the_same_wherever_it_is_entered(make, start: int, count: int) -> None:
    whole = make().take(0, 40_000)
    assert np.array_equal(make().take(start, count), whole[start : start + count])


def test_white_and_drift_have_their_levels_and_slopes() -> None:
    count = 2**18
    assert white(0, 1, 2.0).take(0, count).std() == pytest.approx(2.0, rel=0.01)
    assert np.sqrt(np.mean([drift(s, 2, RATE, 60.0).take(0, count).var() for s in range(6)])) == pytest.approx(
        60, rel=0.2
    )
    spectrum = np.mean([np.abs(np.fft.rfft(drift(s, 2, RATE, 60.0).take(0, count))) ** 2 for s in range(6)], axis=0)
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    octaves = [spectrum[(hertz >= low) & (hertz < 2 * low)].sum() for low in (0.02, 0.04, 0.08, 0.16, 0.32)]
    assert max(octaves) < 3 * min(octaves)


def test_steps_come_once_a_stretch_and_hold() -> None:
    level = steps(0, 3, RATE, 9.0, 3600.0).take(0, 512 * 200)
    jumps = np.flatnonzero(np.diff(level)) + 1
    assert len(jumps) == 200 and np.array_equal(jumps // 512, np.arange(200))
