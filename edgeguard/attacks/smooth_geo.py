"""smooth-geo: the smallest smooth perturbation, in L2, that an attacker finds who sees labels alone.

The perturbation lives in a band of low frequencies, and the geometry is that of CGBA (Reza et al. 2023, arXiv
2308.03163) and SurFree (Maho et al. 2021, arXiv 2011.12807): estimate the boundary's normal from the labels of
probes (Chen et al. 2020, arXiv 1904.02144; in a subspace: Li et al. 2020, arXiv 2005.14137), then walk the semicircle
through the present point and the original, in the plane of the two and the normal, towards the original as far as the
label holds. What is peculiar to an ECG and to an int8 file:

- probes never get so small that they fall between the codes of a quantised input;
- probes of one estimate are shifts of one wave of flat spectrum and random phases, orthogonal but for their envelope:
  every label tells something new, and all of them together cost one Fourier transform;
- a rhythm is decided at a few moments of the record. The first estimates ask which parts of the start matter: their
  probes swell and shrink it slowly, which has tens of dimensions and not hundreds. The next ones look for more where
  the perturbation already is: their probes follow its envelope. When that yields little, probes are spread evenly, and
  so on in turn.
"""

import math
from collections.abc import Generator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np
import scipy.fft
from scipy.ndimage import uniform_filter1d

from edgeguard.attacks.hop_skip_jump import BLOCK, NOWHERE, mean_told, unit
from edgeguard.attacks.walk import Norm, Request, Task, Walk, ask, bisect

