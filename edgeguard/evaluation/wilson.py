"""Wilson's interval of a share (1927), by the standard library alone: verifying a certificate needs no scipy."""

import math
from statistics import NormalDist

_Z = NormalDist().inv_cdf(0.975)


def wilson_interval(value: float, n: int) -> tuple[float, float]:
    """(low, high) of the 95 % interval of a share `value` of `n` records, n above 0."""
    middle = (value + _Z * _Z / (2 * n)) / (1 + _Z * _Z / n)
    half = _Z / (1 + _Z * _Z / n) * math.sqrt(max(value * (1 - value) / n + _Z * _Z / (4 * n * n), 0.0))
    return middle - half, middle + half
