"""When the chambers of a synthetic heart activate: sinus rhythm, atrial fibrillation, ectopy, blocks."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_LEAD_IN = 2.0
"""Seconds of rhythm before the first and after the last sample, so that no wave is missing at an end."""


@dataclass(frozen=True)
class Rhythm:
    """Activation times in seconds from the record's first sample; some lie outside the record.

    Attributes:
        qrs: [K] R peaks, rising.
        rr: [K] seconds, the interval that ends in each R peak.
        ventricular: bool [K], True where the beat starts in a ventricle (wide, without a P wave).
        p: [M] peaks of P waves; a blocked one has no QRS, a ventricular beat has none of them.
        fibrillating: the atria fibrillate (then `p` is empty).
        wide: QRS conducted with a bundle branch block.
    """

    qrs: np.ndarray
    rr: np.ndarray
    ventricular: np.ndarray
    p: np.ndarray
    fibrillating: bool = False
    wide: bool = False


def normal(rng: np.random.Generator, duration: float) -> Rhythm:
    """Sinus rhythm of 50 to 100 beats a minute."""
    return _conducted(rng, _sinus(rng, duration, rng.uniform(52, 98)))


def atrial_fibrillation(rng: np.random.Generator, duration: float) -> Rhythm:
    """Independent log-normal RR intervals without P waves; mean rate 60 to 130 beats a minute."""
    mean, spread = 60 / rng.uniform(60, 130), rng.uniform(0.05, 0.18)
    count = int((duration + 2 * _LEAD_IN) / mean * 1.5) + 8
    rr = mean * np.exp(spread * rng.standard_normal(count) - spread**2 / 2)
    qrs = np.cumsum(np.maximum(rr, 0.3)) - _LEAD_IN
    qrs = qrs[: np.searchsorted(qrs, duration + _LEAD_IN) + 1]
    return Rhythm(qrs, _intervals(qrs), np.zeros(len(qrs), bool), np.empty(0), fibrillating=True)


def other(rng: np.random.Generator, duration: float) -> Rhythm:
    """One of the rhythms that are neither normal nor fibrillation."""
    return _OTHER[rng.integers(len(_OTHER))](rng, duration)


def bradycardia(rng: np.random.Generator, duration: float) -> Rhythm:
    """Sinus rhythm of 34 to 46 beats a minute."""
    return _conducted(rng, _sinus(rng, duration, rng.uniform(34, 46)))


def tachycardia(rng: np.random.Generator, duration: float) -> Rhythm:
    """Sinus rhythm of 108 to 160 beats a minute."""
    return _conducted(rng, _sinus(rng, duration, rng.uniform(108, 160)))


def ventricular_ectopy(rng: np.random.Generator, duration: float) -> Rhythm:
    """Premature ventricular beats with a full compensatory pause, at random places."""
    times = _sinus(rng, duration, rng.uniform(52, 98))
    return _with_ventricular(rng, times, _scattered(rng, times, duration))


def ventricular_bigeminy(rng: np.random.Generator, duration: float) -> Rhythm:
    """Every second or every third beat is a premature ventricular one."""
    times = _sinus(rng, duration, rng.uniform(52, 98))
    return _with_ventricular(rng, times, np.arange(1, len(times) - 1, rng.integers(2, 4)))


def atrial_ectopy(rng: np.random.Generator, duration: float) -> Rhythm:
    """Premature atrial beats; each resets the sinus node, so that the following beats move with it."""
    times = _sinus(rng, duration, rng.uniform(52, 98))
    early = _scattered(rng, times, duration)
    rr = np.diff(times)
    rr[early - 1] *= rng.uniform(0.5, 0.7, len(early))
    rr[early] *= rng.uniform(1.0, 1.3, len(early))
    return _conducted(rng, np.concatenate([times[:1], times[0] + np.cumsum(rr)]))


def wenckebach(rng: np.random.Generator, duration: float) -> Rhythm:
    """Second-degree block, Mobitz I: the PR interval grows over 3 to 5 beats until one is not conducted."""
    p = _sinus(rng, duration, rng.uniform(60, 98))
    cycle = rng.integers(3, 6)
    place = (np.arange(len(p)) + rng.integers(cycle)) % cycle
    delay = rng.uniform(0.14, 0.2) + rng.uniform(0.05, 0.1) * place
    qrs = (p + delay)[place < cycle - 1]
    return Rhythm(qrs, _intervals(qrs), np.zeros(len(qrs), bool), p)


def dropped_beats(rng: np.random.Generator, duration: float) -> Rhythm:
    """Second-degree block, Mobitz II: single P waves are not conducted, the PR interval stays."""
    p = _sinus(rng, duration, rng.uniform(60, 98))
    dropped = _scattered(rng, p, duration)
    qrs = np.delete(p, dropped) + _pr_interval(rng)
    return Rhythm(qrs, _intervals(qrs), np.zeros(len(qrs), bool), p)


def first_degree_block(rng: np.random.Generator, duration: float) -> Rhythm:
    """Sinus rhythm with a PR interval of 0.25 to 0.35 s."""
    times = _sinus(rng, duration, rng.uniform(52, 90))
    return Rhythm(times, _intervals(times), np.zeros(len(times), bool), times - rng.uniform(0.25, 0.35))


def bundle_branch_block(rng: np.random.Generator, duration: float) -> Rhythm:
    """Sinus rhythm with a wide QRS."""
    times = _sinus(rng, duration, rng.uniform(52, 98))
    return Rhythm(times, _intervals(times), np.zeros(len(times), bool), times - _pr_interval(rng), wide=True)


_OTHER: tuple[Callable[[np.random.Generator, float], Rhythm], ...] = (
    bradycardia,
    tachycardia,
    ventricular_ectopy,
    ventricular_bigeminy,
    atrial_ectopy,
    wenckebach,
    dropped_beats,
    first_degree_block,
    bundle_branch_block,
)


def _sinus(rng: np.random.Generator, duration: float, rate: float) -> np.ndarray:
    """Firing times of the sinus node at a mean `rate` in beats a minute.

    The instantaneous RR interval has the bimodal spectrum of McSharry et al. 2003: Gaussians at 0.1 Hz (Mayer
    waves) and near 0.25 Hz (respiration). Its inverse is integrated, and each whole number is a beat.
    """
    step = 0.25
    span = duration + 2 * _LEAD_IN
    time = np.arange(0, span + step, step)
    frequency = np.fft.rfftfreq(2 * len(time), step)
    ratio, breathing = rng.uniform(0.5, 2), rng.uniform(0.2, 0.32)
    power = ratio * _bell(frequency, 0.1, 0.01) + _bell(frequency, breathing, 0.01)
    phase = rng.uniform(0, 2 * np.pi, len(frequency))
    wave = np.fft.irfft(np.sqrt(power) * np.exp(1j * phase))[: len(time)]
    variation = rng.uniform(0.01, 0.1) * wave / (wave.std() + 1e-12)
    beats = np.cumsum(rate / 60 * step / np.clip(1 + variation, 0.7, 1.3))
    first = rng.uniform(0, 1)
    return np.interp(np.arange(beats[0] + first, beats[-1]), beats, time) - _LEAD_IN


def _conducted(rng: np.random.Generator, times: np.ndarray) -> Rhythm:
    return Rhythm(times, _intervals(times), np.zeros(len(times), bool), times - _pr_interval(rng))


def _with_ventricular(rng: np.random.Generator, times: np.ndarray, early: np.ndarray) -> Rhythm:
    ventricular = np.zeros(len(times), bool)
    ventricular[early] = True
    p = times[~ventricular] - _pr_interval(rng)
    qrs = times.copy()
    coupling = rng.uniform(0.5, 0.7) + rng.normal(0, 0.02, len(early))
    qrs[early] = times[early - 1] + coupling * (times[early] - times[early - 1])
    return Rhythm(qrs, _intervals(qrs), ventricular, p)


def _scattered(rng: np.random.Generator, times: np.ndarray, duration: float) -> np.ndarray:
    """Indices of 8 to 25 % of the beats, at least two of them inside the record, never two in a row."""
    inside = np.flatnonzero((times > 0.5) & (times < duration - 0.5))
    inside = inside[(inside > 0) & (inside < len(times) - 1)]
    even = inside[rng.integers(2) :: 2]
    count = min(len(even), max(2, round(rng.uniform(0.08, 0.25) * len(inside))))
    return np.sort(rng.choice(even, count, replace=False))


def _pr_interval(rng: np.random.Generator) -> float:
    """Seconds from the peak of P to the peak of R."""
    return rng.uniform(0.12, 0.18)


def _intervals(times: np.ndarray) -> np.ndarray:
    rr = np.diff(times)
    return np.concatenate([rr[:1], rr])


def _bell(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-((x - centre) ** 2) / (2 * width**2)) / width
