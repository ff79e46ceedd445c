import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.ecg.synthetic import generate
from edgeguard.errors import InputError
from edgeguard.firmware_sim.quality import QualityLimits, QualityMeter, grade

RATE = 100.0
LIMITS = QualityLimits(flat=5.0, calm=1_000.0, noisy=3_000.0)


def saw(slope: float, n: int = 100) -> np.ndarray:
    """Up and down by `slope` microvolts a second, 100 samples a second."""
    return slope / RATE * np.abs(np.arange(n) % 20 - 10.0)


def graded(samples: np.ndarray, **options) -> float:
    return grade(samples, sampling_rate=RATE, limits=LIMITS, **options)


@pytest.mark.parametrize(("slope", "expected"), [(500, 1), (1000, 1), (1500, 0.75), (2000, 0.5), (3000, 0), (9000, 0)])
def test_steepness_lowers_the_grade_in_a_straight_line(slope, expected):
    assert graded(saw(slope)) == pytest.approx(expected)


def test_a_beat_is_steep_too_briefly_to_count():
    """A spike of 1 mV within 80 ms on a gentle wave."""
    ecg = saw(500)
    ecg[40:48] += [200, 500, 800, 1000, 800, 500, 200, 50]
    assert graded(ecg) == 1


def test_share_of_samples_lost_or_at_a_rail():
    ecg = saw(500)
    invalid = np.zeros(100, bool)
    invalid[:25] = True
    assert graded(ecg, invalid=invalid) == pytest.approx(0.75)
    ecg[90:] = 5000.0
    assert graded(ecg, invalid=invalid, rails=(-5000.0, 5000.0)) == pytest.approx(0.65)
    assert graded(-ecg, invalid=invalid, rails=(-5000.0, 5000.0)) == pytest.approx(0.65)


def test_the_samples_under_a_flag_do_not_matter():
    ecg, invalid = saw(1500), np.arange(100) % 50 < 10
    wild = np.where(invalid, np.random.default_rng(0).normal(0, 1e5, 100), ecg)
    assert graded(wild, invalid=invalid) == graded(ecg, invalid=invalid) > 0


@pytest.mark.parametrize(
    "samples", [np.zeros(0), np.zeros(1), np.full(100, 40.0), np.resize([0.0, 4.9], 100), np.full(100, np.nan)]
)
def test_nothing_and_a_flat_line_are_worthless(samples):
    assert graded(samples) == 0


def test_all_invalid_is_worthless():
    assert graded(saw(500), invalid=np.ones(100, bool)) == 0


@given(st.lists(st.floats(-1e5, 1e5), min_size=3, max_size=60), st.floats(-1e4, 1e4))
def test_neither_polarity_nor_offset_matters(samples, offset):
    ecg = np.array(samples)
    value = graded(ecg)
    assert 0 <= value <= 1
    assert graded(-ecg) == value
    assert graded(ecg + offset) == pytest.approx(value, abs=1e-3) or np.ptp(ecg) == pytest.approx(5.0)


def meter() -> QualityMeter:
    return QualityMeter(sampling_rate=RATE, window_hops=3, limits=LIMITS)


def test_the_mean_of_the_latest_window():
    seen = meter()
    hops = [saw(2000), saw(500), np.zeros(0), saw(500), saw(500), saw(500)]
    expected = [0.5, 1.5 / 2, 1.5 / 3, 2 / 3, 2 / 3, 1]
    assert [seen.push(hop) for hop in hops] == pytest.approx(expected)


def test_reset_forgets_and_restore_remembers():
    one, other = meter(), meter()
    one.push(np.zeros(100))
    other.restore(one.state())
    assert one.push(saw(500)) == other.push(saw(500)) == 0.5
    one.reset()
    assert one.push(saw(500)) == 1.0
    with pytest.raises(InputError, match="no grades of 2 hops"):
        QualityMeter(sampling_rate=RATE, window_hops=2).restore(one.state())


def test_rhythms_are_good_and_noise_is_worse():
    """The default limits on synthetic recordings, whose noise is modelled on real ones."""
    quality: dict[str, list[float]] = {}
    for record in generate(80, seed=2):
        seen = QualityMeter(sampling_rate=record.sampling_rate, window_hops=1000)
        hops = record.ecg[: len(record.ecg) // 300 * 300].reshape(-1, 300)
        quality.setdefault(record.label, []).append([seen.push(hop) for hop in hops][-1])
    for label in "NAO":
        assert np.median(quality[label]) > 0.85
    assert np.mean(quality["~"]) < np.mean(quality["N"]) - 0.1
