"""How much noise a recording has: the power of its mean beat over the power of what its beats differ by.

Beats repeat and noise does not. R peaks are found, the stretches around them averaged by their median, and what is
left of each beat after its subtraction is noise: ensemble averaging (Jane et al. 1991, IEEE TBME 38:571-579).
It is in the band of 1 to 40 Hz, so that neither baseline wander nor mains counts. The heart's own variation from beat
to beat does, which keeps the estimate below about 20 dB; so do fibrillatory waves and the shifting T waves of atrial
fibrillation, which keep it below about 11 dB there. Where noise hides every beat it says -4 to -9 dB, however much
worse it gets. Premature beats and short spells of noise are a minority, which the median over beats leaves aside.
"""

import numpy as np
from scipy.ndimage import maximum_filter1d, uniform_filter1d
from scipy.signal import butter, find_peaks, sosfiltfilt

BAND_HZ = (1.0, 40.0)
BANDS_DB = (5.0, 15.0)
"""Edges of three bands. Below 5 dB QRS complexes are no longer found reliably (Smital et al. 2020, IEEE TBME
67:2721-2734); 15 dB parts what is left of CinC 2017 as two to one."""

_QRS_HZ = (5.0, 20.0)
_BEFORE, _AFTER = 0.20, 0.40
"""Seconds of a beat about its R peak."""
_REFRACTORY = 0.30
_NEIGHBOURHOOD = 3.0
"""Seconds over which a peak is measured against its surroundings."""
_SHIFT = 0.03
"""Seconds by which a beat may be moved to lie on the mean one."""
_LEAST_BEATS = 4
_LEAST_SECONDS = 4.0
_MEDIAN_COST = np.pi / 2
"""Variance of a median over that of a mean, for Gaussian noise."""


def snr_db(ecg: np.ndarray, sampling_rate: float) -> float:
    """Signal-to-noise ratio in decibels; NaN for a recording too short, flat, or without four beats.

    Args:
        ecg: float [n], microvolts, without padding.
        sampling_rate: hertz, above 100.
    """
    if len(ecg) < _LEAST_SECONDS * sampling_rate or sampling_rate <= 2.5 * BAND_HZ[1] or not np.ptp(ecg) > 0:
        return float("nan")
    band = _filtered(ecg, BAND_HZ, sampling_rate)
    beats = _stretches(band, r_peaks(ecg, sampling_rate), sampling_rate)
    if len(beats) < _LEAST_BEATS:
        return float("nan")
    mean = np.median(beats, axis=0)
    noise = float(np.median(np.mean((beats - mean) ** 2, axis=1)))
    # The mean beat holds what is left of the noise in it.
    signal = float(np.mean(mean**2)) - noise * _MEDIAN_COST / len(beats)
    return float(10 * np.log10(max(signal, 1e-3 * noise, 1e-12) / max(noise, 1e-12)))


def r_peaks(ecg: np.ndarray, sampling_rate: float) -> np.ndarray:
    """int64 [K]: samples of the R peaks, after Pan & Tompkins (1985, IEEE TBME 32:230-236): band, energy, threshold."""
    qrs = _filtered(ecg, _QRS_HZ, sampling_rate)
    energy = uniform_filter1d(qrs**2, max(round(0.1 * sampling_rate), 1))
    around = maximum_filter1d(energy, round(_NEIGHBOURHOOD * sampling_rate))
    peaks, _ = find_peaks(energy, height=0.3 * around, distance=max(round(_REFRACTORY * sampling_rate), 1))
    reach = round(0.08 * sampling_rate)
    begins = np.maximum(peaks - reach, 0)
    nearby = (np.abs(qrs[begin : peak + reach + 1]) for begin, peak in zip(begins, peaks, strict=True))
    return np.asarray([begin + np.argmax(part) for begin, part in zip(begins, nearby, strict=True)], np.int64)


def _stretches(ecg: np.ndarray, peaks: np.ndarray, sampling_rate: float) -> np.ndarray:
    """[K, samples of a beat]: the beats that lie within the recording, moved onto their median, each less its mean."""
    before, after, shift = (round(seconds * sampling_rate) for seconds in (_BEFORE, _AFTER, _SHIFT))
    inside = peaks[(peaks >= before + shift) & (peaks < len(ecg) - after - shift)]
    if len(inside) == 0:
        return np.empty((0, before + after))
    wide = np.stack([ecg[peak - before - shift : peak + after + shift] for peak in inside])
    template = np.median(wide, axis=0)[shift : -shift or None]
    moved = np.lib.stride_tricks.sliding_window_view(wide, before + after, axis=1)
    best = np.argmin(((moved - template) ** 2).sum(axis=2), axis=1)
    beats = moved[np.arange(len(inside)), best]
    return np.asarray(beats - beats.mean(axis=1, keepdims=True))


def _filtered(ecg: np.ndarray, band: tuple[float, float], sampling_rate: float) -> np.ndarray:
    sections = butter(2, band, btype="bandpass", fs=sampling_rate, output="sos")
    return np.asarray(sosfiltfilt(sections, np.asarray(ecg, np.float64)))
