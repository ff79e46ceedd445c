"""Synthetic single-lead recordings of the four classes: the data set that is always there."""

from collections.abc import Iterator

import numpy as np

from edgeguard.ecg import synthetic_noise as noise
from edgeguard.ecg import synthetic_rhythms as rhythms
from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, Record
from edgeguard.ecg.synthetic_beats import beats, draw_morphology

VERSION = 1
"""Rises with every change of the records, so that a cache of older ones is not taken for these."""


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
    """One recording of a class, of any length: float32 [round(duration * sampling_rate)], whole microvolts."""
    samples = round(duration * sampling_rate)
    rhythm = _RHYTHMS[label if label != "~" else CLASSES[rng.integers(3)]](rng, duration)
    morphology = draw_morphology(rng, wide=rhythm.wide)
    ecg = beats(rng, rhythm, morphology, samples, sampling_rate)
    if label == "~":
        ecg = _buried(rng, ecg, sampling_rate)
    else:
        ecg = noise.front_end(ecg + _disturbance(rng, samples, sampling_rate), sampling_rate)
    return np.rint(ecg).astype(np.float32)


_RHYTHMS = {"N": rhythms.normal, "A": rhythms.atrial_fibrillation, "O": rhythms.other}


def _disturbance(rng: np.random.Generator, samples: int, sampling_rate: float) -> np.ndarray:
    """The noise of a usable recording: always some, now and then a few bad seconds."""
    out = noise.baseline_wander(rng, samples, sampling_rate, _around(rng, 60, 0.6))
    out += noise.muscle(rng, samples, sampling_rate, _around(rng, 11, 0.8))
    out += noise.mains(rng, samples, sampling_rate, _around(rng, 4, 0.8))
    out += noise.motion(rng, samples, sampling_rate, _around(rng, 250, 1.0), rng.uniform(0, 0.5))
    if rng.random() < 0.5:
        gate = noise.episodes(rng, samples, sampling_rate, 0.06, 3.0)
        out += gate * noise.muscle(rng, samples, sampling_rate, _around(rng, 60, 0.5))
    if rng.random() < 0.3:
        out += noise.contact_steps(rng, samples, sampling_rate, _around(rng, 800, 0.7), 0.05)
    return out


def _buried(rng: np.random.Generator, ecg: np.ndarray, sampling_rate: float) -> np.ndarray:
    """A recording in which noise hides the rhythm, as loud as the usable ones are."""
    samples = len(ecg)
    out = noise.baseline_wander(rng, samples, sampling_rate, _around(rng, 120, 0.6))
    out += noise.mains(rng, samples, sampling_rate, _around(rng, 8, 1.0))
    shares = rng.dirichlet([0.5, 1.0, 0.7])
    out += noise.muscle(rng, samples, sampling_rate, 120 * shares[0])
    out += noise.motion(rng, samples, sampling_rate, 900 * shares[1], rng.uniform(1, 3))
    out += noise.contact_steps(rng, samples, sampling_rate, 1500 * shares[2], rng.uniform(0.2, 1))
    out = noise.front_end(out, sampling_rate)
    heard = noise.front_end(ecg, sampling_rate)
    out += heard * rng.uniform(0.1, 0.4) * out.std() / (heard.std() + 1e-9)
    return out * _around(rng, 180, 0.45) / (out.std() + 1e-9)


def _around(rng: np.random.Generator, median: float, spread: float) -> float:
    """A log-normal draw."""
    return float(median * np.exp(spread * rng.standard_normal()))
