"""Claim: the 95 % intervals that EdgeGuard prints hold the truth in 93.5 to 96.5 % of all test sets.

But for F1 where a class has fewer than some twenty records, for pairs of which fewer than five are discordant, and for
three seeds: there the tables say what is left. Wilson's interval and Tango's exactly, every outcome with its chance;
Newcombe's exactly for 60 pairs, else by simulation. F1 and the bootstrap over records and seeds by simulation from
chances whose truth is known: records differ in difficulty, seeds in quality, and every pair of both has its own luck.
Beside each mend stands what it mends: the percentile interval, and the bootstrap that draws records and seeds together.

    python benchmarks/coverage.py [--repeats 1000] [--part wilson --part f1 ...]

An interval that is more than 1.5 points off is marked. The standard error of a simulated coverage is 0.7 points at
1,000 repeats, which take four minutes on one core.
"""

from collections.abc import Callable, Iterator

import click
import numpy as np
from scipy.special import expit, logit
from scipy.stats import binom, multinomial
from tqdm import tqdm

from edgeguard.evaluation.bootstrap import (
    Resamples,
    Scores,
    difference,
    relative_drop,
    spread,
)
from edgeguard.evaluation.intervals import f1_rate, wilson
from edgeguard.evaluation.metrics import accuracies, mean_f1
from edgeguard.evaluation.paired import newcombe, tango

MISS = 0.015
BY_CLASS = {853: (507, 84, 231, 31), 512: (305, 45, 145, 17), 192: (114, 18, 54, 6), 64: (38, 6, 18, 2)}
"""N, A, O, Noise in test sets of several sizes."""
NETWORKS = {
    "as trained": (
        (0.93, 0.01, 0.04, 0.02),
        (0.06, 0.80, 0.12, 0.02),
        (0.29, 0.07, 0.60, 0.04),
        (0.05, 0.03, 0.04, 0.88),
    ),
    "attacked": (
        (0.40, 0.10, 0.45, 0.05),
        (0.30, 0.30, 0.35, 0.05),
        (0.55, 0.15, 0.25, 0.05),
        (0.30, 0.10, 0.20, 0.40),
    ),
    "nearly right": (
        (0.985, 0.002, 0.01, 0.003),
        (0.01, 0.97, 0.02, 0),
        (0.03, 0.01, 0.955, 0.005),
        (0.01, 0.01, 0.01, 0.97),
    ),
}
"""Chance of each class (columns) for a record of each class (rows)."""
PARTS = ("wilson", "paired", "f1", "seeds")


@click.command()
@click.option("--repeats", default=1000, show_default=True, help="Simulated test sets of each row.")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, help="Only this; repeat for several.")
def main(repeats: int, parts: tuple[str, ...]) -> None:
    """Print a table a part."""
    tables = {"wilson": wilson_table, "paired": paired_table, "f1": f1_table, "seeds": seeds_table}
    for part in parts or PARTS:
        tables[part](repeats)


def wilson_table(_: int) -> None:
    """A share: mean over shares as Agresti & Coull 1998 take it, and the worst share."""
    print("\nWilson, exact: coverage over the shares p\n")
    print(f"{'n':>5}{'mean, 0 < p < 1':>18}{'mean, p > 0.7':>16}{'lowest':>10}{'at p':>8}")
    shares = np.arange(0.001, 1, 0.001)
    for n in (20, 64, 192, 512, 853, 1535):
        ends = np.array([wilson(k, n) for k in range(n + 1)])
        held = (ends[:, :1] <= shares) & (shares <= ends[:, 1:])
        covered = (binom.pmf(np.arange(n + 1)[:, None], n, shares) * held).sum(axis=0)
        least = covered.argmin()
        means = f"{_per_cent(covered.mean()):>18}{_per_cent(covered[shares > 0.7].mean()):>16}"
        print(f"{n:>5}{means}{100 * covered[least]:>10.1f}{shares[least]:>8.3f}")


def paired_table(repeats: int) -> None:
    """A difference of two classifiers: by the share of discordant records and the true difference."""
    print("\npaired difference, accuracy 0.82: Tango exact; Newcombe exact for n = 60, else 20,000 tables\n")
    print(f"{'n':>5}{'discordant':>12}{'difference':>12}{'Tango':>9}{'Newcombe':>11}")
    rows: dict[str, list[float]] = {"tango": [], "newcombe": []}
    for n in (60, 192, 512, 853):
        for discordant in (0.01, 0.03, 0.05, 0.10, 0.20):
            for loss in (0.0, 0.5 * discordant):
                first, second = (discordant - loss) / 2, (discordant + loss) / 2
                chances = [0.82 - discordant / 2, first, second, 0.18 - discordant / 2]
                ours, other = _tango_coverage(n, first, second), _newcombe_coverage(n, chances)
                rows["tango"].append(ours)
                rows["newcombe"].append(other)
                print(f"{n:>5}{discordant:>12g}{0.0 - loss:>12g}{_per_cent(ours):>9}{_per_cent(other):>11}", flush=True)
    print(f"{'mean':>5}{'':>24}{_per_cent(np.mean(rows['tango'])):>9}{_per_cent(np.mean(rows['newcombe'])):>11}")


