"""Whether the file knows when it errs: calibration of its probabilities, and what it gains by saying nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

from edgeguard.evaluation.audit.checks import rate_check
from edgeguard.evaluation.audit.result import Abstention, Check, Confidence, ConfidenceBin, Rate
from edgeguard.evaluation.audit.thresholds import Thresholds
from edgeguard.evaluation.intervals import rate

BINS = 10
_RESAMPLES = 1000
_TEMPERATURES = (0.02, 50.0)
VALIDATION, HALVES = "validation records", "the judged records, half for half"


@dataclass(frozen=True)
class Answers:
    """What the file said of N records.

    Attributes:
        certainty: float [N], its largest probability.
        right: bool [N].
    """

    certainty: np.ndarray
    right: np.ndarray

    def __len__(self) -> int:
        return len(self.right)

    def rows(self, index: np.ndarray) -> "Answers":
        """Some of them, in that order."""
        return Answers(self.certainty[index], self.right[index])


def answers_of(logits: np.ndarray, predicted: np.ndarray, labels: np.ndarray) -> Answers:
    """Of logits [N, C] that were taken for the classes int64 [N]."""
    return Answers(softmax(np.asarray(logits, np.float64), axis=1).max(1), predicted == labels)


def calibration_error(answers: Answers, bins: int = BINS) -> float:
    """Expected calibration error over bins of equally many records: sum_b n_b / n |confidence_b - accuracy_b|.

    Naeini, Cooper & Hauskrecht 2015 (AAAI, eq. 3) with equal mass in place of equal width, as Nguyen & O'Connor 2015.
    It is biased upwards where bins are small. NaN for no records.
    """
    if len(answers) == 0:
        return float("nan")
    gaps = [abs(part.certainty.sum() - part.right.sum()) for part in _bins(answers, bins)]
    return float(sum(gaps) / len(answers))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T that makes the negative log-likelihood of softmax(z / T) least (Guo et al. 2017, arXiv 1706.04599)."""

    def likelihood(log_t: float) -> float:
        scaled = np.asarray(logits, np.float64) / np.exp(log_t)
        top = scaled.max(1)
        total = top + np.log(np.exp(scaled - top[:, None]).sum(1))
        return float((total - scaled[np.arange(len(labels)), labels]).mean())

    bounds = tuple(np.log(_TEMPERATURES))
    return float(np.exp(minimize_scalar(likelihood, bounds=bounds, method="bounded").x))


def choose_threshold(answers: Answers, target: float) -> float | None:
    """The smallest certainty from which on answers are right often enough; None where no number of them is.

    Every certainty that occurs is tried: what lies at it or above is answered.
    """
    order = np.argsort(-answers.certainty, kind="stable")
    certainty, right = answers.certainty[order], answers.right[order]
    accuracy = np.cumsum(right) / np.arange(1, len(right) + 1)
    last = np.append(certainty[1:] < certainty[:-1], True)  # equal certainties are answered together
    enough = np.flatnonzero((accuracy >= target) & last)
    return float(certainty[enough[-1]]) if len(enough) else None


def judge_confidence(
    clean: Answers,
    attacked: Sequence[Answers],
    chosen_on: Answers | None,
    *,
    temperature: float,
    target: float,
    seed: int = 0,
) -> Confidence:
    """Calibration on clean records, and an abstention that aims at `target`.

    Args:
        attacked: the file's answers to every adversarial version of the same records at one budget.
        chosen_on: records that are not judged here, where the threshold is chosen; None: on either half of the judged
            ones for the other.
        temperature: fitted elsewhere.
    """
    where = HALVES if chosen_on is None else VALIDATION
    return Confidence(
        expected_error=_error_rate(clean, seed),
        temperature=temperature,
        bins=_confidence_bins(clean),
        abstention=_abstention(clean, attacked, chosen_on, target, seed),
        chosen_on=where,
    )


