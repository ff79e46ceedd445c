"""Resampled scores against counting, their two parts against hand-made ones, and how often the intervals hold."""

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from edgeguard.evaluation.bca import Bca
from edgeguard.evaluation.bootstrap import (
    SCORES,
    Resamples,
    Scores,
    Spread,
    combined,
    compare_scores,
    contrast,
    difference,
    interval,
    relative_drop,
    spread,
)
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.metrics import confusion_matrix, drop_own, drop_ref, macro_f1, scores, three_class_f1

CLASSES = ("N", "A", "O", "~")
LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(4), (60, 20, 30, 10)))


def answers(share: float, seeds: int = 3, *, seed: int = 1, labels: np.ndarray = LABELS) -> np.ndarray:
    """int64 [S, N]: right with this chance."""
    rng = np.random.default_rng(seed)
    shape = (seeds, len(labels))
    return np.where(rng.random(shape) < share, labels, rng.integers(4, size=shape))


def score_of(name: str, labels: np.ndarray, predicted: np.ndarray) -> float:
    confusion = confusion_matrix(labels, predicted, 4)
    return {
        "accuracy": float(np.mean(labels == predicted)),
        "f1": macro_f1(confusion),
        "f1_nao": three_class_f1(confusion, CLASSES),
    }[name]


@pytest.mark.parametrize("name", SCORES)
def test_scores_are_those_of_every_seed(name: str) -> None:
    predicted = answers(0.7)
    found = Resamples(LABELS, resamples=20).score(predicted, name)
    assert found.observed == pytest.approx([score_of(name, LABELS, row) for row in predicted])
    assert found.drawn.shape == (20, 3) and found.left.shape == (120, 3)


@pytest.mark.parametrize("name", SCORES)
def test_resamples_are_records_drawn_within_their_class(name: str) -> None:
    """The draws are read off the accuracy of networks that are right on one record alone; then all is counted."""
    predicted = answers(0.7)
    draws = Resamples(LABELS, resamples=15, seed=3)
    alone = np.where(np.eye(120, dtype=bool), LABELS, (LABELS + 1) % 4)
    times = np.rint(120 * draws.score(alone).drawn).astype(int)
    assert all((times[:, place == LABELS].sum(1) == (place == LABELS).sum()).all() for place in range(4))
    assert times.max() > 1 and times.min() == 0
    counted = [[score_of(name, np.repeat(LABELS, row), np.repeat(one, row)) for one in predicted] for row in times]
    np.testing.assert_allclose(draws.score(predicted, name).drawn, counted)


@pytest.mark.parametrize("name", ["accuracy", "f1"])
def test_scores_without_one_record(name: str) -> None:
    """The other records of its class weigh a little more, so that the classes stay in proportion."""
    predicted = answers(0.7)
    left = Resamples(LABELS, resamples=2).score(predicted, name).left
    for record in (0, 17, 119):
        weight = np.ones(120)
        of = LABELS[record] == LABELS
        weight[of] = of.sum() / (of.sum() - 1)
        weight[record] = 0
        for seed, row in enumerate(predicted):
            confusion = np.zeros((4, 4))
            np.add.at(confusion, (LABELS, row), weight)
            expected = np.trace(confusion) / 120 if name == "accuracy" else macro_f1(confusion)
            assert left[record, seed] == pytest.approx(expected)


def test_the_same_network_twice_differs_by_nothing() -> None:
    draws = Resamples(LABELS, resamples=50)
    one = draws.score(answers(0.6))
    found = contrast(one, draws.score(answers(0.6)))
    assert found == {"difference": 0.0, "low": 0.0, "high": 0.0, "n": 120, "p": 1.0}


def test_the_interval_of_one_accurate_network_is_nearly_wilsons() -> None:
    labels = np.repeat(np.arange(4), 250)
    predicted = labels.copy()
    predicted[::5] = (labels[::5] + 1) % 4
    found, expected = interval(Resamples(labels).score(predicted[None])), rate(800, 1000)
    assert found["value"] == 0.8 and found["n"] == 1000
    assert found["low"] == pytest.approx(expected["low"], abs=0.003)
    assert found["high"] == pytest.approx(expected["high"], abs=0.003)


