"""Calibration and abstention, held against figures computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from edgeguard.evaluation.audit.confidence import (
    Answers,
    abstaining,
    answers_of,
    calibration_error,
    choose_threshold,
    confidence_checks,
    fit_temperature,
    judge_confidence,
)
from edgeguard.evaluation.audit.thresholds import load_thresholds

FOUR = Answers(np.array([0.9, 0.5, 0.7, 0.6]), np.array([True, False, True, True]))


def answers(certainty: list[float], right: list[int]) -> Answers:
    return Answers(np.array(certainty), np.array(right, bool))


def calibrated(n: int, seed: int = 0) -> Answers:
    """Answers that are right just as often as they say."""
    rng = np.random.default_rng(seed)
    certainty = rng.uniform(0.3, 1, n)
    return Answers(certainty, rng.uniform(0, 1, n) < certainty)


def test_the_error_of_four_answers_by_hand() -> None:
    """Two bins: (0.5, 0.6) with 1 right, |1.1 - 1| = 0.1; (0.7, 0.9) with 2 right, |1.6 - 2| = 0.4; over 4 answers."""
    assert calibration_error(FOUR, bins=2) == pytest.approx(0.125)
    assert calibration_error(FOUR, bins=1) == pytest.approx(abs(2.7 - 3) / 4)
    assert calibration_error(FOUR, bins=9) == pytest.approx((0.5 + 0.4 + 0.3 + 0.1) / 4)
    assert np.isnan(calibration_error(answers([], [])))


def test_calibrated_answers_have_a_small_error_and_boastful_ones_their_boast() -> None:
    assert calibration_error(calibrated(20_000)) < 0.02
    boastful = Answers(np.full(5000, 0.99), np.random.default_rng(0).uniform(0, 1, 5000) < 0.7)
    assert calibration_error(boastful) == pytest.approx(0.29, abs=0.03)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_was_applied_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (20_000, 4))
    labels = np.array([rng.choice(4, p=row) for row in softmax(logits, axis=1)])
    assert fit_temperature(logits * temperature, labels) == pytest.approx(temperature, rel=0.05)


def test_the_smallest_threshold_that_reaches_the_target() -> None:
    """From the surest on: right, right, wrong, right: 1, 1, 2/3, 3/4 of the answers are right."""
    found = answers([0.6, 0.9, 0.8, 0.7], [1, 1, 1, 0])
    assert choose_threshold(found, 0.9) == 0.8
    assert choose_threshold(found, 0.75) == 0.6
    assert choose_threshold(answers([0.6, 0.9], [1, 0]), 0.9) is None
    assert choose_threshold(answers([0.8, 0.8, 0.9], [1, 0, 1]), 0.9) == 0.9, "equal certainties go together"


@given(
    st.lists(st.tuples(st.sampled_from([0.3, 0.5, 0.7, 0.9]), st.booleans()), min_size=1, max_size=40),
    st.sampled_from([0.5, 0.8, 0.9]),
)
def test_a_threshold_keeps_its_promise_and_no_smaller_one_does(rows: list[tuple[float, bool]], target: float) -> None:
    found = answers([certainty for certainty, _ in rows], [right for _, right in rows])

    def accuracy(threshold: float) -> float:
        return float(found.right[found.certainty >= threshold].mean())

    chosen = choose_threshold(found, target)
    reached = [certainty for certainty in sorted(set(found.certainty)) if accuracy(certainty) >= target]
    assert chosen == (min(reached) if reached else None)


def test_the_attacker_prefers_wrong_answers_then_silence() -> None:
    clean = answers([0.9, 0.9, 0.9, 0.4], [1, 1, 1, 1])
    versions = [answers([0.8, 0.3, 0.9, 0.9], [0, 0, 1, 1]), answers([0.9, 0.9, 0.9, 0.9], [1, 1, 1, 0])]
    answered, right = abstaining(clean, versions, np.full(4, 0.5))
    assert answered.tolist() == [True, False, True, True] and right.tolist() == [False, False, True, False]
    answered, right = abstaining(clean, (), np.full(4, 0.5))
    assert answered.tolist() == [True, True, True, False] and right.tolist() == [True, True, True, False]


def test_a_threshold_of_other_records_is_taken_as_it_is() -> None:
    chosen_on = answers([0.6, 0.9, 0.8, 0.7], [1, 1, 1, 0])
    made = judge_confidence(FOUR, [FOUR], chosen_on, temperature=1.5, target=0.9)
    left = made.abstention
    assert left is not None and left.threshold == 0.8 and made.temperature == 1.5 and "validation" in made.chosen_on
    assert (left.coverage.value, left.accuracy.value, left.accuracy.n) == (0.25, 1.0, 1)
    assert left.attacked_coverage == left.coverage
    assert judge_confidence(FOUR, [], chosen_on, temperature=1, target=0.9).abstention == replace(
        left, attacked_coverage=None, attacked_accuracy=None
    )


def test_halves_choose_for_each_other() -> None:
    """Of answers that are as sure as they are right, those above the target's certainty remain, in either half."""
    made = judge_confidence(calibrated(4000), [], None, temperature=1.0, target=0.9)
    left = made.abstention
    assert left is not None and "half" in made.chosen_on
    assert left.accuracy.low < 0.9 < left.accuracy.high and left.coverage.value == pytest.approx(2 / 7, abs=0.05)
    assert judge_confidence(answers([0.9] * 8, [0] * 8), [], None, temperature=1, target=0.9).abstention is None


def test_bins_hold_equally_many_and_meet() -> None:
    made = judge_confidence(calibrated(95), [], None, temperature=1.0, target=0.9)
    assert [part.accuracy.n for part in made.bins] == [10, 10, 10, 10, 10, 9, 9, 9, 9, 9]
    assert [part.high for part in made.bins] == [*(part.low for part in made.bins[1:]), 1.0]
    error = sum(part.accuracy.n * abs(part.confidence - part.accuracy.value) for part in made.bins) / 95
    assert made.expected_error.value == pytest.approx(error)
    assert made.expected_error.low <= error * 1.5 and made.expected_error.high >= error and made.expected_error.n == 95


def test_only_a_demanded_calibration_decides() -> None:
    made = judge_confidence(calibrated(400), [], None, temperature=1.0, target=0.9)
    demands = load_thresholds()
    assert all(check.bar is None and check.holds is None for check in confidence_checks(made, demands))
    strict = confidence_checks(made, replace(demands, calibration_error=0.001))[0]
    assert strict.holds is False and strict.sense == "most"


def test_answers_of_logits() -> None:
    made = answers_of(np.array([[0.0, np.log(3)], [2.0, 2.0]]), np.array([1, 0]), np.array([1, 1]))
    np.testing.assert_allclose(made.certainty, [0.75, 0.5])
    assert made.right.tolist() == [True, False]
