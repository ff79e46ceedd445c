import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, find_peaks, sosfiltfilt

from edgeguard.ecg.rhythm_annotations import Span
from edgeguard.ecg.synthetic_day import SyntheticDay
from edgeguard.errors import InputError

RATE = 300


def signal(day: SyntheticDay) -> np.ndarray:
    return np.concatenate(list(day.blocks()))


def r_peaks(ecg: np.ndarray) -> np.ndarray:
    """Seconds of QRS complexes: energy of the 8-25 Hz band over a quarter of its usual beat height."""
    band = sosfiltfilt(butter(2, [8, 25], "bandpass", fs=RATE, output="sos"), ecg)
    energy = np.convolve(band**2, np.ones(30) / 30, "same")
    blocks = energy[: len(energy) // 600 * 600].reshape(-1, 600).max(axis=1)
    return find_peaks(energy, height=np.median(blocks) / 4, distance=75)[0] / RATE


@pytest.fixture(scope="module")
def busy() -> tuple[np.ndarray, list[Span]]:
    """Two hours of sinus rhythm with frequent fibrillation, and nothing else."""
    day = SyntheticDay(7200, seed=4, gap=240, episode=(60, 300), other_share=0, noise_share=0)
    return signal(day), day.time_line()


@settings(max_examples=10, deadline=None)
@given(
    seconds=st.floats(1, 400), more=st.floats(0, 300), seed=st.integers(0, 99), rate=st.sampled_from([100, 128, 512.0])
)
def test_a_shorter_day_is_the_beginning_of_a_longer_one(seconds, more, seed, rate):
    short = SyntheticDay(seconds, seed=seed, sampling_rate=rate, gap=30, noise_share=0.5)
    long = SyntheticDay(seconds + more, seed=seed, sampling_rate=rate, gap=30, noise_share=0.5)
    head = signal(short)
    assert head.shape == (short.samples,) and head.dtype == np.float32
    np.testing.assert_array_equal(head, signal(long)[: len(head)])
    np.testing.assert_array_equal(head, np.rint(head))
    assert np.abs(head).max() <= 10_000
    cut = [Span(s.start, min(s.end, seconds), s.label) for s in long.time_line() if s.start < seconds]
    assert short.time_line() == cut


def test_seeds_differ():
    days = [SyntheticDay(60, seed=seed) for seed in (0, 1)]
    assert not np.array_equal(signal(days[0]), signal(days[1]))


@pytest.mark.parametrize("seed", range(4))
def test_the_time_line_has_no_holes(seed):
    day = SyntheticDay(86_400, seed=seed)
    spans = day.time_line()
    assert spans[0].start == 0 and spans[-1].end == 86_400
    assert all(a.end == b.start and a.label != b.label for a, b in pairwise(spans))
    assert {span.label for span in spans} == {"N", "A", "O", "~"}
    lengths = [span.seconds for span in spans[:-1] if span.label == "A"]
    assert all(60 <= seconds <= 1200 for seconds in lengths)


def test_as_many_episodes_as_asked_for():
    """Gaps of 61 minutes and episodes of 6.3 (the mean of a log-uniform draw) take turns: 21 a day, less some noise."""
    counts = [sum(span.label == "A" for span in SyntheticDay(seed=seed).time_line()) for seed in range(60)]
    assert 19 < np.mean(counts) < 23


def test_fibrillation_is_irregular_where_the_time_line_says_so(busy):
    """Coefficient of variation of successive RR differences, span by span."""
    ecg, spans = busy
    irregular = {"N": [], "A": []}
    for span in spans:
        peaks = r_peaks(ecg[int(span.start) * RATE : int(span.end) * RATE])
        rr = np.diff(peaks)
        irregular[span.label].append(np.sqrt(np.mean(np.diff(rr) ** 2)) / rr.mean())
    assert len(irregular["A"]) > 8
    assert np.median(irregular["A"]) > 3 * np.median(irregular["N"])


def test_beats_go_on_where_spans_and_segments_meet(busy):
    """No pause longer, and no beat earlier, than the slowest and the fastest rhythm allow."""
    ecg, spans = busy
    peaks = r_peaks(ecg)
    for span in spans[1:]:
        near = peaks[np.abs(peaks - span.start) < 10]
        assert np.diff(near).min() > 0.25 and np.diff(near).max() < 2.5
    sinus = [np.diff(peaks[(peaks > s.start + 2) & (peaks < s.end - 2)]) for s in spans if s.label == "N"]
    ratios = np.concatenate([rr[1:] / rr[:-1] for rr in sinus])
    assert np.mean((ratios < 0.7) | (ratios > 1.4)) < 0.01


def test_noise_is_where_the_time_line_says_so():
    day = SyntheticDay(7200, seed=1, gap=1e6, noise_share=1.0)
    ecg, spans = signal(day), day.time_line()
    power = {
        label: [
            np.median(np.abs(np.diff(ecg[int(s.start) * RATE : int(s.end) * RATE]))) for s in spans if s.label == label
        ]
        for label in ("N", "~")
    }
    assert len(power["~"]) > 3 and min(power["~"]) > 3 * max(power["N"])


def test_no_seam_at_a_segment():
    """Steps between samples are no larger within a tenth of a second of the seams than elsewhere."""
    day = SyntheticDay(1800, seed=7, gap=1e6, other_share=0, noise_share=0)
    steps = np.abs(np.diff(signal(day), 2))
    seconds = np.arange(len(steps)) / RATE
    calm = np.median(steps)
    (span,) = day.time_line()
    assert span.label == "N"
    near = np.zeros(len(steps), bool)
    for seam in np.cumsum([len(block) for block in day.blocks()][:-1]) / RATE + 2:  # a block ends 2 s before its seam
        near |= np.abs(seconds - seam) < 0.1
    assert near.sum() > 1000 and np.median(steps[near]) < 2 * calm


def test_memory_does_not_grow_with_the_day():
    def peak(seconds: float) -> int:
        tracemalloc.start()
        longest = max(len(block) for block in SyntheticDay(seconds, seed=2, gap=600, sampling_rate=100).blocks())
        assert longest <= 61 * 100
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(600)
    assert peak(3 * 3600) < 1.5 * peak(3600)


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"seconds": 0.0}, "0 s at 300 Hz"),
        ({"sampling_rate": 50.0}, "at least 100 Hz"),
        ({"gap": 0.0}, "gap 0 s"),
        ({"episode": (5.0, 60.0)}, "at least 10 s"),
        ({"episode": (90.0, 60.0)}, "the shorter first"),
    ],
)
def test_settings_that_make_no_day_are_refused(settings_, message):
    with pytest.raises(InputError, match=message):
        SyntheticDay(**settings_)
