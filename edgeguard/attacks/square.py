"""Square Attack on one lead: a score-based black-box search, to catch networks that only hide their gradient."""

from collections.abc import Callable

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]
"""ecg float32 [B, 1, T] in microvolts to the loss [B] that the attack maximises."""

_FIRST_SHARE = 0.8
_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries, where Square Attack halves the share of samples that a proposal changes."""


def square(
    score: Score, ecg: np.ndarray, mask: np.ndarray, *, eps: float, queries: int = 100, seed: int = 0
) -> np.ndarray:
    """Adversarial ecg float32 [B, 1, T] within eps microvolts of `ecg`, found from the values of `score` alone.

    Andriushchenko et al. 2020 (arXiv 1912.00049, algorithm 1 with the L-inf proposal of section 3.2) in one dimension:
    a segment at a random place is set to +eps or -eps as a whole, and kept where the score does not fall. Segments
    shrink along their schedule of ten thousand queries, stretched to `queries`.

    Args:
        score: called `queries` times on all records; the first call is on the start, which is random segments.
        mask: bool [B, 1, T], False on padding; the perturbation is zero there.
    """
    rng = np.random.default_rng(seed)
    count, _, samples = ecg.shape
    delta = _signs(rng, (count, 1, samples), max(1, samples // 100)) * np.float32(eps) * mask
    best = score(ecg + delta)
    for query in range(1, queries):
        halvings = sum(query * 10_000 / queries > at for at in _HALVED_AT)
        length = max(1, round(_FIRST_SHARE / 2**halvings * samples))
        start = rng.integers(0, samples - length + 1, count)[:, None, None]
        place = np.arange(samples)
        inside = (place >= start) & (place < start + length)
        sign = rng.choice(np.array([-eps, eps], np.float32), (count, 1, 1))
        proposal = np.where(inside, sign, delta) * mask
        value = score(ecg + proposal)
        better = value >= best
        delta = np.where(better[:, None, None], proposal, delta)
        best = np.where(better, value, best)
    return (ecg + delta).astype(np.float32)


def _signs(rng: np.random.Generator, shape: tuple[int, int, int], length: int) -> np.ndarray:
    """float32 of the shape: +1 or -1, the same over segments of `length` samples."""
    segments = -(-shape[2] // length)
    signs = rng.choice(np.array([-1, 1], np.float32), (*shape[:2], segments))
    return np.repeat(signs, length, axis=2)[..., : shape[2]]
