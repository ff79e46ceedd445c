"""Synthetic single-lead recordings of the four classes: the data set that is always there."""

from collections.abc import Iterator

import numpy as np

from edgeguard.ecg import synthetic_noise as noise
from edgeguard.ecg import synthetic_rhythms as rhythms
from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, Record
from edgeguard.ecg.synthetic_beats import beats, draw_morphology
from edgeguard.errors import InputError

VERSION = 2
"""Rises with every change of the records, so that a cache of older ones is not taken for these."""

_RHYTHMS = {"N": rhythms.normal, "A": rhythms.atrial_fibrillation, "O": rhythms.other}
_RANGE = 10_000
"""Microvolts at which the recorder's converter saturates."""


def generate(
    n: int, *, seed: int = 0, duration: float = 30.0, sampling_rate: float = SAMPLING_RATE
) -> Iterator[Record]:
    """Records S00001 to S..n, the classes in turn; record i depends on (seed, i) only.

    Args:
        duration: seconds of most records; one in five is shorter, down to 0.3 of it, whatever its class.

    Yields:
        Records of float32 whole microvolts.
    """
    for i in range(n):
        rng = np.random.default_rng([seed, i])
        seconds = duration * (rng.uniform(0.3, 1) if rng.random() < 0.2 else 1.0)
        label = CLASSES[i % len(CLASSES)]
        ecg = synthesise(label, rng, duration=seconds, sampling_rate=sampling_rate)
        yield Record(f"S{i + 1:05d}", ecg, sampling_rate, label)


def synthesise(
    label: str, rng: np.random.Generator, *, duration: float = 30.0, sampling_rate: float = SAMPLING_RATE
) -> np.ndarray:
    """One recording of a class, of any length from 2 s to hours.

    A usable recording (N, A, O) has storms of noise in at most 30 % of its time. In one of the class ~ they
    cover more than half, and the whole is scaled to the loudness of usable recordings.

    Returns:
        float32 [round(duration * sampling_rate)], whole microvolts.

    Raises:
        InputError: unknown label, less than 2 s, or less than 100 Hz (the recorder's band ends at 40 Hz).
    """
    if label not in CLASSES:
        raise InputError(f"synthetic: label {label!r} is none of {', '.join(CLASSES)}")
    if duration < 2 or sampling_rate < 100:
        raise InputError(f"synthetic: {duration:g} s at {sampling_rate:g} Hz; ask for at least 2 s and 100 Hz")
    samples = round(duration * sampling_rate)
    rhythm = _RHYTHMS.get(label, _any_rhythm)(rng, duration)
    ecg = beats(rng, rhythm, draw_morphology(rng, wide=rhythm.wide), samples, sampling_rate)
    ecg = noise.front_end(ecg + _background(rng, samples, sampling_rate), sampling_rate)
    if label == "~":
        ecg += _storms(rng, ecg.std() * _around(rng, 2.2, 0.35), rng.uniform(0.55, 1), samples, sampling_rate)
        ecg *= _around(rng, 178, 0.45) / ecg.std()
    elif (share := rng.uniform(-0.15, 0.3)) > 0:
        ecg += _storms(rng, ecg.std() * _around(rng, 1.5, 0.7), share, samples, sampling_rate)
    if rng.random() < 0.15:
        knocks = noise.motion(rng, samples, sampling_rate, _around(rng, 2200, 0.3), 0.1, (0.04, 0.12))
        ecg += noise.front_end(knocks, sampling_rate)
    return np.rint(np.clip(ecg, -_RANGE, _RANGE)).astype(np.float32)


def _any_rhythm(rng: np.random.Generator, duration: float) -> rhythms.Rhythm:
    return list(_RHYTHMS.values())[rng.integers(len(_RHYTHMS))](rng, duration)


def _background(rng: np.random.Generator, samples: int, sampling_rate: float) -> np.ndarray:
    """What every recording has, however good."""
    return (
        noise.baseline_wander(rng, samples, sampling_rate, _around(rng, 60, 0.6))
        + noise.muscle(rng, samples, sampling_rate, _around(rng, 5, 0.9))
        + noise.mains(rng, samples, sampling_rate, _around(rng, 3, 0.8))
    )


def _storms(rng: np.random.Generator, level: float, share: float, samples: int, sampling_rate: float) -> np.ndarray:
    """Noise of root mean square `level` in spells that cover a `share` of the time."""
    storm = noise.front_end(_storm(rng, samples, sampling_rate), sampling_rate)
    return level / storm.std() * noise.spells(rng, samples, sampling_rate, share) * storm


def _storm(rng: np.random.Generator, samples: int, sampling_rate: float) -> np.ndarray:
    """A random mixture of what can hide the rhythm."""
    shares = rng.dirichlet([0.4, 0.6, 0.6, 0.6, 0.6])
    return (
        noise.muscle(rng, samples, sampling_rate, 120 * shares[0])
        + noise.friction(rng, samples, sampling_rate, 400 * shares[1])
        + noise.motion(rng, samples, sampling_rate, 900 * shares[2], rng.uniform(1, 4))
        + noise.motion(rng, samples, sampling_rate, 1200 * shares[3], rng.uniform(1, 4), (0.008, 0.06))
        + noise.contact_steps(rng, samples, sampling_rate, 1500 * shares[4], rng.uniform(0.2, 1))
    )


def _around(rng: np.random.Generator, median: float, spread: float) -> float:
    """A log-normal draw."""
    return float(median * np.exp(spread * rng.standard_normal()))
