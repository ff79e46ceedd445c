"""Where a decision-based attack begins: points that the model is likely to answer as the attacker wishes."""

import numpy as np

from edgeguard.attacks.noise import hanning_bank

STARTS = 10
"""Records among a task's starts."""
_CANDIDATES = 64
"""Records that are compared by distance."""
_NOISE_UV = (300.0, 1000.0, 3000.0)
"""Root mean squares of the noise that is tried where no record serves."""
_NOISE_WINDOW = 41


def nearest_starts(
    ecg: np.ndarray,
    mask: np.ndarray,
    record: int,
    usable: np.ndarray,
    rng: np.random.Generator,
    number: int = STARTS,
) -> np.ndarray:
    """Other records as start points for one, float32 [K, 1, T], nearest first; the original where mask is False.

    Args:
        ecg: float32 [N, 1, T].
        mask: bool [1, T] of the record.
        record: its index.
        usable: indices of records with another predicted class; at most 64, drawn by `rng`, are compared.
        number: of start points at most.
    """
    drawn = rng.permutation(usable)[:_CANDIDATES]
    starts = np.where(mask, ecg[drawn], ecg[record])
    distance = np.linalg.norm(starts - ecg[record], axis=(1, 2))
    return starts[np.argsort(distance, kind="stable")[:number]]


def noise_starts(original: np.ndarray, mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The record [1, T] under smooth noise, ever stronger, float32 [3, 1, T]: for want of a record of another class."""
    noise = hanning_bank(original.shape[-1], window=_NOISE_WINDOW).draw(rng, len(_NOISE_UV))
    louder = noise * np.array(_NOISE_UV, np.float32)[:, None]
    return np.asarray(original + louder[:, None] * mask, np.float32)
