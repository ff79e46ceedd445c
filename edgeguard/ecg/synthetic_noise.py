"""What an electrode adds to an ECG, in microvolts: baseline wander, muscle, mains, motion, lost contact."""

from functools import cache

import numpy as np
from scipy.ndimage import uniform_filter1d
from scipy.signal import butter, sosfilt


def baseline_wander(rng: np.random.Generator, samples: int, sampling_rate: float, level: float) -> np.ndarray:
    """Respiration and slower drift of root mean square `level`."""
    time = np.arange(samples) / sampling_rate
    breath = np.sin(2 * np.pi * rng.uniform(0.15, 0.4) * time + rng.uniform(0, 2 * np.pi))
    return level * (breath + _band(rng, samples, sampling_rate, 0.05, 0.7)) / np.sqrt(1.5)


def muscle(rng: np.random.Generator, samples: int, sampling_rate: float, level: float) -> np.ndarray:
    """Electromyogram, 10 to 45 Hz, of root mean square `level`, swelling and fading."""
    swell = np.exp(0.6 * _band(rng, samples, sampling_rate, 0.05, 0.6))
    return level * swell * _band(rng, samples, sampling_rate, 10, 45)


def mains(rng: np.random.Generator, samples: int, sampling_rate: float, level: float) -> np.ndarray:
    """Hum of 50 or 60 Hz of amplitude `level`."""
    time = np.arange(samples) / sampling_rate
    hum = np.sin(2 * np.pi * rng.choice([50.0, 60.0]) * time + rng.uniform(0, 2 * np.pi))
    return level * np.exp(0.3 * _band(rng, samples, sampling_rate, 0.05, 0.5)) * hum


def motion(
    rng: np.random.Generator,
    samples: int,
    sampling_rate: float,
    level: float,
    rate: float,
    widths: tuple[float, float] = (0.03, 0.4),
) -> np.ndarray:
    """About `rate` bumps a second in groups of four, log-normal heights around `level`, widths in seconds."""
    out = np.zeros(samples)
    duration = samples / sampling_rate
    for start in rng.uniform(0, duration, rng.poisson(rate * duration / 4)):
        count = 1 + rng.poisson(3)
        centres = start + rng.exponential(0.5, count).cumsum() - 0.5
        spreads = np.exp(rng.uniform(np.log(widths[0]), np.log(widths[1]), count))
        heights = rng.choice([-1, 1], count) * level * np.exp(0.6 * rng.standard_normal(count))
        for centre, spread, height in zip(centres, spreads, heights, strict=True):
            low = max(0, int((centre - 4 * spread) * sampling_rate))
            high = max(0, min(samples, int((centre + 4 * spread) * sampling_rate)))
            offset = np.arange(low, high) / sampling_rate - centre
            out[low:high] += height * np.exp(-(offset**2) / (2 * spread**2))
    return out


def friction(rng: np.random.Generator, samples: int, sampling_rate: float, level: float) -> np.ndarray:
    """Noise of root mean square `level` in a random octave or two from 1 Hz up, swelling and fading."""
    low = 2 ** rng.uniform(0, 3.5)
    swell = np.exp(0.4 * _band(rng, samples, sampling_rate, 0.05, 0.6))
    return level * swell * _band(rng, samples, sampling_rate, low, low * 2 ** rng.uniform(0.7, 2))


def contact_steps(
    rng: np.random.Generator, samples: int, sampling_rate: float, level: float, rate: float
) -> np.ndarray:
    """Jumps of the electrode's offset, `rate` a second, that the front end's high-pass turns into decays."""
    jumps = np.zeros(samples)
    at = rng.integers(0, samples, rng.poisson(rate * samples / sampling_rate))
    np.add.at(jumps, at, level * rng.choice([-1, 1], len(at)) * np.exp(0.6 * rng.standard_normal(len(at))))
    return np.cumsum(jumps)


def spells(rng: np.random.Generator, samples: int, sampling_rate: float, share: float) -> np.ndarray:
    """Gate [samples] that is 1 during `share` of the time, in spells of seconds with soft edges, else 0."""
    slow = _band(rng, samples, sampling_rate, 0.02, 0.25)
    gate = (slow > np.quantile(slow, 1 - share)).astype(float)
    return uniform_filter1d(gate, max(1, round(0.2 * sampling_rate)), mode="nearest")


def front_end(ecg: np.ndarray, sampling_rate: float) -> np.ndarray:
    """The band of a hand-held recorder: 0.5 to 40 Hz."""
    return sosfilt(_front_end_filter(sampling_rate), ecg)


@cache
def _front_end_filter(sampling_rate: float) -> np.ndarray:
    return np.concatenate(
        [
            butter(1, 0.5, "highpass", fs=sampling_rate, output="sos"),
            butter(2, 40, "lowpass", fs=sampling_rate, output="sos"),
        ]
    )


def _band(rng: np.random.Generator, samples: int, sampling_rate: float, low: float, high: float) -> np.ndarray:
    """Gaussian noise of unit variance in a band; at the nearest frequency where a short record has none in it."""
    frequency = np.fft.rfftfreq(samples, 1 / sampling_rate)
    high = max(min(high, 0.45 * sampling_rate), frequency[1])
    inside = (frequency >= low) & (frequency <= high)
    if not inside.any():
        inside[1 + np.argmin(np.abs(frequency[1:] - low))] = True
    spectrum = np.zeros(len(frequency), complex)
    count = inside.sum()
    spectrum[inside] = rng.standard_normal(count) + 1j * rng.standard_normal(count)
    return np.fft.irfft(spectrum, samples) * samples / (2 * np.sqrt(count))
