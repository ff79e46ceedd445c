"""Gaussian noise at no cost a draw: one long stretch, made once, and slices of it at random offsets."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy.fft

SPAN = 2**20
"""Samples of a stretch. A few thousand slices of it overlap here and there, hardly ever at the same offset."""


@dataclass(frozen=True, eq=False)
class NoiseBank:
    """Stationary Gaussian noise of zero mean and unit variance.

    Attributes:
        samples: float32 [SPAN + length - 1]; periodic, so every slice is as good as any other.
        length: samples of a slice.
    """

    samples: np.ndarray
    length: int

    def draw(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """float32 [number, length]: slices at random offsets, half of them upside down. The caller's to change."""
        offsets = rng.integers(SPAN, size=number)
        signs = rng.choice(np.array([-1, 1], np.float32), size=number)
        drawn = np.empty((number, self.length), np.float32)
        for row, offset, sign in zip(drawn, offsets.tolist(), signs, strict=True):
            np.multiply(self.samples[offset : offset + self.length], sign, out=row)
        return drawn


@cache
def white_bank(length: int) -> NoiseBank:
    """White noise."""
    return _bank(_spectrum(), length)


@cache
def hanning_bank(length: int, *, window: int) -> NoiseBank:
    """White noise, filtered with a Hanning window of `window` samples, 3 or more."""
    return _bank(_spectrum() * np.abs(scipy.fft.rfft(np.hanning(window), SPAN)), length)


def _spectrum() -> np.ndarray:
    # One seed for all: the streams of records and seeds differ in the offsets that they draw.
    normals = np.random.default_rng(0).standard_normal((SPAN // 2 + 1, 2), dtype=np.float32)
    return normals.view(np.complex64)[:, 0]


def _bank(spectrum: np.ndarray, length: int) -> NoiseBank:
    stretch = scipy.fft.irfft(spectrum, SPAN)
    stretch /= stretch.std()
    samples = np.resize(stretch, SPAN + length - 1).astype(np.float32)  # goes round
    samples.flags.writeable = False
    return NoiseBank(samples, length)