def confidence_checks(found: Confidence, demands: Thresholds) -> tuple[Check, ...]:
    """The calibration error; what abstention gains is stated, and decides nothing."""
    error, bar = found.expected_error, demands.calibration_error
    checks = [
        rate_check("calibration_error", "confidence", error, bar, sense="most", what="expected calibration error")
    ]
    left = found.abstention
    if left is None:
        reason = f"no certainty leaves answers that are right in {demands.abstention_accuracy:g} of the cases"
        return *checks, Check("abstention", "confidence", None, None, None, reason)
    reason = (
        f"below a certainty of {left.threshold:.2f} it says nothing: {left.coverage.value:.3f} are answered, "
        f"{left.accuracy.value:.3f} [{left.accuracy.low:.3f}, {left.accuracy.high:.3f}] of them right, "
        f"n = {left.accuracy.n}"
    )
    return *checks, Check("abstention", "confidence", None, left.accuracy.value, None, reason)


def abstaining(clean: Answers, attacked: Sequence[Answers], threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(answered bool [N], right bool [N]) in the worst case over versions of the same records.

    For the attacker a wrong answer is best; where he gets none, silence is better than a right one.

    Args:
        threshold: float [N], of each record.
    """
    every = (clean, *attacked)
    spoken = np.stack([one.certainty >= threshold for one in every])
    right = np.stack([one.right for one in every])
    wrong = (spoken & ~right).any(0)
    silent = (~spoken).any(0) & ~wrong
    return ~silent, ~silent & ~wrong


def _abstention(
    clean: Answers, attacked: Sequence[Answers], chosen_on: Answers | None, target: float, seed: int
) -> Abstention | None:
    n = len(clean)
    if chosen_on is not None:
        overall = choose_threshold(chosen_on, target)
        thresholds = None if overall is None else np.full(n, overall)
    else:
        overall, thresholds = choose_threshold(clean, target), _crossed(clean, target, seed)
    if overall is None or thresholds is None:
        return None
    answered, right = abstaining(clean, (), thresholds)
    coverage, accuracy = Rate(**rate(int(answered.sum()), n)), Rate(**rate(int(right.sum()), int(answered.sum())))
    if not attacked:
        return Abstention(overall, target, coverage, accuracy, None, None)
    answered, right = abstaining(clean, attacked, thresholds)
    return Abstention(
        overall,
        target,
        coverage,
        accuracy,
        Rate(**rate(int(answered.sum()), n)),
        Rate(**rate(int(right.sum()), int(answered.sum()))),
    )


def _crossed(clean: Answers, target: float, seed: int) -> np.ndarray | None:
    """float [N]: for each half of the records the threshold that the other half chooses; None where one finds none."""
    order = np.random.default_rng(seed).permutation(len(clean))
    halves = order[::2], order[1::2]
    thresholds = np.empty(len(clean))
    for own, other in (halves, halves[::-1]):
        chosen = choose_threshold(clean.rows(other), target)
        if chosen is None:
            return None
        thresholds[own] = chosen
    return thresholds


def _error_rate(answers: Answers, seed: int) -> Rate:
    """With the percentile interval of a bootstrap over records."""
    rng = np.random.default_rng(seed)
    n = len(answers)
    drawn = [calibration_error(answers.rows(rng.integers(0, n, n))) for _ in range(_RESAMPLES)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Rate(calibration_error(answers), float(low), float(high), n)


def _bins(answers: Answers, bins: int) -> list[Answers]:
    """Parts of equally many records, give or take one, the least certain first; no more bins than records."""
    order = np.argsort(answers.certainty, kind="stable")
    return [answers.rows(part) for part in np.array_split(order, min(bins, len(order)))] if len(order) else []


def _confidence_bins(answers: Answers) -> tuple[ConfidenceBin, ...]:
    """Each from its least certain answer to that of the next, the last one to 1."""
    parts = _bins(answers, BINS)
    edges = [float(part.certainty[0]) for part in parts] + [1.0]
    return tuple(
        ConfidenceBin(low, high, float(part.certainty.mean()), Rate(**rate(int(part.right.sum()), len(part))))
        for part, low, high in zip(parts, edges[:-1], edges[1:], strict=True)
    )