_TURNS = 9
"""Queries along one semicircle, at most."""
_FIRST_ANGLE = np.pi / 8
_LEAST_ANGLE = 0.03
"""Turns below it, in radians, come less than a twentieth of a percent nearer."""
_TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class SmoothGeo:
    """Settings of the attack.

    Attributes:
        low_hz: the perturbation has no power below; 0 to allow all but an offset.
        high_hz: nor above. Where no start fools the file within the band, this edge is doubled until one does.
        starts: that compete for the smallest distance.
        start_halvings: queries that bring a start to the boundary.
        modulations: estimates, at most, that only modulate the perturbation before the free ones begin.
        modulation_hz: the fastest modulation.
        probes: of the first estimate; that of iteration t takes sqrt(t) times as many.
        most_probes: of an estimate.
        probe: length of a probe, relative to the distance.
        floor: its least root mean square where the probe is strongest, in steps of the file's input.
        envelope_seconds: over which the envelope is smoothed.
        envelope_share: energy of the probes that is spread evenly, relative to what follows the envelope.
        tolerance: of the angle on the semicircle, relative.
        small_angle: radians; a turn below it makes the next estimate use another kind of probes.
    """

    low_hz: float = 0.5
    high_hz: float = 15.0
    starts: int = 5
    start_halvings: int = 6
    modulations: int = 3
    modulation_hz: float = 1.0
    probes: int = 30
    most_probes: int = 100
    probe: float = 0.2
    floor: float = 0.25
    envelope_seconds: float = 0.2
    envelope_share: float = 0.1
    tolerance: float = 0.13
    small_angle: float = 0.12

    name = "smooth-geo"
    norm: ClassVar[Norm] = "l2"

    def walk(self, task: Task) -> Walk:
        """The attack on one record; it returns only where there is nothing to attack, else the budget ends it."""
        band = _Band.of(task, self.low_hz, self.high_hz)
        delta = yield from self._start(task, band)
        while delta is None:
            if band.high_hz >= task.sampling_rate / 2:
                return "no start"
            band = _Band.of(task, self.low_hz, 2 * band.high_hz)
            delta = yield from self._start(task, band)

        slow = _Band.of(task, 0, self.modulation_hz)
        points = np.repeat(task.original[None], BLOCK, axis=0)
        kind, angle = 0 if self.modulations else 1, _FIRST_ANGLE
        for iteration in count(1):
            distance = float(np.linalg.norm(delta))
            if distance < NOWHERE:
                return "at the original"
            wave, envelope = (
                (slow, delta),
                (band, self._envelope(task, delta)),
                (band, task.mask.astype(np.float32)),
            )[kind % 3]
            size = max(self.probe * distance, self.floor * task.step_uv * np.sqrt(_occupied(envelope)))
            number = int(min(self.probes * np.sqrt(iteration), self.most_probes))
            probes = wave.probes(task.rng, envelope, size, number)
            normal = unit(band.project((yield from probes.sum_by_label(task.original + delta, points))))

            toward = delta / np.float32(distance)
            across = unit(normal - np.vdot(normal, toward) * toward)
            turned, delta = yield from self._turn(task, distance, toward, across, angle)
            if turned < self.small_angle or (kind == 0 and iteration == self.modulations):
                kind += 1
            angle = turned if turned >= self.small_angle else _FIRST_ANGLE
        raise AssertionError("unreachable")

    def _start(self, task: Task, band: "_Band") -> Generator[Request, np.ndarray, np.ndarray | None]:
        """The shortest of the first starts, band-limited and brought to the boundary; None if none fools the file."""
        best, reach = None, np.inf
        for louder in (1, 2):
            for tried, start in enumerate(task.starts):
                if best is not None and tried >= self.starts:
                    break
                rough = band.project(start - task.original)
                length = float(np.linalg.norm(rough))
                scale = min(louder, 0.9 * reach / length) if length else 0.0
                if scale and (yield from ask(task.original + np.float32(scale) * rough)):
                    scale = yield from bisect(task.original, rough, high=scale, queries=self.start_halvings)
                    best, reach = np.float32(scale) * rough, scale * length
            if best is not None:
                return best
        return None

    def _envelope(self, task: Task, delta: np.ndarray) -> np.ndarray:
        """Local amplitude of the perturbation, float32 [1, T], raised by an even share."""
        window = max(1, round(self.envelope_seconds * task.sampling_rate))
        energy = uniform_filter1d(delta**2, window, mode="constant")
        return np.sqrt(np.maximum(energy, 0) + np.float32(self.envelope_share) * energy.mean()) * task.mask

    def _turn(
        self, task: Task, distance: float, toward: np.ndarray, across: np.ndarray, angle: float
    ) -> Generator[Request, np.ndarray, tuple[float, np.ndarray]]:
        """The largest angle on the semicircle that was seen to be adversarial, and its perturbation; 0 if none was.

        At angle a the perturbation is distance cos(a) (cos(a) toward + sin(a) across), distance cos(a) long. On a
        flat boundary the last adversarial angle is the foot of the perpendicular in the plane of the two.
        """
        low, high, best = 0.0, np.pi / 2, distance * toward
        for _ in range(_TURNS):
            along, aside = distance * np.cos(angle) ** 2, distance * np.cos(angle) * np.sin(angle)
            delta = np.float32(along) * toward + np.float32(aside) * across
            if (yield from ask(task.original + delta)):
                low, best = angle, delta
            else:
                high = angle
            if high - low <= self.tolerance * low or high < _LEAST_ANGLE:
                break
            angle = min(2 * low, (low + high) / 2) if low else high / 2
        return low, best


