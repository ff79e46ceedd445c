"""The step of an input quantiser, designed from the amplitude of records."""

import math

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError

SHARE = 0.9999
"""Share of the samples that the codes of a designed step hold."""
_DIGITS = 2
_BATCH = 64


def designed_step(dataset: Dataset, index: np.ndarray) -> float:
    """Microvolts from code to code at which 8 bits hold 99.99 % of the records' samples, padding left out.

    Rounded up to two significant digits: a number that people can repeat.

    Raises InputError for records that are silent throughout.
    """
    amplitudes = _amplitudes(dataset, index)
    reach = float(np.quantile(amplitudes, SHARE, method="inverted_cdf")) if len(amplitudes) else 0.0
    if reach == 0:
        raise InputError(f"{dataset.source}: no sample differs from 0 uV; check the records and their unit")
    exact = reach / 127
    digit = 10.0 ** (math.floor(math.log10(exact)) - _DIGITS + 1)
    return round(math.ceil(exact / digit * (1 - 1e-9)) * digit, 12)


def share_held(dataset: Dataset, index: np.ndarray, step: float, *, bits: int) -> float:
    """Share of the records' samples that codes of this width and step hold."""
    amplitudes = _amplitudes(dataset, index)
    return float((amplitudes <= (2 ** (bits - 1) - 1) * step).mean()) if len(amplitudes) else 1.0


def _amplitudes(dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """float32 [samples]: absolute microvolts of all samples that are no padding."""
    parts = []
    for first in range(0, len(index), _BATCH):
        ecg, mask, _ = dataset.batch(index[first : first + _BATCH])
        parts.append(np.abs(ecg[mask]))
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)
