import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.signal import butter, find_peaks, periodogram, sosfiltfilt
from scipy.stats import kurtosis, skew

from edgeguard.ecg import synthetic_beats, synthetic_noise, synthetic_rhythms
from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, WINDOW
from edgeguard.ecg.synthetic import generate, synthesise
from edgeguard.errors import InputError


@pytest.fixture(scope="module")
def records():
    return list(generate(1200, seed=11))


def r_peaks(ecg: np.ndarray) -> np.ndarray:
    """Seconds of QRS complexes: energy of the 8-25 Hz band over a quarter of its usual beat height."""
    band = sosfiltfilt(butter(2, [8, 25], "bandpass", fs=SAMPLING_RATE, output="sos"), ecg)
    energy = np.convolve(band**2, np.ones(30) / 30, "same")
    blocks = energy[: len(energy) // 600 * 600].reshape(-1, 600).max(axis=1)
    return find_peaks(energy, height=np.median(blocks) / 4, distance=75)[0] / SAMPLING_RATE


def clean(rhythm_of, seed: int, duration: float = 60.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rhythm = rhythm_of(rng, duration)
    morphology = synthetic_beats.draw_morphology(rng, wide=rhythm.wide)
    return synthetic_beats.beats(rng, rhythm, morphology, round(duration * SAMPLING_RATE), SAMPLING_RATE)


def before_r(ecg: np.ndarray) -> np.ndarray:
    """Median over beats of the 180 ms that end 55 ms before R, without its straight line.

    Only beats more than 0.7 s after the one before count: in the others the T wave reaches into that stretch.
    """
    peaks = r_peaks(ecg)
    ends = ((peaks[1:][np.diff(peaks) > 0.7] - 0.055) * SAMPLING_RATE).astype(int)
    mean = np.median([ecg[end - 54 : end] for end in ends], axis=0)
    time = np.arange(len(mean))
    return mean - np.polyval(np.polyfit(time, mean, 1), time)


def test_balanced_named_whole_microvolts(records):
    assert [r.label for r in records[:5]] == ["N", "A", "O", "~", "N"]
    assert [r.name for r in records[:2]] == ["S00001", "S00002"]
    assert len({r.name for r in records}) == len(records)
    for record in records:
        assert record.ecg.dtype == np.float32 and record.sampling_rate == 300.0
        assert np.array_equal(record.ecg, np.rint(record.ecg))
        assert np.abs(record.ecg).max() <= 10_000 and record.ecg.std() > 20


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 6), more=st.integers(1, 4))
def test_shorter_set_is_a_prefix_of_a_longer_one(seed, n, more):
    short, long = list(generate(n, seed=seed)), list(generate(n + more, seed=seed))
    assert len(short) == n
    for a, b in zip(short, long, strict=False):
        assert (a.name, a.label) == (b.name, b.label) and np.array_equal(a.ecg, b.ecg)


def test_records_and_seeds_differ(records):
    assert len({record.ecg.tobytes() for record in records}) == len(records)
    other = next(iter(generate(1, seed=12)))
    assert not np.array_equal(other.ecg, records[0].ecg)


def test_lengths_are_no_class_cue(records):
    lengths = np.array([len(record.ecg) for record in records])
    assert lengths.max() == WINDOW and 9 * 300 <= lengths.min() < 12 * 300
    short = [np.mean(lengths[i::4] < WINDOW) for i in range(4)]
    assert all(0.12 < share < 0.28 for share in short)


@settings(max_examples=15, deadline=None)
@given(
    label=st.sampled_from(CLASSES),
    duration=st.floats(2, 40),
    rate=st.sampled_from([100.0, 128.0, 250.0, 300.0, 512.0]),
    seed=st.integers(0, 2**31),
)
def test_any_duration_and_rate(label, duration, rate, seed):
    ecg = synthesise(label, np.random.default_rng(seed), duration=duration, sampling_rate=rate)
    assert ecg.shape == (round(duration * rate),) and np.isfinite(ecg).all() and ecg.std() > 0


def test_an_hour_keeps_its_rhythm():
    ecg = synthesise("A", np.random.default_rng(5), duration=3600)
    assert ecg.shape == (3600 * 300,)
    for part in (ecg[:WINDOW], ecg[-WINDOW:]):
        assert 40 < len(r_peaks(part)) * 2 < 220


