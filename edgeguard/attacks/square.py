"""Square Attack on one lead: a score-based black-box search, to catch networks that only hide their gradient."""

from collections.abc import Callable, Sequence

import numpy as np

Score = Callable[[np.ndarray], np.ndarray]
"""ecg float32 [B, 1, T] in microvolts to the loss [B] that the attack maximises."""

_FIRST_SHARE = 0.8
_HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries, where Square Attack halves the share of samples that a proposal changes."""


def square(
    score: Score,
    ecg: np.ndarray,
    mask: np.ndarray,
    *,
    eps: float,
    queries: int = 1000,
    seed: int = 0,
    streams: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Adversarial ecg float32 [B, 1, T] within eps microvolts of `ecg`, found from the values of `score` alone.

    Andriushchenko et al. 2020 (arXiv 1912.00049, algorithm 1 with the L-inf proposal of section 3.2) in one dimension:
    a segment at a random place is set to +eps or -eps as a whole, and kept where the score does not fall. Segments
    shrink along their schedule of ten thousand queries, stretched to `queries`.

    Args:
        score: called `queries` times on all records; the first call is on the start, which is random segments.
        mask: bool [B, 1, T], False on padding; the perturbation is zero there.
        streams: a number a record, which with `seed` makes its random numbers, so that its company does not matter;
            by default its place.
    """
    count, _, samples = ecg.shape
    rngs = [np.random.default_rng([seed, int(number)]) for number in (range(count) if streams is None else streams)]
    segments, every = max(1, samples // 100), (count, queries)
    delta = np.stack([_signs(rng, samples, segments) for rng in rngs])[:, None] if rngs else np.zeros_like(ecg)
    delta = delta * np.float32(eps) * mask
    places = np.array([rng.random(queries) for rng in rngs]).reshape(every)
    signs = np.array([rng.choice(np.array([-eps, eps], np.float32), queries) for rng in rngs]).reshape(every)
    best = score(ecg + delta)
    for query in range(1, queries):
        halvings = sum(query * 10_000 / queries > at for at in _HALVED_AT)
        length = max(1, round(_FIRST_SHARE / 2**halvings * samples))
        start = np.floor(places[:, query] * (samples - length + 1))[:, None, None]
        place = np.arange(samples)
        inside = (place >= start) & (place < start + length)
        proposal = np.where(inside, signs[:, query, None, None].astype(np.float32), delta) * mask
        value = score(ecg + proposal)
        better = value >= best
        delta = np.where(better[:, None, None], proposal, delta)
        best = np.where(better, value, best)
    return (ecg + delta).astype(np.float32)


def _signs(rng: np.random.Generator, samples: int, length: int) -> np.ndarray:
    """float32 [samples]: +1 or -1, the same over segments of `length` samples."""
    return np.repeat(rng.choice(np.array([-1, 1], np.float32), -(-samples // length)), length)[:samples]
