"""The noise estimate against recordings whose noise is known."""

import numpy as np
import pytest
from scipy.signal import butter, sosfiltfilt

from edgeguard.ecg import synthetic_rhythms as rhythms
from edgeguard.ecg.snr import BAND_HZ, r_peaks, snr_db
from edgeguard.ecg.synthetic_beats import beats, draw_morphology
from edgeguard.ecg.synthetic_noise import baseline_wander
from edgeguard.ecg.synthetic_rhythms import Rhythm

RATE, SAMPLES = 300.0, 9000


def heart(seed: int) -> tuple[np.ndarray, Rhythm]:
    """Thirty seconds of sinus rhythm without any noise."""
    rng = np.random.default_rng(seed)
    rhythm = rhythms.normal(rng, SAMPLES / RATE)
    return beats(rng, rhythm, draw_morphology(rng, wide=rhythm.wide), SAMPLES, RATE), rhythm


def in_band(signal: np.ndarray) -> np.ndarray:
    return np.asarray(sosfiltfilt(butter(2, BAND_HZ, btype="bandpass", fs=RATE, output="sos"), signal))


def with_noise(seed: int, level_db: float, kind: str = "white") -> np.ndarray:
    """The recording with noise that lies `level_db` below it in the estimate's band."""
    clean, _ = heart(seed)
    rng = np.random.default_rng([seed, 1])
    noise = rng.normal(size=SAMPLES)
    if kind == "muscle":
        noise = np.asarray(sosfiltfilt(butter(2, (10, 45), btype="bandpass", fs=RATE, output="sos"), noise))
    gain = np.sqrt(in_band(clean).var() / in_band(noise).var() / 10 ** (level_db / 10))
    return clean + gain * noise


@pytest.mark.parametrize("kind", ["white", "muscle"])
@pytest.mark.parametrize("level", [0.0, 5.0, 10.0])
def test_the_known_ratio_is_found_within_a_few_decibels(kind: str, level: float) -> None:
    found = [snr_db(with_noise(seed, level, kind), RATE) for seed in range(12)]
    assert abs(np.median(found) - level) < 3.5
    assert np.percentile(np.abs(np.array(found) - level), 90) < 6


@pytest.mark.parametrize("seed", range(6))
def test_more_noise_is_a_lower_figure(seed: int) -> None:
    found = [snr_db(with_noise(seed, level), RATE) for level in (30, 20, 15, 10, 5, 0, -5)]
    assert found == sorted(found, reverse=True)


def test_the_estimate_ends_where_it_says() -> None:
    clean = [snr_db(heart(seed)[0], RATE) for seed in range(8)]
    drowned = [snr_db(with_noise(seed, -30), RATE) for seed in range(8)]
    assert 14 < np.median(clean) < 25 and -12 < np.median(drowned) < -4


def test_a_short_spell_of_noise_is_left_aside() -> None:
    """The median over beats counts what most of them have."""
    quiet, loud = with_noise(0, 15), with_noise(0, -5)
    spell = np.where(np.arange(SAMPLES) < SAMPLES // 5, loud, quiet)
    assert snr_db(spell, RATE) == pytest.approx(snr_db(quiet, RATE), abs=2)


def test_baseline_wander_and_loudness_do_not_count() -> None:
    rng = np.random.default_rng(0)
    ecg = with_noise(0, 10)
    wandering = ecg + baseline_wander(rng, SAMPLES, RATE, 300)
    assert snr_db(wandering, RATE) == pytest.approx(snr_db(ecg, RATE), abs=1)
    assert snr_db(ecg * 3 + 500, RATE) == pytest.approx(snr_db(ecg, RATE), abs=1e-6)
    assert snr_db(-ecg, RATE) == pytest.approx(snr_db(ecg, RATE), abs=0.5)


@pytest.mark.parametrize("seed", range(6))
def test_r_peaks_are_where_the_beats_are(seed: int) -> None:
    ecg, rhythm = heart(seed)
    found = r_peaks(ecg, RATE) / RATE
    true = rhythm.qrs[(rhythm.qrs > 0.5) & (rhythm.qrs < SAMPLES / RATE - 0.5)]
    nearest = np.abs(found[None] - true[:, None]).min(1)
    assert (nearest < 0.06).mean() > 0.95 and abs(len(found) - len(true)) <= 4


@pytest.mark.parametrize(
    "ecg", [np.zeros(9000), np.full(9000, 7.0), np.zeros(100), heart(0)[0][:900]], ids=["0", "flat", "short", "3 s"]
)
def test_what_cannot_be_told_is_nan(ecg: np.ndarray) -> None:
    assert np.isnan(snr_db(ecg, RATE))


def test_a_rate_below_the_band_is_nan() -> None:
    assert np.isnan(snr_db(heart(0)[0], 90.0))


@pytest.mark.parametrize("rate", [128.0, 250.0, 1000.0])
def test_other_rates_will_do(rate: float) -> None:
    rng = np.random.default_rng(0)
    rhythm = rhythms.normal(rng, 30.0)
    clean = beats(rng, rhythm, draw_morphology(rng, wide=rhythm.wide), round(30 * rate), rate)
    noisy = clean + rng.normal(0, clean.std(), len(clean))
    assert snr_db(noisy, rate) < snr_db(clean, rate) > 10
