"""Many tests at once: p-values adjusted so that a whole family errs no more often than one test."""

from collections.abc import Sequence

import numpy as np


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of a family's p-values, in the order given (Holm 1979).

    Rejecting where the adjusted value is at most alpha keeps the chance of any false rejection in the family at alpha,
    whatever the dependence between the tests: paired comparisons with one reference are dependent. Uniformly more
    powerful than Bonferroni.

    Raises ValueError for a value outside of [0, 1].
    """
    raw = np.asarray(p, float)
    if not ((raw >= 0) & (raw <= 1)).all():
        raise ValueError("p-values between 0 and 1 are needed")
    order = np.argsort(raw)
    steps = raw[order] * np.arange(len(raw), 0, -1)
    adjusted = np.empty(len(raw))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return [float(value) for value in adjusted]
