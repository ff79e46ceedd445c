"""The window rule: a recording of any length becomes one window of fixed length."""

import numpy as np


def to_window(ecg: np.ndarray, window: int) -> tuple[np.ndarray, int, int]:
    """First `window` samples; a shorter recording gets zeros on both sides, left = floor(rest / 2).

    Args:
        ecg: [L] samples.
        window: samples of the result.

    Returns:
        (window [window] of ecg's dtype, left padding, number of real samples).

    Source: Han et al. 2020 (XintianHan/ADV_ECG) and the ADT paper (arXiv 2203.09487), section 3.1.
    """
    length = min(len(ecg), window)
    left = (window - length) // 2
    out = np.zeros(window, dtype=ecg.dtype)
    out[left : left + length] = ecg[:length]
    return out, left, length


def validity_mask(left: np.ndarray, length: np.ndarray, window: int) -> np.ndarray:
    """Bool [B, 1, window], False on padding, from per-record left padding [B] and real length [B]."""
    position = np.arange(window)
    left, length = np.asarray(left)[:, None], np.asarray(length)[:, None]
    return ((position >= left) & (position < left + length))[:, None, :]
