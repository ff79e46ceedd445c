"""The BCa interval: percentiles of a bootstrap, corrected for the bias and the skewness of what was resampled."""

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr, ndtri


@dataclass(frozen=True)
class Bca:
    """A bootstrap of one number, ready to give intervals (Efron 1987).

    Attributes:
        estimate: on the records as they are.
        drawn: float64 [resamples], sorted, all finite.
        bias: z_0, the normal quantile of the share of resamples below the estimate, ties half.
        acceleration: a, a sixth of the skewness of what single records contribute.
    """

    estimate: float
    drawn: np.ndarray
    bias: float
    acceleration: float

    def ends(self, level: float = 0.95) -> tuple[float, float]:
        """(low, high); the estimate twice where no resample differs from it, NaN where there is none."""
        if not len(self.drawn):
            return np.nan, np.nan
        z = self.bias + ndtri(np.array([1 - level, 1 + level]) / 2)
        stretched = z / np.maximum(1 - self.acceleration * z, 1e-3)
        low, high = np.quantile(self.drawn, ndtr(self.bias + stretched))
        return float(low), float(high)


def bca(
    estimate: float, drawn: np.ndarray, left: np.ndarray, strata: np.ndarray, counts: np.ndarray | None = None
) -> Bca:
    """A bootstrap that draws within strata.

    Args:
        drawn: [resamples] its statistics; those that are not finite are left out.
        left: [K] the statistic without one record, of each record or of each kind of record.
        strata: [K] the stratum of each.
        counts: [K] records of each kind; one where None.

    The influences that give the acceleration are centred within strata and summed over all of them (Davison & Hinkley
    1997, section 5.3.2).
    """
    weight = np.ones(len(left)) if counts is None else counts
    squares = cubes = 0.0
    for stratum in np.unique(strata):
        of = (strata == stratum) & (weight > 0)
        if (count := weight[of].sum()) > 1:
            adds = (np.average(left[of], weights=weight[of]) - left[of]) * (count - 1) / count
            squares += float((weight[of] * adds**2).sum())
            cubes += float((weight[of] * adds**3).sum())
    known = np.sort(drawn[np.isfinite(drawn)])
    if not len(known):
        return Bca(estimate, known, 0.0, 0.0)
    # Sums in another order may differ in the last bits: what is so near counts as equal, and its skewness as none.
    slack = 1e-12
    share = ((known < estimate - slack).mean() + (known <= estimate + slack).mean()) / 2
    least = 0.5 / len(known)
    bias = float(ndtri(np.clip(share, least, 1 - least)))
    return Bca(estimate, known, bias, cubes / (6 * squares**1.5) if squares > slack**2 else 0.0)


def without_one(confusion: np.ndarray) -> np.ndarray:
    """float64 [..., C, C, C, C]: the matrices [..., C, C] without one record that they hold at the first two of these.

    The class of the record stays as large as it was, as it does in every resample; a class of one record keeps it.
    Where none is held the matrix says nothing.
    """
    classes = confusion.shape[-1]
    count = confusion.sum(axis=-1)[..., None, None]
    rest = (confusion[..., :, None, :] - np.eye(classes)) * count / np.maximum(count - 1, 1)
    left = np.repeat(np.repeat(confusion[..., None, None, :, :].astype(float), classes, -4), classes, -3)
    place = np.arange(classes)
    left[..., place, :, place, :] = np.moveaxis(np.where(count > 1, rest, confusion[..., :, None, :]), -3, 0)
    return left
