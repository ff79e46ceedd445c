"""Signals that are a function of the absolute sample index: noise that no chunk size and no restart changes."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np

BLOCK = 4096
"""Samples made at once."""


class Indexed:
    """A signal made block by block, each from its number alone."""

    def __init__(self, block: Callable[[int], np.ndarray]) -> None:
        """A signal whose block b holds samples b * BLOCK to (b + 1) * BLOCK."""
        self._block = lru_cache(maxsize=2)(block)

    def take(self, start: int, count: int) -> np.ndarray:
        """Samples [count] from index `start`."""
        first = start // BLOCK
        blocks = [self._block(b) for b in range(first, -(-(start + count) // BLOCK))]
        return np.concatenate(blocks)[start - first * BLOCK :][:count] if blocks else np.empty(0)


def white(seed: int, stream: int, level: float) -> Indexed:
    """White Gaussian noise of `level` RMS; `stream` tells noises of one seed apart."""
    return Indexed(lambda b: level * np.random.default_rng([seed, stream, b]).standard_normal(BLOCK))


def sine(frequency: float, rate: float, level: float) -> Indexed:
    """A sine of amplitude `level`, phase 0 at index 0."""

    def block(b: int) -> np.ndarray:
        cycles = np.arange(b * BLOCK, (b + 1) * BLOCK) * (frequency / rate)
        return level * np.sin(2 * np.pi * (cycles % 1.0))

    return Indexed(block)


def drift(seed: int, stream: int, rate: float, level: float) -> Indexed:
    """1/f noise of about `level` RMS over octaves of 1/128 to 2 Hz: the Voss-McCartney sum, interpolated linearly."""
    octaves, spacing = 9, rate / 4

    @lru_cache(maxsize=4 * octaves)
    def draws(octave: int, group: int) -> np.ndarray:
        return np.random.default_rng([seed, stream, octave, group]).standard_normal(64)

    def value(octave: int, knot: int) -> float:
        return draws(octave, knot // 64)[knot % 64]

    def block(b: int) -> np.ndarray:
        position = np.arange(b * BLOCK, (b + 1) * BLOCK) / spacing
        total = np.zeros(BLOCK)
        for octave in range(octaves):
            at = position / 2**octave
            knots = range(int(at[0]), int(at[-1]) + 2)
            total += np.interp(at, knots, [value(octave, knot) for knot in knots])
        return level * np.sqrt(1.5 / octaves) * total

    return Indexed(block)


def steps(seed: int, stream: int, rate: float, level: float, per_hour: float) -> Indexed:
    """A level that jumps to a new draw of `level` RMS once in every 1 / `per_hour`, somewhere within it; 0 at first."""
    length = max(round(3600 / per_hour * rate), 1)

    @lru_cache(maxsize=64)
    def jump(segment: int) -> tuple[int, float]:
        rng = np.random.default_rng([seed, stream, segment])
        return segment * length + int(rng.integers(length)), level * rng.standard_normal()

    def block(b: int) -> np.ndarray:
        index = np.arange(b * BLOCK, (b + 1) * BLOCK)
        segments = range(index[0] // length, index[-1] // length + 1)
        current = jump(segments[0] - 1)[1] if segments[0] else 0.0
        out = np.full(BLOCK, current)
        for segment in segments:
            at, after = jump(segment)
            out[index >= at] = after
        return out

    return Indexed(block)