def _tango_coverage(n: int, first: float, second: float) -> float:
    most = int(binom.ppf(1 - 1e-10, n, max(first, second)))
    one, other = (axis.ravel() for axis in np.meshgrid(np.arange(most + 1), np.arange(most + 1)))
    possible = one + other <= n
    one, other = one[possible], other[possible]
    low, high = tango(one, other, n)
    chance = multinomial.pmf(np.stack([one, other, n - one - other], -1), n, [first, second, 1 - first - second])
    return float(chance[(low <= first - second) & (first - second <= high)].sum())


def _newcombe_coverage(n: int, chances: list[float]) -> float:
    truth = chances[1] - chances[2]
    if n <= 60:
        grid = np.stack(np.meshgrid(*[np.arange(n + 1)] * 3, indexing="ij"), -1).reshape(-1, 3)
        grid = grid[grid.sum(1) <= n]
        tables = np.column_stack([grid, n - grid.sum(1)])
        weights = multinomial.pmf(tables, n, chances)
        tables, weights = tables[weights > 1e-9], weights[weights > 1e-9]
    else:
        drawn = np.random.default_rng(0).multinomial(n, chances, size=20_000)
        tables, times = np.unique(drawn, axis=0, return_counts=True)
        weights = times / len(drawn)
    ends = np.array([newcombe(*table) for table in tables.tolist()])
    return float(weights[(ends[:, 0] <= truth) & (truth <= ends[:, 1])].sum())


def f1_table(repeats: int) -> None:
    """F1 of one network: the BCa interval that is printed, and plain percentiles."""
    print("\nmacro F1 of one network, stratified bootstrap over records\n")
    print(f"{'n':>5}  {'of Noise':>8}  {'network':<14}{'F1':>6}{'BCa':>8}{'percentile':>12}")
    for (n, counts), (name, rows) in _product(BY_CLASS, NETWORKS, repeats):
        rng, chances = np.random.default_rng(0), np.array(rows)
        truth = float(mean_f1(chances * np.array(counts)[:, None]))
        held = np.zeros(2)
        for place in range(repeats):
            confusion = np.stack([rng.multinomial(*drawn) for drawn in zip(counts, chances, strict=True)])
            printed = f1_rate(confusion, seed=place)
            plain = _percentiles(confusion, rng)
            held += [printed["low"] <= truth <= printed["high"], plain[0] <= truth <= plain[1]]
        ours, other = held / repeats
        print(f"{n:>5}  {counts[3]:>8}  {name:<14}{truth:>6.3f}{_per_cent(ours):>8}{_per_cent(other):>12}", flush=True)