@pytest.mark.parametrize(
    ("label", "options", "message"),
    [
        ("X", {}, "label 'X' is none of N, A, O, ~"),
        ("N", {"duration": 1.0}, "at least 2 s"),
        ("N", {"sampling_rate": 50.0}, "100 Hz"),
    ],
)
def test_refuses_what_it_cannot_make(label, options, message):
    with pytest.raises(InputError, match=message):
        synthesise(label, np.random.default_rng(0), **options)


def test_z_equation_against_small_euler_steps():
    """The filter's solution of dz/dt = -sum(...) - z equals Euler steps at 30 kHz."""
    height, width, centre, fine = 1000.0, 0.02, 1.0, 30_000
    z, expected = 0.0, []
    for k in range(2 * fine):
        offset = k / fine - centre
        z += (-height * offset / width**2 * np.exp(-(offset**2) / (2 * width**2)) - z) / fine
        expected.append(z)
    wave = synthetic_beats.Wave(0.0, width * 2 * np.pi, height)
    still = synthetic_beats.Morphology(wave, (wave,), (), (), (), 0.0, 0.0, (0.0, 0.25))
    ones, none = np.ones(1), np.zeros(1, bool)
    rhythm = synthetic_rhythms.Rhythm(ones * centre, ones, none, np.empty(0))
    ecg = synthetic_beats.beats(_NoJitter(), rhythm, still, 600, SAMPLING_RATE)
    assert np.abs(ecg - np.array(expected)[:: fine // 300]).max() < 0.01 * height
    assert 290 <= ecg.argmax() <= 302


class _NoJitter:
    """A generator whose normal draws are all zero."""

    def standard_normal(self, size: int) -> np.ndarray:
        return np.zeros(size)


@pytest.mark.parametrize(
    ("rhythm_of", "low", "high"),
    [
        (synthetic_rhythms.normal, 49, 102),
        (synthetic_rhythms.bradycardia, 33, 48),
        (synthetic_rhythms.tachycardia, 105, 164),
        (synthetic_rhythms.atrial_fibrillation, 54, 140),
    ],
)
def test_heart_rates(rhythm_of, low, high):
    for seed in range(12):
        rhythm = rhythm_of(np.random.default_rng(seed), 60.0)
        inside = rhythm.qrs[(rhythm.qrs >= 0) & (rhythm.qrs < 60)]
        assert low < 60 / np.diff(inside).mean() < high
        assert np.diff(rhythm.qrs).min() >= 0.28 and rhythm.qrs[0] <= 0 and rhythm.qrs[-1] >= 60


def test_detected_beats_are_the_rhythms_beats():
    """The independent detector finds in the trace the beats that the rhythm put there."""
    for seed in range(8):
        rhythm = synthetic_rhythms.normal(np.random.default_rng(seed), 60.0)
        truth = rhythm.qrs[(rhythm.qrs > 0.5) & (rhythm.qrs < 59.5)]
        found = r_peaks(clean(synthetic_rhythms.normal, seed))
        assert np.mean([np.abs(found - t).min() < 0.1 for t in truth]) > 0.95


def variability(ecg: np.ndarray) -> float:
    """Median absolute difference of successive RR intervals over the median interval, from detected peaks."""
    rr = np.diff(r_peaks(ecg))
    return float(np.median(np.abs(np.diff(rr))) / np.median(rr))


def test_fibrillation_is_irregular_and_sinus_is_not(records):
    """On the noisy records themselves, so also through the noise."""
    sinus = np.array([variability(r.ecg) for r in records[0:200:4]])
    fibrillation = np.array([variability(r.ecg) for r in records[1:200:4]])
    greater = np.mean(fibrillation[:, None] > sinus[None, :])
    assert np.median(fibrillation) > 2 * np.median(sinus) and greater > 0.8


def test_p_wave_before_sinus_beats_only():
    sinus = [np.ptp(before_r(_slow(synthetic_rhythms.normal, seed))) for seed in range(20)]
    fibrillation = [np.ptp(before_r(_slow(synthetic_rhythms.atrial_fibrillation, seed))) for seed in range(20)]
    assert np.median(sinus) > 30
    assert np.median(sinus) > 2 * np.median(fibrillation)


def _slow(rhythm_of, seed: int) -> np.ndarray:
    """A clean trace of the first seed, from 1000 * seed on, whose mean interval is at least 0.75 s."""
    while len(r_peaks(ecg := clean(rhythm_of, 1000 * seed))) > 80:
        seed += 1000
    return ecg


def test_fibrillatory_wave_lies_between_4_and_9_hz():
    for seed in range(10):
        wave = synthetic_beats.fibrillatory_wave(np.random.default_rng(seed), 50.0, WINDOW, SAMPLING_RATE)
        frequency, power = periodogram(wave, SAMPLING_RATE)
        assert 4 <= frequency[power.argmax()] <= 9
        assert power[(frequency > 4) & (frequency < 9)].sum() > 0.6 * power.sum()
        assert 25 < np.abs(wave).max() < 110


def test_ventricular_beats_are_early_wide_and_compensated():
    rng = np.random.default_rng(3)
    rhythm = synthetic_rhythms.ventricular_ectopy(rng, 60.0)
    early = np.flatnonzero(rhythm.ventricular)
    early = early[early < len(rhythm.qrs) - 1]
    assert len(early) >= 2
    usual = np.median(rhythm.rr)
    assert (rhythm.rr[early] < 0.8 * usual).all() and (rhythm.rr[early + 1] > 1.2 * usual).all()
    for seed in range(5):
        morphology = synthetic_beats.draw_morphology(np.random.default_rng(seed))
        assert min(w.width for w in morphology.ventricular_qrs) > 2 * max(w.width for w in morphology.qrs)


def test_wenckebach_lengthens_pr_until_a_beat_drops():
    rhythm = synthetic_rhythms.wenckebach(np.random.default_rng(0), 60.0)
    assert len(rhythm.qrs) < len(rhythm.p)
    preceding = rhythm.p[np.searchsorted(rhythm.p, rhythm.qrs) - 1]
    pr = rhythm.qrs - preceding
    falls = np.flatnonzero(np.diff(pr) < 0)
    rises = np.delete(np.diff(pr), falls)
    assert (rises > 0.04).all() and len(falls) >= 5
    assert (np.diff(rhythm.qrs)[falls] > 1.2 * np.median(np.diff(rhythm.qrs))).all()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_spells_cover_their_share(share):
    gate = synthetic_noise.spells(np.random.default_rng(0), 60 * 300, SAMPLING_RATE, share)
    assert abs(gate.mean() - share) < 0.01 and gate.min() >= 0 and gate.max() <= 1 + 1e-9


def test_noise_levels_are_root_mean_squares():
    rng = np.random.default_rng(0)
    rms = [
        np.mean([make(rng, WINDOW, SAMPLING_RATE, 50.0).std() for _ in range(40)])
        for make in (synthetic_noise.baseline_wander, synthetic_noise.mains)
    ]
    assert 40 < rms[0] < 60
    assert 30 < rms[1] < 45


def test_amplitudes_spread_as_in_cinc_2017(records):
    """CinC 2017, training side: max |x| has median 1177 uV and 95th percentile 4153 uV; median std 178 uV."""
    peak = np.array([np.abs(r.ecg).max() for r in records])
    assert abs(np.median(peak) / 1177 - 1) < 0.15
    assert 3000 < np.percentile(peak, 95) < 5500
    assert abs(np.median([r.ecg.std() for r in records]) / 178 - 1) < 0.15


def test_amplitude_statistics_alone_tell_little(records):
    """Multinomial logistic regression on amplitude statistics and their logarithms stays below 60 %."""
    raw = np.array([_statistics(r.ecg.astype(float)) for r in records])
    x = np.concatenate([raw, np.sign(raw) * np.log1p(np.abs(raw))], axis=1)
    y = np.array([CLASSES.index(r.label) for r in records])
    x = (x - x[:800].mean(0)) / x[:800].std(0)
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        logits = x[:800] @ weights.reshape(-1, 4)
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        gradient = x[:800].T @ (p - np.eye(4)[y[:800]]) / 800 + 2e-3 * weights.reshape(-1, 4)
        return float(-np.log(p[range(800), y[:800]]).mean() + 1e-3 * (weights**2).sum()), gradient.ravel()

    weights = minimize(loss, np.zeros(x.shape[1] * 4), jac=True, method="L-BFGS-B").x.reshape(-1, 4)
    accuracy = np.mean((x[800:] @ weights).argmax(1) == y[800:])
    assert 0.3 < accuracy < 0.6


def _statistics(ecg: np.ndarray) -> list[float]:
    return [
        ecg.mean(),
        ecg.std(),
        np.abs(ecg).max(),
        *np.percentile(ecg, [1, 5, 25, 50, 75, 95, 99]),
        skew(ecg),
        kurtosis(ecg),
        np.diff(ecg).std(),
    ]


def test_generating_imports_no_torch():
    program = "import sys; from edgeguard.ecg import synthetic as s; next(s.generate(1)); "
    program += "print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_generate_is_lazy():
    assert len(list(islice(generate(10**9), 2))) == 2