@dataclass(frozen=True)
class _Band:
    """Signals of one record, zero on padding, whose spectrum over the valid samples is zero outside a band.

    Attributes:
        mask: bool [1, T].
        valid: from the first to the last valid sample.
        bins: bool, the bins of the Fourier transform of that stretch that lie in the band.
        spacing: samples between two shifts of a wave that are orthogonal.
        high_hz: upper edge.
    """

    mask: np.ndarray
    valid: slice
    bins: np.ndarray
    spacing: int
    high_hz: float

    @classmethod
    def of(cls, task: Task, low_hz: float, high_hz: float) -> "_Band":
        """The band low_hz .. high_hz, without an offset, of the task's record."""
        places = np.flatnonzero(task.mask[0])
        valid = slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 0)
        frequency = scipy.fft.rfftfreq(max(valid.stop - valid.start, 1), 1 / task.sampling_rate)
        bins = (frequency > 0) & (frequency >= low_hz) & (frequency <= high_hz)
        return cls(task.mask, valid, bins, max(1, int(task.sampling_rate / (2 * high_hz))), high_hz)

    def project(self, signal: np.ndarray) -> np.ndarray:
        """float32 [1, T]: what of the signal [1, T] lies in the band."""
        projected = np.zeros(signal.shape, np.float32)
        inside = signal[:, self.valid]
        if inside.size:
            projected[:, self.valid] = scipy.fft.irfft(scipy.fft.rfft(inside) * self.bins, inside.shape[-1])
        return projected * self.mask

    def probes(self, rng: np.random.Generator, envelope: np.ndarray, size: float, number: int) -> "_Probes":
        """Shifts of one wave of random phases, under the envelope [1, T]; each `size` long."""
        length = self.valid.stop - self.valid.start
        spectrum = np.zeros(len(self.bins), np.complex64)
        spectrum[self.bins] = np.exp(2j * np.pi * rng.random(int(self.bins.sum())))
        slots = max(1, length // self.spacing)
        rounds = [rng.permutation(slots) * self.spacing + rng.integers(length) for _ in range(-(-number // slots))]
        offsets = np.concatenate(rounds)[:number] % length
        return _Probes(self.valid, spectrum, envelope[0, self.valid], offsets, size)


@dataclass(frozen=True)
class _Probes:
    """Shifts of one wave on the valid samples of a record, under an envelope.

    Attributes:
        valid: from the first to the last valid sample, L of them.
        spectrum: complex64, of the wave.
        envelope: float32 [L].
        offsets: int64 [K], the sample of the wave that each probe begins with.
        size: length of each probe.
    """

    valid: slice
    spectrum: np.ndarray
    envelope: np.ndarray
    offsets: np.ndarray
    size: float

    def sum_by_label(self, centre: np.ndarray, points: np.ndarray) -> Generator[Request, np.ndarray, np.ndarray]:
        """Ask for the probes around a point [1, T]; their sum, weighted with label less mean label, float32 [1, T].

        `points`: memory for a block, float32 [K, 1, T], equal to the centre but for the valid samples.

        The sum of shifts of a wave is its correlation with their weights: two Fourier transforms, and no pass over
        the probes.
        """
        length = len(self.envelope)
        wave = scipy.fft.irfft(self.spectrum, length)
        twice, inside = np.concatenate([wave, wave]), centre[0, self.valid]
        scales, told = [], []
        for first in range(0, len(self.offsets), len(points)):
            chosen = self.offsets[first : first + len(points)].tolist()
            # row by row: a row stays in the processor's cache, a block does not
            for row, offset in zip(points[:, 0, self.valid], chosen, strict=False):
                np.multiply(twice[offset : offset + length], self.envelope, out=row)
                scale = np.float32(self.size / max(math.sqrt(row @ row), _TINY))
                row *= scale
                row += inside
                scales.append(scale)
            told += (yield Request(points[: len(chosen)], centre)).tolist()
        weights = (np.array(told) - mean_told(sum(told), len(told))) * scales
        shifts = np.bincount(self.offsets, weights, minlength=length).astype(np.float32)
        total = np.zeros_like(centre)
        total[0, self.valid] = scipy.fft.irfft(self.spectrum * scipy.fft.rfft(shifts).conj(), length) * self.envelope
        return total


def _occupied(envelope: np.ndarray) -> float:
    """Samples on which a signal with this envelope mostly lives: (sum e^2)^2 / sum e^4; all, if it is flat."""
    energy = envelope.astype(np.float64) ** 2
    spread = float((energy**2).sum())
    return float(energy.sum()) ** 2 / spread if spread else 0.0
