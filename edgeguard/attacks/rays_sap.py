"""RayS-SAP: the smallest eps at which a smooth perturbation fools a model that answers labels only.

RayS (Chen & Gu 2020, arXiv 2006.12792) in the parameters of SAP (Han et al. 2020): a perturbation is eps K p with p in
[-1, 1]^T and SAP's positive 19-tap filter K, so its eps compares one to one with that of the white-box attack. Sign by
sign, block by block, p is turned to the side that needs the smaller eps. Four things differ from RayS:

- Blocks are tied to the heart beat first: a network that slides over a record answers every beat alike, so the same
  piece of all beats at once is worth testing, and takes 50 queries, not 1,000, to sweep the record.
- A sweep tests many blocks at one point just below the boundary, a query each, and turns all that helped together, so
  that the boundary is looked for once in many tests, not after each that helps.
- The search begins at waves and at differences to other records, whichever need the least: the gradient of a network
  is rough, a block as long as a beat moves nothing.
- Points are rounded to codes with a dither that stays the same for the whole record. Without one, wherever K p is near
  +-1, all those samples jump to the next code at the same eps: where a few codes fool the model, the boundary lies at
  such a jump, far from every point that is asked, and no block moves a point across it.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.signal import find_peaks

from edgeguard.attacks.kernels import smoothing_taps
from edgeguard.attacks.oracle import RAIL_UV
from edgeguard.attacks.walk import Norm, Request, Task, Walk

LARGEST = 4096.0
"""Microvolts: where the search for a start gives up."""
_SMALLEST = 1.0
"""Microvolts: where it begins."""
_GRID = 2.0
_SPAN = 4.0
"""How much larger than the smallest start another may be."""
_UNSEEN = 0.5
"""Microvolts that round to no code."""
_DITHER = 0.499
"""Largest dither, microvolts: it alone rounds to no code, also where a float32 sample is near the rail."""
_JUST = 0.49
"""Microvolts above a whole code that round to it."""
_FEW = 64.0
"""Microvolts, below which the one code that a dither may add is worth a query."""
_STARTS = 4
"""Of the task's starts, those that are tried."""
_BLOCK = 16
"""Points asked at once."""


class Level(NamedTuple):
    """How a sweep divides the record.

    Attributes:
        groups: of beats within which blocks are tied; 0 ties nothing.
        width: samples of a block.
        together: blocks tested between two looks for the boundary.
        tolerance: to which the boundary is then found, relative to eps.
    """

    groups: int
    width: int
    together: int
    tolerance: float


_FIRST = Level(groups=1, width=16, together=6, tolerance=4e-3)
_COARSE = (Level(groups=1, width=8, together=16, tolerance=1e-3),)
_FINE = Level(groups=0, width=10, together=80, tolerance=2e-4)


class Ray(NamedTuple):
    """A direction, and where it crosses the boundary.

    Attributes:
        params: float32 [T] in [-1, 1].
        waveform: float32 [T], `params` smoothed, zero on padding.
        low: eps, microvolts, that does not fool the model.
        high: a larger one that does.
    """

    params: np.ndarray
    waveform: np.ndarray
    low: float
    high: float


@dataclass(frozen=True)
class RaysSap:
    """The attack's settings.

    Attributes:
        contenders: starts that go through the first sweep; the best of them is followed.
        first: sweep of every contender.
        coarse: sweeps of the best one.
        fine: sweep that is repeated, with another origin of its blocks each time, until two in a row gain nothing.
        bands: hertz, of the waves that the search begins at; those of a row make one family.
    """

    contenders: int = 4
    first: Level = _FIRST
    coarse: tuple[Level, ...] = _COARSE
    fine: Level = _FINE
    bands: tuple[tuple[tuple[float, float], ...], ...] = (((2, 4), (3, 5), (4, 7)), ((6, 9), (9, 12), (11, 16)))

    name = "rays-sap"
    norm: ClassVar[Norm] = "linf"

    def walk(self, task: Task) -> Walk:
        """The attack on one record."""
        search = _Search(task)
        rays = yield from search.starts(self.bands, self.contenders)
        if not rays:
            return f"nothing adversarial within {LARGEST:g} uV"
        if len(rays) > 1:
            swept = []
            for ray in rays:
                swept.append((yield from search.sweep(ray, self.first)))
            rays = swept
        ray = min(rays, key=lambda ray: ray.high)
        for level in self.coarse:
            ray = yield from search.sweep(ray, level)
        idle = 0
        while idle < 2:
            if ray.high < _UNSEEN:
                return "the perturbation rounds to nothing"
            before = ray.high
            ray = yield from search.sweep(ray, self.fine)
            idle = 0 if ray.high < before else idle + 1
        return "no block gains"


