from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from edgeguard.ecg.front_end import design_resampling
from edgeguard.errors import InputError
from edgeguard.firmware_sim.resampler import FlagResampler, Resampler

PAIRS = [(512.0, 300.0), (300.0, 512.0), (500.0, 300.0), (128.0, 300.0), (511.0, 300.0), (300.0, 300.0), (360.0, 20.0)]


def signal(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 300, count)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS)
def test_aligned_equals_scipys_polyphase(rate_in: float, rate_out: float) -> None:
    samples = signal(1500)
    design = design_resampling(rate_in, rate_out)
    expected = resample_poly(samples, design.up, design.down, window=design.taps / design.up)
    ours = Resampler(design, aligned=True).push(samples)
    assert len(ours) == -(-1500 * design.up // design.down) - design.delay
    np.testing.assert_allclose(ours, expected[: len(ours)], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("rate_in", "rate_out"), PAIRS[:4])
def test_causal_is_the_defining_sum(rate_in: float, rate_out: float) -> None:
    samples = signal(120)
    design = design_resampling(rate_in, rate_out)
    ours = Resampler(design).push(samples)
    assert len(ours) == -(-len(samples) * design.up // design.down)
    for m, value in enumerate(ours):
        terms = [
            design.taps[at] * sample
            for i, sample in enumerate(samples)
            if 0 <= (at := m * design.down - i * design.up) < len(design.taps)
        ]
        assert value == pytest.approx(sum(terms), abs=1e-9)


def test_causal_is_aligned_moved_by_the_delay() -> None:
    samples = signal(2000)
    design = design_resampling(512.0, 300.0)
    resampler = Resampler(design)
    causal, aligned = resampler.push(samples), Resampler(design, aligned=True).push(samples)
    assert resampler.delay == design.delay and Resampler(design, aligned=True).delay == 0
    np.testing.assert_array_equal(causal[design.delay :], aligned)


def test_a_slow_sine_comes_out_a_slow_sine() -> None:
    seconds = np.arange(5120) / 512
    ours = Resampler(design_resampling(512.0, 300.0), aligned=True).push(np.sin(2 * np.pi * 7 * seconds))
    inner = slice(30, -30)
    expected = np.sin(2 * np.pi * 7 * np.arange(len(ours)) / 300)
    np.testing.assert_allclose(ours[inner], expected[inner], atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    aligned=st.booleans(),
    cuts=st.lists(st.integers(0, 1500), max_size=20),
    restart=st.integers(0, 20),
)
def test_chunks_and_a_restart_change_no_bit(pair, aligned: bool, cuts: list[int], restart: int) -> None:
    samples = signal(1500)
    design = design_resampling(*pair)
    running, parts = Resampler(design, aligned=aligned), []
    for number, (start, stop) in enumerate(pairwise([0, *sorted(cuts), len(samples)])):
        if number == restart:
            state, running = running.state(), Resampler(design, aligned=aligned)
            running.restore(state)
        parts.append(running.push(samples[start:stop]))
    assert np.array_equal(np.concatenate(parts), Resampler(design, aligned=aligned).push(samples))


@settings(max_examples=40, deadline=None)
@given(
    pair=st.sampled_from(PAIRS),
    marked=st.lists(st.tuples(st.integers(0, 599), st.sampled_from([1, 2, 4, 8, 5])), max_size=4),
    cuts=st.lists(st.integers(0, 600), max_size=8),
)
def test_flags_mark_exactly_the_outputs_that_a_marked_input_reaches(pair, marked, cuts: list[int]) -> None:
    design = design_resampling(*pair)
    flags = np.zeros(600, np.uint8)
    for at, flag in marked:
        flags[at] |= flag
    running = FlagResampler(design)
    parts = [running.push(flags[start:stop]) for start, stop in pairwise([0, *sorted(cuts), len(flags)])]
    ours = np.concatenate(parts)
    expected = np.zeros(-(-600 * design.up // design.down), np.uint8)
    for at in np.flatnonzero(flags):
        reached = np.arange(len(expected)) * design.down - at * design.up
        expected[(reached >= 0) & (reached < len(design.taps))] |= flags[at]
    assert np.array_equal(ours, expected)


@pytest.mark.parametrize("rate", [511.562, 511.422, 512.0, 511.0])
def test_odd_rates_are_met_within_a_part_per_million(rate: float) -> None:
    design = design_resampling(rate, 300.0)
    assert abs(Fraction(design.up, design.down) / Fraction(300 / rate) - 1) < 1e-6
    assert design.taps.sum() == pytest.approx(design.up)
    assert len(design.taps) == 2 * design.delay * design.down + 1


@pytest.mark.parametrize("rate", [0.0, -5.0, float("nan"), float("inf"), 1.0, 1e6])
def test_rates_that_are_none_are_refused(rate: float) -> None:
    with pytest.raises(InputError, match="sampling rate: "):
        design_resampling(rate, 300.0)
