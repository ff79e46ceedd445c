"""What an attack did to a record, in physical units: how large, how rough, and in which bands of frequency."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from edgeguard.attacks.walk import Norm

NORMS: dict[Norm, str] = {"l2": "L2", "linf": "L-inf"}
"""The two distances of an adversarial record, and what people call them."""

EDGES_HZ = (0.5, 5.0, 15.0, 40.0)
"""Between the bands: baseline wander, P and T waves, QRS complexes, muscle, and what no monitor shows."""


@dataclass(frozen=True)
class Perturbation:
    """An adversarial record less its original, over the valid part.

    Attributes:
        l2_uv, linf_uv, rms_uv: microvolts.
        smoothness_uv2: variance of the first differences, squared microvolts; the smaller, the smoother. Lam et al.
            2020 (github.com/nesl/Black-box-ECG-attack) report its square root.
        bands_uv2: power by band of hertz, named as "0.5-5", squared microvolts; they add up to the mean square.
    """

    l2_uv: float
    linf_uv: float
    rms_uv: float
    smoothness_uv2: float
    bands_uv2: dict[str, float]


def perturbation(
    adversarial: np.ndarray, original: np.ndarray, mask: np.ndarray, *, sampling_rate: float
) -> Perturbation:
    """Measure one record.

    Args:
        adversarial, original: [1, T] or [T] microvolts.
        mask: bool of the same shape, False on padding, which is left out; True somewhere.
        sampling_rate: hertz.
    """
    delta = np.subtract(adversarial, original, dtype=np.float64)[mask]
    square = float(delta @ delta)
    steps = np.diff(delta)
    return Perturbation(
        l2_uv=square**0.5,
        linf_uv=float(np.abs(delta).max()),
        rms_uv=(square / len(delta)) ** 0.5,
        smoothness_uv2=float(steps.var()) if len(steps) else 0.0,
        bands_uv2=band_power(delta, sampling_rate=sampling_rate),
    )


def band_power(signal: np.ndarray, *, sampling_rate: float) -> dict[str, float]:
    """Mean square of a signal [T] by band, from its periodogram without a window, so that the bands add up to it.

    A band holds its lower edge; the last one ends at, and holds, half the sampling rate (Parseval).
    """
    count = len(signal)
    power = np.abs(np.fft.rfft(signal)) ** 2 / count**2
    # Every line but the constant, and the one at half the sampling rate, stands for a pair of conjugates.
    power[1 : (count + 1) // 2] *= 2
    names, edges = _bands(sampling_rate)
    # numpy's rfftfreq multiplies by 1 / rate, and puts lines on an edge, such as 0.5 Hz of 30 s, just below it.
    frequency = np.arange(len(power)) * sampling_rate / count
    band = np.searchsorted(edges, frequency, side="right")
    return dict(zip(names, np.bincount(band, power, minlength=len(names)).tolist(), strict=True))


def summarise(perturbations: Sequence[Perturbation]) -> dict[str, Any]:
    """Median and quartiles over records, JSON-ready; None where there are no records.

    Each is the figure of a record, the upper of two, as in the query curve.

    Returns:
        {"n", "l2_uv", "linf_uv", "rms_uv", "smoothness_uv2", "bands_uv2": {band: ...}}, each figure as
        {"median", "quartiles": [lower, upper]}.
    """
    bands = perturbations[0].bands_uv2 if perturbations else {}
    figures = ("l2_uv", "linf_uv", "rms_uv", "smoothness_uv2")
    return {
        "n": len(perturbations),
        **{name: _quartiles([getattr(one, name) for one in perturbations]) for name in figures},
        "bands_uv2": {band: _quartiles([one.bands_uv2[band] for one in perturbations]) for band in bands},
    }


def _bands(sampling_rate: float) -> tuple[list[str], list[float]]:
    """Names, and the edges between them, of the bands below half the sampling rate."""
    top = sampling_rate / 2
    edges = [edge for edge in EDGES_HZ if edge < top]
    bounds = [0.0, *edges, top]
    return [f"{low:g}-{high:g}" for low, high in pairwise(bounds)], edges


def _quartiles(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"median": None, "quartiles": [None, None]}
    lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75), method="higher").tolist()
    return {"median": median, "quartiles": [lower, upper]}