class Beats(NamedTuple):
    """Where every sample lies in its beat.

    Attributes:
        beat: int64 [T], number of the nearest beat.
        offset: int64 [T], samples since its peak; negative before it.
        number: of beats, 1 at least.
    """

    beat: np.ndarray
    offset: np.ndarray
    number: int


def find_beats(ecg: np.ndarray, mask: np.ndarray, sampling_rate: float) -> Beats:
    """Beats by the energy of the slope, over a tenth of a second; one in the middle where there are none.

    Args:
        ecg: [T].
        mask: bool [T], False on padding.
    """
    window = max(1, round(0.1 * sampling_rate))
    slope = np.diff(ecg.astype(np.float64), append=ecg[-1:]) * mask
    energy = np.convolve(slope**2, np.ones(window) / window, "same")
    peaks, _ = find_peaks(energy, distance=max(1, round(0.25 * sampling_rate)))
    if len(peaks):
        peaks = peaks[energy[peaks] > 0.25 * np.quantile(energy[peaks], 0.75)]
    if len(peaks) == 0:
        peaks = np.array([len(ecg) // 2])
    time = np.arange(len(ecg))
    beat = np.searchsorted((peaks[1:] + peaks[:-1]) / 2, time)
    return Beats(beat, time - peaks[beat], len(peaks))


class Blocks:
    """A division of the samples into blocks, each a set of samples.

    Attributes:
        index: int64 [T], the block of each sample.
        spans: of each block, the samples from its first to its last.
        count: of blocks.
    """

    def __init__(self, key: np.ndarray) -> None:
        """Key: int64 [T], equal where samples share a block."""
        _, self.index = np.unique(key, return_inverse=True)
        self.count = int(self.index.max()) + 1
        time, first, last = np.arange(len(key)), np.full(self.count, len(key)), np.zeros(self.count, np.int64)
        np.minimum.at(first, self.index, time)
        np.maximum.at(last, self.index, time)
        self.spans = [slice(int(start), int(end) + 1) for start, end in zip(first, last, strict=True)]


def divide(beats: Beats, groups: int, width: int, shift: int) -> Blocks:
    """Pieces of `width` samples: of the record where `groups` is 0, else of a beat, tied within each group of beats."""
    if groups == 0:
        return Blocks((np.arange(len(beats.offset)) + shift) // width)
    group = beats.beat * min(groups, beats.number) // beats.number
    return Blocks(group * len(group) + (beats.offset + shift) // width)


class _Search:
    """What the attack knows of one record."""

    def __init__(self, task: Task) -> None:
        self.task, self.rng = task, task.rng
        self.original = task.original[0]
        self.mask = task.mask[0].astype(np.float32)
        self.taps = smoothing_taps().astype(np.float32)
        self.reach = len(self.taps) // 2
        self.beats = find_beats(self.original, task.mask[0], task.sampling_rate)
        dither = self.rng.uniform(-_DITHER, _DITHER, len(self.original)).astype(np.float32)
        self.dithered = self.original + dither * self.mask
        # Codes of the smallest perturbation that fools the model without dither.
        self.codes = np.inf
        self.rail = max(RAIL_UV, float(np.abs(self.original).max()))
        self.clips = float(np.abs(self.original).max()) + LARGEST > self.rail
        # How much the last turn gained: where the next one looks for the boundary first.
        self.gain = 0.1

    def smooth(self, params: np.ndarray) -> np.ndarray:
        """The waveform of an eps of one: float32 [T] of [T], zero on padding."""
        return np.asarray(np.convolve(params * self.mask, self.taps, "same") * self.mask, np.float32)

    def tell(self, points: np.ndarray) -> Generator[Request, np.ndarray, np.ndarray]:
        """Ask for points float32 [K, T]; returns bool [K]."""
        if self.clips:
            points = np.clip(points, -self.rail, self.rail)
        told = yield Request(points[:, None])
        return told

    def fools(self, waveform: np.ndarray, eps: float) -> Generator[Request, np.ndarray, bool]:
        """Whether a waveform fools the model at this eps; one query."""
        told = yield from self.tell((self.dithered + np.float32(eps) * waveform)[None])
        return bool(told[0])

    def bracket(self, ray: Ray, tolerance: float) -> Generator[Request, np.ndarray, Ray]:
        """Halve the interval that holds the boundary until it is narrow, relative to eps."""
        low, high = ray.low, ray.high
        while high - low > tolerance * high:
            middle = (low + high) / 2
            if (yield from self.fools(ray.waveform, middle)):
                high = middle
            else:
                low = middle
        ray = ray._replace(low=low, high=high)
        yield from self.settle(ray)
        return ray

    def settle(self, ray: Ray) -> Generator[Request, np.ndarray, None]:
        """Ask for a ray without dither, at the whole codes below its eps, where none that small has fooled the model.

        A dither lifts some samples to the code above. One query, if any.
        """
        codes = np.floor(ray.high)
        if codes < min(self.codes, _FEW):
            told = yield from self.tell((self.original + np.float32(codes + _JUST) * ray.waveform)[None])
            if told[0]:
                self.codes = codes

    def starts(
        self, bands: Sequence[Sequence[tuple[float, float]]], number: int
    ) -> Generator[Request, np.ndarray, list[Ray]]:
        """Rays that fool the model, of each family the first to do so as eps grows; at most `number`, all on the ray.

        Families: for each row of `bands` waves, and waves that begin anew at every beat; and the task's starts, clipped
        to eps. A family of its own may lead to a class of its own.
        """
        families = [[self.wave(band, tied) for band in row] for row, tied in product(bands, (False, True))]
        waves = [[(params, self.smooth(params)) for params in family] for family in families]
        live, eps = [*range(len(waves) + 1)], _SMALLEST
        rays: list[Ray] = []
        while live and eps <= min(LARGEST, _SPAN * rays[0].high if rays else LARGEST) and len(rays) < number:
            for family in list(live):
                tried = waves[family] if family < len(waves) else self.differences(eps)
                told = yield from self.tell(np.stack([self.dithered + np.float32(eps) * w for _, w in tried]))
                if told.any():
                    params, waveform = tried[int(told.argmax())]
                    rays.append((yield from self.bracket(Ray(params, waveform, eps / _GRID, eps), 0.02)))
                    live.remove(family)
            eps *= _GRID
        return rays[:number]

    def wave(self, band: tuple[float, float], tied: bool) -> np.ndarray:
        """Signs of noise in a band of hertz, float32 [T]; `tied`: the same in every beat."""
        length, rate = len(self.original), self.task.sampling_rate
        low, high = band
        frequency = np.fft.rfftfreq(length, 1 / rate)
        inside = (frequency >= low) & (frequency <= high)
        noise = np.fft.irfft(inside * (self.rng.normal(size=(2, len(frequency))).T @ (1, 1j)), length)
        if tied:
            noise = noise[(self.beats.offset + length // 2) % length]
        return np.where(noise >= 0, np.float32(1), np.float32(-1))

    def differences(self, eps: float) -> list[tuple[np.ndarray, np.ndarray]]:
        """Params and waveforms [T] of the way to each start, and away from all that is rough, clipped to eps."""
        rough = self.original - self.smooth(self.original)
        ways = [*(start[0] - self.original for start in self.task.starts[:_STARTS]), -rough]
        clipped = [np.clip(way / np.float32(eps), -1, 1).astype(np.float32) for way in ways]
        return [(params, self.smooth(params)) for params in clipped]

    def sweep(self, ray: Ray, level: Level) -> Generator[Request, np.ndarray, Ray]:
        """Test every block of a division once, in random order; whatever helps is turned."""
        blocks = divide(self.beats, level.groups, level.width, int(self.rng.integers(level.width)))
        order = self.rng.permutation(np.unique(blocks.index[self.task.mask[0]]))
        ray = yield from self.bracket(ray, level.tolerance)
        for start in range(0, len(order), level.together):
            helped = yield from self.test(ray, blocks, order[start : start + level.together])
            ray = yield from self.turn(ray, blocks, helped, level.tolerance)
        return ray

    def test(self, ray: Ray, blocks: Blocks, chosen: np.ndarray) -> Generator[Request, np.ndarray, list[int]]:
        """Those of the chosen blocks whose turn alone fools the model, where the ray itself does not."""
        base = self.dithered + np.float32(ray.low) * ray.waveform
        helped: list[int] = []
        for start in range(0, len(chosen), _BLOCK):
            part = chosen[start : start + _BLOCK].tolist()
            points = np.repeat(base[None], len(part), axis=0)
            for point, block in zip(points, part, strict=True):
                where, change = self.turned(ray.params, blocks, block)
                point[where] += np.float32(ray.low) * change
            told = yield from self.tell(points)
            helped += [block for block, hit in zip(part, told, strict=True) if hit]
        return helped

    def turned(self, params: np.ndarray, blocks: Blocks, block: int) -> tuple[slice, np.ndarray]:
        """Where the waveform changes when a block is turned to the other side, and by how much, float32."""
        span = blocks.spans[block]
        inside = (blocks.index[span] == block) * self.mask[span]
        change = inside * (side(params[span], inside) - params[span])
        full = np.convolve(change, self.taps)
        start, stop = span.start - self.reach, span.stop + self.reach
        where = slice(max(start, 0), min(stop, len(params)))
        return where, full[where.start - start : len(full) - (stop - where.stop)] * self.mask[where]

    def turn(
        self, ray: Ray, blocks: Blocks, helped: list[int], tolerance: float
    ) -> Generator[Request, np.ndarray, Ray]:
        """Turn blocks that each help, and follow the boundary down; half of them where together they do not help."""
        while helped:
            params = ray.params.copy()
            for block in helped:
                span = blocks.spans[block]
                inside = (blocks.index[span] == block) * self.mask[span]
                params[span][inside > 0] = side(ray.params[span], inside)
            waveform = self.smooth(params)
            if (yield from self.fools(waveform, ray.low)):
                turned = yield from self.descend(Ray(params, waveform, 0.0, ray.low), tolerance)
                self.gain = min(max(0.7 * (1 - turned.high / ray.high), 2 * tolerance), 0.3)
                return turned
            helped = helped[: len(helped) // 2]
        return ray

    def descend(self, ray: Ray, tolerance: float) -> Generator[Request, np.ndarray, Ray]:
        """Bracket the boundary below `high`, by steps that grow from the last gain on."""
        high, factor = ray.high, 1 - self.gain
        while high >= _UNSEEN and (yield from self.fools(ray.waveform, high * factor)):
            high, factor = high * factor, max(factor**2, 0.5)
        return (yield from self.bracket(ray._replace(low=high * factor, high=high), tolerance))


def side(params: np.ndarray, inside: np.ndarray) -> np.float32:
    """The side, -1 or 1, on which the samples inside do not lie on average."""
    return np.float32(-1 if params @ inside >= 0 else 1)
