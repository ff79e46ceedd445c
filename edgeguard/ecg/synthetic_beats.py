"""The dynamical ECG model of McSharry, Clifford, Tarassenko and Smith 2003 (IEEE TBME 50(3):289-294).

The model's state runs round a limit cycle once a beat; Gaussian events at fixed angles drive the ECG z:
dz/dt = -sum_i a_i (angle - angle_i) exp(-(angle - angle_i)^2 / (2 b_i^2)) - (z - z0).
Within a beat the angle is linear in time, so that each term is the derivative of a Gaussian in time and the
equation a first-order filter: it is solved directly, not step by step. T waves are stretched by the
square root of RR (Bazett).
"""

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

from edgeguard.ecg.synthetic_rhythms import Rhythm


@dataclass(frozen=True)
class Wave:
    """One event: angle after R and width b in radians (2 pi is 1 s at RR = 1 s), height in microvolts."""

    angle: float
    width: float
    height: float


@dataclass(frozen=True)
class Morphology:
    """How one heart looks in one lead: events of conducted and of ventricular beats, and how they vary."""

    p: Wave
    qrs: tuple[Wave, ...]
    t: tuple[Wave, ...]
    ventricular_qrs: tuple[Wave, ...]
    ventricular_t: tuple[Wave, ...]
    fibrillation: float
    """Peak height of the fibrillatory wave in microvolts."""
    variation: float
    """Relative standard deviation of heights and widths from beat to beat."""
    breathing: tuple[float, float]
    """(depth, hertz) of the respiratory modulation of all heights."""


def draw_morphology(rng: np.random.Generator, *, wide: bool = False) -> Morphology:
    """A random lead: angles and widths around table I of the paper, log-normal heights, either polarity."""
    lead = 820 * np.exp(0.4 * rng.standard_normal())
    sign = -1.0 if rng.random() < 0.2 else 1.0
    r = sign * lead
    stretch = rng.uniform(0.75, 1.15)
    p = Wave(0.0, rng.uniform(0.14, 0.22), sign * _between(30, 70, 150, rng))
    slur = rng.uniform(2.0, 2.8) if wide else 1.0
    qrs: tuple[Wave, ...] = (
        Wave(-0.2 * stretch * slur, 0.07 * stretch * slur, -r * rng.uniform(0, 0.2)),
        Wave(0.0, 0.07 * stretch * slur, r),
        Wave(
            0.22 * stretch * slur,
            0.08 * stretch * slur,
            -r * rng.uniform(0, 0.95) ** 2,
        ),
    )
    if wide:
        qrs += (Wave(rng.uniform(0.25, 0.35), 0.12, r * rng.uniform(0.3, 0.7)),)
    height = sign * _between(40, 160, 500, rng)
    height *= -1 if wide or rng.random() < 0.12 else 1
    ectopic = rng.choice([-1, 1]) * lead * rng.uniform(0.8, 1.6)
    return Morphology(
        p=p,
        qrs=qrs,
        t=_t_wave(rng, height),
        ventricular_qrs=(
            Wave(0.0, rng.uniform(0.2, 0.3), ectopic),
            Wave(rng.uniform(0.5, 0.7), rng.uniform(0.2, 0.3), -ectopic * rng.uniform(0.2, 0.7)),
        ),
        ventricular_t=_t_wave(rng, -ectopic * rng.uniform(0.2, 0.45)),
        fibrillation=_between(18, 45, 110, rng),
        variation=rng.uniform(0.02, 0.06),
        breathing=(rng.uniform(0, 0.15), rng.uniform(0.2, 0.32)),
    )


