"""Scores of several networks that differ in their training seed alone, pooled: mean, spread, and one interval.

The interval is of the mean over seeds and holds what differs from record to record and from seed to seed
(`edgeguard.evaluation.bootstrap`, docs/statistics.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import Rate
from edgeguard.evaluation.bootstrap import Resamples, Scores, interval
from edgeguard.evaluation.frames import frame, rate_in_words
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate
from edgeguard.evaluation.metrics import confusion_matrix
from edgeguard.evaluation.result import AttackScores, EvaluationResult, Predictions
from edgeguard.runtime.typed_json import from_json, to_json

WORST_CASE = "worst case"


@dataclass(frozen=True)
class PooledScore:
    """One score of S networks.

    Attributes:
        mean: over the seeds, with the 95 % interval over records and seeds; of one network its own interval.
        sd: standard deviation over the seeds (S - 1 in the denominator); None for one.
        by_seed: the score of each network.
    """

    mean: Rate
    sd: float | None
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class PooledAttack:
    """What one attack left of the networks; `clean` for no attack, `worst case` for all of them together."""

    name: str
    gradient: str | None
    eps_uv: float
    loss: str
    restart: int
    target: int
    accuracy: PooledScore
    f1: PooledScore


@dataclass(frozen=True)
class PooledSeeds:
    """Evaluations of several networks on the same records.

    Attributes:
        models: what was evaluated, a name a seed.
        data: source of the records.
        n: records.
        attacks: in the order of the evaluations; the worst case comes last.
    """

    models: tuple[str, ...]
    data: str
    n: int
    classes: tuple[str, ...]
    attacks: tuple[PooledAttack, ...]

    @property
    def seeds(self) -> int:
        """Number of networks."""
        return len(self.models)

    @property
    def clean(self) -> PooledAttack | None:
        """Scores without attack; None where they were not measured."""
        return next((one for one in self.attacks if one.name == "clean"), None)

    @property
    def worst_case(self) -> PooledAttack:
        """A record counts where every attack left it right."""
        return self.attacks[-1]

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row an attack; InputError where pandas is not installed."""
        about = ("name", "gradient", "eps_uv", "loss", "restart", "target")
        return frame(
            {
                **{name: getattr(one, name) for name in about},
                "accuracy": one.accuracy.mean,
                "accuracy_sd": one.accuracy.sd,
                "f1": one.f1.mean,
                "f1_sd": one.f1.sd,
                "seeds": self.seeds,
                "n": self.n,
            }
            for one in self.attacks
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object of the fields."""
        made: dict[str, Any] = to_json(self)
        return made

    @classmethod
    def from_json(cls, value: Any) -> "PooledSeeds":
        """Read that again; InputError where it is something else."""
        return from_json(cls, value, where="pooled seeds")

    def __repr__(self) -> str:
        clean = rate_in_words(self.clean.accuracy.mean if self.clean else None)
        worst = rate_in_words(self.worst_case.accuracy.mean)
        return (
            f"PooledSeeds({self.seeds} networks, {self.n} records of {self.data}: "
            f"accuracy clean {clean}, worst case {worst})"
        )


def pool_seeds(results: Sequence[EvaluationResult]) -> PooledSeeds:
    """Mean, standard deviation and 95 % interval of each score over networks that differ in their seed alone.

    Args:
        results: what `edgeguard.evaluate` returned for each network, on the same records under the same attacks.

    Raises InputError for no results, for results of other records, classes or attacks, and for results that were read
    from JSON, which holds no prediction of a single record.
    """
    if not results:
        raise InputError("pool_seeds: no results; give those of at least one network")
    predictions = [_predictions(number, one) for number, one in enumerate(results)]
    _check_alike(results, predictions)
    first, labels = results[0], predictions[0].labels
    draws = Resamples(labels, first.classes)
    attacks = [
        _pooled_attack(draws, about, np.stack([one.predicted[place] for one in predictions]))
        for place, about in enumerate(first.attacks)
    ]
    worst = np.stack([one.worst_case for one in predictions])
    attacks.append(_pooled_attack(draws, None, worst))
    return PooledSeeds(tuple(one.model for one in results), first.data, first.n, first.classes, tuple(attacks))


def pooled_score(of: Scores, score: str, predicted: np.ndarray, classes: int) -> PooledScore:
    """Mean over seeds with its interval, standard deviation and the score of each seed.

    Of one seed accuracy and F1 have the interval that `edgeguard evaluate` gives them.

    Args:
        of: the score, by `Resamples.score`.
        score: its name there.
        predicted: int64 [S, N].
        classes: how many there are.
    """
    mean = interval(of)
    if len(predicted) == 1 and score in _SINGLE:
        mean = _SINGLE[score](confusion_matrix(of.labels, predicted[0], classes))
    sd = float(np.std(of.observed, ddof=1)) if len(predicted) > 1 else None
    return PooledScore(Rate(**mean), sd, tuple(of.observed.tolist()))


_SINGLE = {"accuracy": accuracy_rate, "f1": f1_rate}


def _pooled_attack(draws: Resamples, about: AttackScores | None, predicted: np.ndarray) -> PooledAttack:
    accuracy, f1 = (
        pooled_score(draws.score(predicted, score), score, predicted, len(draws.classes))
        for score in ("accuracy", "f1")
    )
    if about is None:
        return PooledAttack(WORST_CASE, None, 0.0, "", 0, 0, accuracy, f1)
    return PooledAttack(about.name, about.gradient, about.eps_uv, about.loss, about.restart, about.target, accuracy, f1)


def _predictions(number: int, result: EvaluationResult) -> Predictions:
    if result.predictions is None:
        raise InputError(
            f"pool_seeds: result {number} was read from JSON, which holds no predictions; "
            "give the results that edgeguard.evaluate returned"
        )
    return result.predictions


def _check_alike(results: Sequence[EvaluationResult], predictions: Sequence[Predictions]) -> None:
    """InputError unless all are of the same records, classes and attacks."""
    first, expected = results[0], predictions[0]
    for number, (one, found) in enumerate(zip(results, predictions, strict=True)):
        if one.classes != first.classes:
            raise InputError(f"pool_seeds: result {number} has other classes than result 0; give networks of the same")
        if found.records != expected.records or not np.array_equal(found.labels, expected.labels):
            raise InputError(
                f"pool_seeds: result {number} is of other records than result 0; evaluate all networks on the same ones"
            )
        if [_settings(attack) for attack in one.attacks] != [_settings(attack) for attack in first.attacks]:
            raise InputError(
                f"pool_seeds: result {number} is of other attacks than result 0; evaluate all networks under the same"
            )


def _settings(attack: AttackScores) -> tuple[Any, ...]:
    return (
        attack.name,
        attack.eps_uv,
        attack.alpha_uv,
        attack.steps,
        attack.smooth_steps,
        attack.loss,
        attack.kernels,
        attack.restart,
        attack.target,
        attack.schedule,
        attack.random_start,
    )