def _percentiles(confusion: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows = [rng.multinomial(row.sum(), row / row.sum(), size=1000) for row in confusion]
    return np.asarray(np.percentile(mean_f1(np.stack(rows, axis=1)), [2.5, 97.5]))


WORLDS = {
    "records alone differ": (0.0, 0.9, 0.0),
    "mostly records": (0.1, 0.6, 0.2),
    "records and seeds": (0.25, 0.5, 0.2),
    "seeds differ much": (0.6, 0.5, 0.2),
    "luck alone": (0.0, 0.0, 0.0),
}
"""(sd of the seeds' quality in logits, share of a record's luck that all networks have in common, share that those of
one method have in common)."""
SHIFT, UNDER_ATTACK = 0.25, 0.7
"""In logits: how much better the second method is, and what an attack costs both."""


def seeds_table(repeats: int) -> None:
    """Scores over records and seeds, and differences of two methods."""
    print("\n853 records: records and seeds apart and added, records and seeds drawn together, records alone\n")
    print(f"{'world':<22}{'seeds':>6}  {'what':<26}{'truth':>8}{'added':>9}{'together':>10}{'records':>9}")
    # Drawing is dear; a dozen sets of resamples serve all test sets in turns.
    labels = np.repeat(np.arange(4), BY_CLASS[853])
    draws = [Resamples(labels, resamples=700, seed=seed) for seed in range(12)]
    for (world, settings), (seeds, _) in _product(WORLDS, {5: None, 3: None}, repeats):
        truths = _truths(*settings)
        held = {name: np.zeros(3) for name in truths}
        for place in range(repeats):
            rng = np.random.default_rng(place)
            for name, scores in _measured(draws[place % len(draws)], rng, seeds, *settings).items():
                held[name] += [low <= truths[name] <= high for low, high in _three(scores, place)]
        for name, truth in truths.items():
            cells = [_per_cent(share) for share in held[name] / repeats]
            print(f"{world:<22}{seeds:>6}  {name:<26}{truth:>8.3f}{cells[0]:>9}{cells[1]:>10}{cells[2]:>9}", flush=True)


def _three(scores: Scores, seed: int) -> list[tuple[float, float]]:
    found = spread(scores)
    count = len(scores.observed)
    drawn = np.random.default_rng(seed).integers(count, size=(len(scores.drawn), count))
    together = np.percentile(np.take_along_axis(scores.drawn, drawn, 1).mean(1), [2.5, 97.5])
    return [found.ends(), tuple(together), found.records.ends()]


def _measured(
    draws: Resamples, rng: np.random.Generator, seeds: int, quality: float, common: float, own: float
) -> dict[str, Scores]:
    """What two methods score on one test set."""
    better = quality * rng.normal(size=(2, seeds))
    luck = _luck(rng, (2, seeds, len(draws.labels)), common, own)

    def answers(method: int, shift: float = 0.0) -> np.ndarray:
        return _answers(draws.labels, method * SHIFT + shift + better[method], *luck[:, method])

    plain, hit = [answers(0), answers(1)], draws.score(answers(1, -UNDER_ATTACK))
    found: dict[str, Scores] = {}
    for score in ("accuracy", "f1"):
        first, second = (draws.score(predicted, score) for predicted in plain)
        found |= {score: first, f"{score}, difference": difference(second, first)}
        if score == "accuracy":
            found["relative drop, own"] = relative_drop(second, hit, own=True)
            found["relative drop, undefended"] = relative_drop(first, hit, own=False)
    return found


def _luck(rng: np.random.Generator, shape: tuple[int, int, int], common: float, own: float) -> np.ndarray:
    """[2, methods, S, N] uniform: whether a record is right, and which class it is else; partly in common."""
    methods, _, records = shape
    whose = rng.random(shape)
    everyones, methods_, ones = rng.random((2, records)), rng.random((2, methods, 1, records)), rng.random((2, *shape))
    shared = np.where(whose < common + own, methods_, ones)
    return np.where(whose < common, everyones[:, None, None], shared)


def _answers(labels: np.ndarray, quality: np.ndarray, right: np.ndarray, which: np.ndarray) -> np.ndarray:
    """int [S, N]: classes given to the records by networks of the qualities [S]."""
    rows = np.array(NETWORKS["as trained"])
    wrong = rows * (1 - np.eye(4))
    wrong = np.cumsum(wrong / wrong.sum(1, keepdims=True), 1)
    chance = expit(logit(np.diag(rows))[labels] + quality[:, None])
    other = (which[..., None] > wrong[labels]).sum(-1)
    return np.where(right < chance, labels, np.minimum(other, 3))


def _truths(quality: float, *_: float) -> dict[str, float]:
    """What each score is for all records and all seeds, by Gauss-Hermite quadrature over the seeds."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    weights = weights / weights.sum()

    def expected(score: Callable[[np.ndarray], np.ndarray], shift: float) -> np.ndarray:
        return np.array([float(score(_population(shift + quality * node))) for node in nodes])

    scores: dict[str, Callable[[np.ndarray], np.ndarray]] = {"accuracy": accuracies, "f1": mean_f1}
    found = {}
    for name, score in scores.items():
        first, second = (float(weights @ expected(score, shift)) for shift in (0.0, SHIFT))
        found |= {name: first, f"{name}, difference": second - first}
    clean, hit = expected(accuracies, SHIFT), expected(accuracies, SHIFT - UNDER_ATTACK)
    found["relative drop, own"] = float(weights @ ((clean - hit) / clean))
    found["relative drop, undefended"] = 1 - float(weights @ hit) / found["accuracy"]
    return found


def _population(shift: float) -> np.ndarray:
    """Expected confusion matrix of a network of this quality."""
    rows = np.array(NETWORKS["as trained"])
    right = expit(logit(np.diag(rows)) + shift)
    wrong = rows * (1 - np.eye(4))
    wrong = wrong / wrong.sum(1, keepdims=True)
    return (np.diag(right) + (1 - right)[:, None] * wrong) * np.array(BY_CLASS[853])[:, None]


def _product(first: dict, second: dict, repeats: int) -> Iterator[tuple[tuple, tuple]]:
    pairs = [(one, other) for one in first.items() for other in second.items()]
    yield from tqdm(pairs, desc=f"{repeats} repeats a row", unit="row", dynamic_ncols=True)


def _per_cent(share: float) -> str:
    """With a mark where it is more than 1.5 points off."""
    return f"{100 * share:.1f}{' ' if abs(share - 0.95) <= MISS else '*'}"


if __name__ == "__main__":
    main()
