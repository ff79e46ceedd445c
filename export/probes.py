"""Windows that need no data: what any deployed classifier must survive, for checks that compare engines."""

from collections.abc import Iterator

import numpy as np

from edgeguard.ecg.record import CLASSES
from edgeguard.ecg.synthetic import synthesise

_FULL_SCALE = 5000.0
"""Microvolts; beyond the range of every input quantiser that keeps the P wave."""
_SYNTHESIS_MIN_HZ, _SYNTHESIS_MIN_SECONDS = 100.0, 2.0


def probe_windows(count: int, *, window: int, sampling_rate: float, seed: int = 0) -> np.ndarray:
    """float32 [count, 1, window] whole microvolts: silence, both rails, a square wave, then synthetic ECG and noise.

    Args:
        count: windows, at least 1; the first ones of the list do not depend on it.
        window: samples.
        sampling_rate: hertz.
    """
    source = _endless(window, sampling_rate, np.random.default_rng(seed))
    return np.stack([next(source) for _ in range(count)])[:, None].astype(np.float32)


def _endless(window: int, sampling_rate: float, rng: np.random.Generator) -> Iterator[np.ndarray]:
    yield np.zeros(window)
    yield np.full(window, _FULL_SCALE)
    yield np.full(window, -_FULL_SCALE)
    yield np.where(np.arange(window) % 2, -_FULL_SCALE, _FULL_SCALE)
    rate = max(sampling_rate, _SYNTHESIS_MIN_HZ)
    seconds = max(window / rate, _SYNTHESIS_MIN_SECONDS) + 1 / rate
    while True:
        for label in CLASSES:
            yield synthesise(label, rng, duration=seconds, sampling_rate=rate)[:window]
        yield np.rint(rng.uniform(-_FULL_SCALE, _FULL_SCALE, window))
        yield np.rint(rng.normal(0, 10 ** rng.uniform(0.5, 3), window))