def made(observed: list[float], moved: float = 0.0) -> Scores:
    """Seeds whose scores move in the resamples independently, by a normal of this deviation; no record counts alone."""
    draws = np.random.default_rng(0).normal(size=(20_000, len(observed)))
    drawn = np.array(observed) + moved * draws
    return Scores(np.array(observed), drawn, np.tile(observed, (10, 1)), np.zeros(10, int))


def test_seeds_alone_give_students_interval() -> None:
    """0.8, 0.9, 1.0: standard error 0.1 / sqrt(3), two degrees of freedom."""
    low, high = spread(made([0.8, 0.9, 1.0])).ends()
    half = 4.302653 * 0.1 / math.sqrt(3)
    assert (low, high) == pytest.approx((0.9 - half, 0.9 + half))


def test_what_differs_from_seed_to_seed_is_not_counted_twice() -> None:
    """Records that move every seed alike add to Student's interval; what moves each seed by itself is in it already."""
    seeds = [0.80, 0.86, 0.90]
    half = 4.302653 * np.std(seeds, ddof=1) / math.sqrt(3)
    apart = spread(made(seeds, 0.03))
    assert apart.alone == pytest.approx(0, abs=0.03)
    assert apart.ends() == pytest.approx((np.mean(seeds) - half, np.mean(seeds) + half), abs=0.001)
    alike = made(seeds)
    moves = 0.05 * np.random.default_rng(0).normal(size=(20_000, 1))
    found = spread(Scores(alike.observed, alike.drawn + moves, alike.left, alike.labels))
    error, share = half / 4.302653, half**2 / (half**2 + (4.302653 * 0.05) ** 2)
    welch, cochran_cox = student.ppf(0.975, 2 / share**2), 1.959964 * (1 - share) + 4.302653 * share
    both = (welch + cochran_cox) / 2 * math.hypot(error, 0.05)
    assert found.alone == pytest.approx(1) and found.seed_error == pytest.approx(error)
    assert found.ends() == pytest.approx((np.mean(seeds) - both, np.mean(seeds) + both), abs=0.003)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.9])
def test_the_two_parts_together_hold(seeds: int, share: float) -> None:
    """A known variance 1 - share and one of so few seeds, in 2,000 samples: standard error 0.5 points."""
    rng, held = np.random.default_rng(0), 0
    drawn = norm.ppf((np.arange(200) + 0.5) / 200)
    for error, seen in zip(rng.normal(size=2000), rng.chisquare(seeds - 1, 2000) / (seeds - 1), strict=True):
        spread_ = Spread(
            Bca(error, error + math.sqrt(1 - share) * drawn, 0.0, 0.0), 1.0, math.sqrt(share * seen), seeds
        )
        low, high = spread_.ends()
        held += low <= 0 <= high
    assert held / 2000 == pytest.approx(0.95, abs=0.022)


def test_copies_of_one_network_are_one_network() -> None:
    draws, one = Resamples(LABELS, resamples=200), answers(0.7, 1)
    assert interval(draws.score(np.repeat(one, 4, 0))) == pytest.approx(interval(draws.score(one)))


def test_relative_drops_are_the_metrics() -> None:
    draws = Resamples(LABELS, resamples=10)
    clean, undefended, attacked = (draws.score(answers(share, seed=n)) for n, share in enumerate((0.9, 0.95, 0.6)))
    own = relative_drop(clean, attacked, own=True)
    pairs = zip(clean.observed, attacked.observed, strict=True)
    assert own.observed == pytest.approx([drop_own(one, other) for one, other in pairs])
    to_mean = relative_drop(undefended, attacked, own=False)
    expected = drop_ref(float(undefended.observed.mean()), float(attacked.observed.mean()))
    assert to_mean.observed.mean() == pytest.approx(expected)
    ratio = 1 - attacked.drawn.mean(1) / undefended.drawn.mean(1)
    assert to_mean.drawn.mean(1) == pytest.approx(ratio)
    found = interval(own, bounds=(-math.inf, 1.0))
    assert found["low"] < found["value"] < found["high"]


