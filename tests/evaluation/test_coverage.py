"""How often the 95 % intervals hold: exactly where outcomes can be counted, else by a seeded simulation.

`benchmarks/coverage.py` has larger tables.
"""

import numpy as np
import pytest
from scipy.stats import binom, multinomial

from edgeguard.evaluation.bootstrap import Resamples, Scores, difference, spread
from edgeguard.evaluation.intervals import wilson
from edgeguard.evaluation.metrics import mean_f1
from edgeguard.evaluation.paired import newcombe, tango

PAIRED = [(0.05, 0.05), (0.1, 0.02), (0.3, 0.1), (0.2, 0.2), (0.02, 0.25)]
"""Chances of a pair that the first alone, and the second alone, has right; no fewer than four such pairs in forty."""


@pytest.mark.parametrize("n", [20, 64, 512])
def test_wilson_holds_on_average(n: int) -> None:
    """The mean over shares, as Agresti & Coull 1998 judge it; near 0 and 1 a share may have as little as 83 %."""
    shares = np.arange(0.001, 1, 0.001)
    low, high = np.transpose([wilson(k, n) for k in range(n + 1)])[..., None]
    covered = (binom.pmf(np.arange(n + 1)[:, None], n, shares) * ((low <= shares) & (shares <= high))).sum(axis=0)
    assert covered.mean() == pytest.approx(0.95, abs=0.005)
    assert covered[shares > 0.7].mean() == pytest.approx(0.95, abs=0.015)
    assert covered.min() > 0.83


@pytest.mark.parametrize("n", [40, 60])
def test_tango_holds(n: int) -> None:
    first, second = (axis.ravel() for axis in np.meshgrid(np.arange(n + 1), np.arange(n + 1)))
    first, second = first[first + second <= n], second[first + second <= n]
    low, high = tango(first, second, n)

    def coverage(one: float, other: float) -> float:
        chances = multinomial.pmf(np.stack([first, second, n - first - second], -1), n, [one, other, 1 - one - other])
        return float(chances[(low <= one - other) & (one - other <= high)].sum())

    found = [coverage(*chances) for chances in PAIRED]
    assert found == pytest.approx([0.95] * len(PAIRED), abs=0.02)
    assert np.mean(found) == pytest.approx(0.95, abs=0.01)
    # With hardly a discordant pair to be expected it holds too often, not too seldom.
    assert all(coverage(share, share) > 0.95 for share in (0.001, 0.005, 0.01, 0.02))


def test_newcombe_holds_at_least_as_often() -> None:
    """All 5,456 tables of 30 pairs."""
    n = 30
    cells = np.stack(np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
    cells = cells[cells.sum(1) <= n]
    tables = np.column_stack([cells, n - cells.sum(1)])
    low, high = np.transpose([newcombe(*table) for table in tables.tolist()])

    def coverage(both: float, one: float, other: float) -> float:
        chances = multinomial.pmf(tables, n, [both, one, other, 1 - both - one - other])
        return float(chances[(low <= one - other) & (one - other <= high)].sum())

    many = [coverage(0.5, 0.2, 0.2), coverage(0.4, 0.3, 0.1), coverage(0.3, 0.25, 0.25)]
    assert many == pytest.approx([0.95] * 3, abs=0.015)
    assert min(coverage(0.75, share, share) for share in (0.01, 0.03, 0.05)) > 0.96


COUNTS = np.array([70, 20, 40, 20])
LABELS = np.repeat(np.arange(4), COUNTS)
SHARE, QUALITY, SEEDS, TRIALS = 0.7, 0.1, 4, 200


def trial(rng: np.random.Generator) -> np.ndarray:
    """int [2, S, N]: two methods of equal merit. A seed is right with a chance of its own; half of a record's luck is
    common to all networks, half is each one's."""
    chance = SHARE + QUALITY * rng.normal(size=(2, SEEDS, 1))
    shape = (2, SEEDS, len(LABELS))
    luck = np.where(rng.random(shape) < 0.5, rng.random(len(LABELS)), rng.random(shape))
    return np.where(luck < chance, LABELS, (LABELS + rng.integers(1, 4, shape)) % 4)


def expected_f1() -> float:
    """Over all seeds, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(21)
    right = SHARE + QUALITY * nodes[:, None, None]
    rows = np.where(np.eye(4, dtype=bool), right, (1 - right) / 3)
    return float(weights @ mean_f1(rows * COUNTS[:, None]) / weights.sum())


def together(scores: Scores, rng: np.random.Generator) -> tuple[float, float]:
    """The plain bootstrap: records and seeds redrawn, percentiles."""
    drawn = rng.integers(SEEDS, size=(len(scores.drawn), SEEDS))
    low, high = np.percentile(np.take_along_axis(scores.drawn, drawn, 1).mean(1), [2.5, 97.5])
    return float(low), float(high)


def test_the_intervals_over_records_and_seeds_hold() -> None:
    """Within 3.5 points at 200 trials (standard error 1.5); drawing the seeds as well falls short by twice that."""
    rng, draws = np.random.default_rng(0), Resamples(LABELS, resamples=300)
    truths = {"accuracy": SHARE, "f1": expected_f1(), "difference": 0.0}
    held, plain = dict.fromkeys(truths, 0), dict.fromkeys(truths, 0)
    for _ in range(TRIALS):
        predicted = trial(rng)
        one, other = (draws.score(rows) for rows in predicted)
        found = {"accuracy": one, "f1": draws.score(predicted[0], "f1"), "difference": difference(one, other)}
        for name, scores in found.items():
            low, high = spread(scores).ends()
            held[name] += low <= truths[name] <= high
            low, high = together(scores, rng)
            plain[name] += low <= truths[name] <= high
    assert {name: count / TRIALS for name, count in held.items()} == pytest.approx(
        dict.fromkeys(truths, 0.95), abs=0.035
    )
    assert plain["difference"] / TRIALS < 0.88
