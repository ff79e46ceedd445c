from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, lfilter

from edgeguard.ecg.front_end import PRESETS, high_pass_section
from edgeguard.errors import InputError
from edgeguard.firmware_sim.filters import RestoringHighPass, SectionFilter

RATE = 512.0
SECTIONS = PRESETS["ads1292"].firmware_sections(RATE)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 300, count)


def by_hand(sections: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Direct form II transposed, one sample and one section at a time."""
    memory = np.zeros((len(sections), 2))
    out = []
    for x in samples:
        for (b0, b1, b2, _, a1, a2), z in zip(sections, memory, strict=True):
            y = b0 * x + z[0]
            z[0] = b1 * x - a1 * y + z[1]
            z[1] = b2 * x - a2 * y
            x = y
        out.append(x)
    return np.array(out)


def test_the_firmware_filters_are_three_sections_of_the_stated_bands() -> None:
    assert SECTIONS.shape == (3, 6)
    omega = np.exp(-2j * np.pi * np.array([0.5, 40.0, 50.0, 10.0]) / RATE)
    gain = np.ones(4, complex)
    for b0, b1, b2, _, a1, a2 in SECTIONS:
        gain *= (b0 + b1 * omega + b2 * omega**2) / (1 + a1 * omega + a2 * omega**2)
    assert abs(gain[0]) == pytest.approx(np.sqrt(0.5), rel=0.01)
    assert abs(gain[2]) == pytest.approx(0, abs=1e-9)
    assert abs(gain[3]) == pytest.approx(1, rel=0.01)


def test_sections_equal_the_recursion_written_out() -> None:
    samples = noise(400)
    np.testing.assert_allclose(SectionFilter(SECTIONS).push(samples), by_hand(SECTIONS, samples), rtol=1e-9, atol=1e-9)


def test_no_sections_change_nothing() -> None:
    samples = noise(20)
    assert np.array_equal(SectionFilter(np.empty((0, 6))).push(samples), samples)


@pytest.mark.parametrize(("sections", "rest"), [(SECTIONS, 0.0), (SECTIONS[1:], 70.0)])
def test_settled_filters_answer_a_constant_with_a_constant(sections: np.ndarray, rest: float) -> None:
    """The high-pass takes it all, low-pass and notch nothing."""
    settled = SectionFilter(sections)
    settled.settle(70.0)
    np.testing.assert_allclose(settled.push(np.full(100, 70.0)), rest, atol=1e-7)


def restoring(hold: int = 40, rail: float = 1000.0) -> RestoringHighPass:
    return RestoringHighPass(0.5, 20.0, RATE, rail=rail, hold=hold)


def restoring_by_hand(samples: np.ndarray, hold: int, rail: float) -> np.ndarray:
    slow, fast = (high_pass_section(corner, RATE)[0] for corner in (0.5, 20.0))
    x_before = y_before = 0.0
    left, out = 0, []
    for x in samples:
        b0, b1, _, _, a1, _ = fast if left else slow
        y = b0 * x + b1 * x_before - a1 * y_before
        left = hold if abs(y) >= rail else max(left - 1, 0)
        x_before, y_before = x, y
        out.append(y)
    return np.array(out)


def leaps(seed: int, count: int = 6000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    jumps = np.zeros(count)
    jumps[rng.integers(0, count, 8)] = rng.normal(0, 3000, 8)
    return np.cumsum(jumps) + rng.normal(0, 100, count)


@pytest.mark.parametrize("seed", range(4))
def test_restoring_equals_the_rule_sample_by_sample(seed: int) -> None:
    samples = leaps(seed)
    expected = restoring_by_hand(samples, 40, 1000.0)
    np.testing.assert_allclose(restoring().push(samples), expected, rtol=1e-9, atol=1e-6)


def test_within_the_rails_restoring_is_the_plain_high_pass() -> None:
    samples = noise(3000)
    b, a = butter(1, 0.5, "highpass", fs=RATE)
    np.testing.assert_allclose(restoring(rail=1e9).push(samples), lfilter(b, a, samples), atol=1e-9)


def test_restoring_clears_the_rail_sooner() -> None:
    step = np.full(2000, 20_000.0)
    slow = SectionFilter(high_pass_section(0.5, RATE)).push(step)
    fast = restoring().push(step)
    assert np.flatnonzero(np.abs(slow) >= 1000)[-1] > 10 * np.flatnonzero(np.abs(fast) >= 1000)[-1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 6000), max_size=12), saves=st.integers(0, 12))
@pytest.mark.parametrize("make", [lambda: SectionFilter(SECTIONS), restoring])
def test_chunks_and_a_restart_change_no_bit(make, seed: int, cuts: list[int], saves: int) -> None:
    samples = leaps(seed)
    whole = make().push(samples)
    running, parts = make(), []
    for number, (start, stop) in enumerate(pairwise([0, *sorted(cuts), len(samples)])):
        if number == saves:
            state, running = running.state(), make()
            running.restore(state)
        parts.append(running.push(samples[start:stop]))
    assert np.array_equal(np.concatenate(parts), whole)


def test_the_state_of_other_sections_is_refused() -> None:
    with pytest.raises(InputError, match="state: memory"):
        SectionFilter(SECTIONS).restore(SectionFilter(SECTIONS[1:]).state())