def beats(
    rng: np.random.Generator, rhythm: Rhythm, morphology: Morphology, samples: int, sampling_rate: float
) -> np.ndarray:
    """Noise-free ECG [samples], microvolts."""
    drive = np.zeros(samples)
    conducted = ~rhythm.ventricular
    scale = np.sqrt(np.clip(rhythm.rr, 0.3, 1.5))

    def add(waves: tuple[Wave, ...], times: np.ndarray, stretch: np.ndarray) -> None:
        for wave in waves:
            _drive(rng, drive, wave, times, stretch, morphology, sampling_rate)

    add((morphology.p,), rhythm.p, np.ones(len(rhythm.p)))
    for chosen, qrs, t in (
        (conducted, morphology.qrs, morphology.t),
        (rhythm.ventricular, morphology.ventricular_qrs, morphology.ventricular_t),
    ):
        add(qrs, rhythm.qrs[chosen], np.ones(chosen.sum()))
        add(t, rhythm.qrs[chosen], scale[chosen])
    ecg = _relax(drive, sampling_rate)
    if rhythm.fibrillating:
        ecg += fibrillatory_wave(rng, morphology.fibrillation, samples, sampling_rate)
    return ecg


def fibrillatory_wave(rng: np.random.Generator, height: float, samples: int, sampling_rate: float) -> np.ndarray:
    """Saw-tooth of wandering frequency (4 to 9 Hz) and amplitude [samples], microvolts.

    Source: Stridh and Sornmo 2001 (IEEE TBME 48(1):105-111), equations 6 to 8.
    """
    time = np.arange(samples) / sampling_rate
    main, deviation = rng.uniform(4.8, 8.2), rng.uniform(0.1, 0.5)
    slow, slower = rng.uniform(0.1, 0.4), rng.uniform(0.05, 0.3)
    phase = 2 * np.pi * main * time + deviation / slow * np.sin(2 * np.pi * slow * time + rng.uniform(0, 2 * np.pi))
    phase += rng.uniform(0, 2 * np.pi)
    wave = np.sin(phase) + np.sin(2 * phase) / 2 + np.sin(3 * phase) / 3
    swell = 1 + rng.uniform(0.2, 0.5) * np.sin(2 * np.pi * slower * time + rng.uniform(0, 2 * np.pi))
    return height / 1.6 * swell * wave


def _between(low: float, median: float, high: float, rng: np.random.Generator) -> float:
    """A log-normal draw, clipped."""
    return float(np.clip(median * np.exp(0.4 * rng.standard_normal()), low, high))


def _t_wave(rng: np.random.Generator, height: float) -> tuple[Wave, ...]:
    """A slow rise and a steeper fall: two events, as in Clifford et al. 2005."""
    angle, width = rng.uniform(1.5, 1.9), rng.uniform(0.28, 0.4)
    return Wave(angle - 0.35, width * 1.2, 0.5 * height), Wave(angle, 0.8 * width, 0.75 * height)


def _drive(
    rng: np.random.Generator,
    drive: np.ndarray,
    wave: Wave,
    times: np.ndarray,
    stretch: np.ndarray,
    morphology: Morphology,
    sampling_rate: float,
) -> None:
    """Add one event of every beat to dz/dt, in microvolts a second, within 5 widths of its centre."""
    if len(times) == 0:
        return
    depth, breathing = morphology.breathing
    height = wave.height * (1 + morphology.variation * rng.standard_normal(len(times)))
    height *= 1 + depth * np.sin(2 * np.pi * breathing * times)
    width = wave.width / (2 * np.pi) * stretch * (1 + morphology.variation / 2 * rng.standard_normal(len(times)))
    centre = times + wave.angle / (2 * np.pi) * stretch + 0.002 * rng.standard_normal(len(times))
    reach = int(np.ceil(5 * width.max() * sampling_rate))
    at = np.rint(centre * sampling_rate).astype(int)[:, None] + np.arange(-reach, reach + 1)
    offset = at / sampling_rate - centre[:, None]
    slope = -(height / width**2)[:, None] * offset * np.exp(-(offset**2) / (2 * width[:, None] ** 2))
    inside = (at >= 0) & (at < len(drive))
    drive += np.bincount(at[inside], slope[inside], minlength=len(drive))


def _relax(drive: np.ndarray, sampling_rate: float) -> np.ndarray:
    """z of dz/dt = drive - z (rate 1 / s), by the trapezoidal rule."""
    half = 0.5 / sampling_rate
    return lfilter([half, half], [1 + half, half - 1], drive)
