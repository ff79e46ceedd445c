"""A recording at another sampling rate, without shift in time: for windows, which are cut from whole recordings."""

import numpy as np


def resample(ecg: np.ndarray, rate: float, target: float) -> np.ndarray:
    """float32 [M] of float32 [L] samples, M = L * target / rate rounded up; both begin at the same instant.

    Polyphase, with a symmetric (zero phase) low-pass at the lower of the two Nyquist frequencies. Samples that are not
    numbers stay gaps: what lies within one old sample of a gap is one. All others are rounded to whole microvolts, as
    a converter has them.

    Args:
        rate, target: hertz.

    Raises InputError for a ratio of rates beyond 1:100.
    """
    if rate == target:
        return ecg
    # Most records need none of it, and scipy takes a quarter of a second to import.
    from scipy.signal import resample_poly

    from edgeguard.ecg.front_end import design_resampling

    design = design_resampling(rate, target)
    missing = ~np.isfinite(ecg)
    whole = (_bridged(ecg, missing) if missing.any() else ecg).astype(np.float64)
    made = np.rint(resample_poly(whole, design.up, design.down, window=design.taps / design.up, padtype="line"))
    if missing.any():
        place = np.arange(len(made)) * design.down / design.up
        last = len(ecg) - 1
        before, after = np.minimum(np.floor(place).astype(int), last), np.minimum(np.ceil(place).astype(int), last)
        made[missing[before] | missing[after]] = np.nan
    return made.astype(np.float32)


def _bridged(ecg: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """The samples with straight lines across the gaps, so that their edges do not ring."""
    if missing.all():
        return np.zeros_like(ecg)
    place = np.arange(len(ecg))
    return np.interp(place, place[~missing], ecg[~missing])