def test_the_drop_of_a_ratio_varies_over_seeds_as_the_ratio() -> None:
    """Seeds that are better by a tenth clean and under attack lose the same share of the mean, and add no doubt."""
    clean = made([0.6, 0.7, 0.8])
    attacked = combined(lambda scores: scores * 0.5, clean)
    assert spread(relative_drop(clean, attacked, own=False)).seed_error == pytest.approx(0, abs=1e-9)
    assert spread(attacked).seed_error > 0.01


@pytest.mark.parametrize(("value", "expected"), [(1.0, 0.3173), (2.0, 0.0455), (-2.0, 0.0455), (0.0, 1.0), (9.0, 1e-4)])
def test_p_is_that_of_the_interval_that_ends_at_zero(value: float, expected: float) -> None:
    drawn = value + norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    found = Spread(Bca(value, drawn, 0.0, 0.0), 1.0, 0.0, 1)
    assert found.p_value() == pytest.approx(expected, abs=2e-3 if value != 9 else 1e-12)


def test_p_agrees_with_the_interval() -> None:
    draws = Resamples(LABELS, resamples=500)
    for share in (0.5, 0.6, 0.7, 0.8):
        found = spread(difference(draws.score(answers(share, seed=5)), draws.score(answers(0.65))))
        low, high = found.ends(1 - found.p_value() * 1.001)
        assert low >= -1e-3 or high <= 1e-3
        assert (found.p_value() < 0.05) == (not found.ends()[0] <= 0 <= found.ends()[1])


def test_methods_and_differences_to_a_reference() -> None:
    predictions = np.stack([answers(0.6), answers(0.9, seed=2), answers(0.6)])
    found = compare_scores(LABELS, predictions, score="f1", reference=0, resamples=300)
    assert (found["score"], found["n"], found["seeds"]) == ("f1", 120, 3)
    assert [one["value"] for one in found["methods"]] == pytest.approx(
        [np.mean([scores(LABELS, row, 4)["f1"] for row in rows]) for rows in predictions]
    )
    none, better, same = found["differences"]
    assert none is None and better["low"] > 0 and better["p"] < 0.05
    assert (same["difference"], same["low"], same["high"]) == (0, 0, 0)
    assert json.loads(json.dumps(found)) == found
    assert compare_scores(LABELS, predictions, resamples=50)["differences"] is None


def test_the_seed_of_the_draws_decides() -> None:
    asked: dict[str, Any] = {"predictions": answers(0.6)[None], "resamples": 100}
    assert compare_scores(LABELS, **asked) == compare_scores(LABELS, **asked) != compare_scores(LABELS, seed=1, **asked)


def test_a_class_without_records_and_one_never_named() -> None:
    labels = np.array([0, 0, 1, 1])
    found = interval(Resamples(labels, resamples=50).score(labels[None], "f1"))
    assert (found["value"], found["low"], found["high"]) == (1, 1, 1)


def test_what_cannot_be_scored_is_refused() -> None:
    draws = Resamples(LABELS, resamples=2)
    with pytest.raises(ValueError, match=r"predictions \[seeds, 120\] are needed, not \[120\]"):
        draws.score(LABELS)
    with pytest.raises(ValueError, match="needed"):
        draws.score(np.zeros((0, 120), int))
    with pytest.raises(ValueError, match="score 'auc': one of accuracy, f1, f1_nao"):
        draws.score(LABELS[None], "auc")


def test_without_the_official_classes_all_of_them_count() -> None:
    predicted = np.roll(LABELS, 7)[None]
    foreign = Resamples(LABELS, ("a", "b", "c", "d"), resamples=20)
    official, mean = (foreign.score(predicted, score) for score in ("f1_nao", "f1"))
    np.testing.assert_array_equal(official.observed, mean.observed)
    np.testing.assert_array_equal(official.drawn, mean.drawn)
    assert official.observed != Resamples(LABELS, CLASSES, resamples=2).score(predicted, "f1_nao").observed
