"""What an evaluation found, typed: the object behind `edgeguard evaluate --json`."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeguard.evaluation.audit.result import Rate
from edgeguard.evaluation.frames import frame, rate_in_words
from edgeguard.evaluation.masking_check import Check
from edgeguard.runtime.typed_json import IF_GIVEN, LEFT_OUT, from_json, to_json

SCHEMA = "edgeguard.evaluate/1"


@dataclass(frozen=True)
class ClassScores:
    """One class: recall is its sensitivity, precision its positive predictive value; f1 NaN where it has none.

    Attributes:
        false_alarms: share of the records of other classes that are called this one.
    """

    recall: Rate
    precision: Rate
    f1: float
    false_alarms: Rate | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True)
class Scores:
    """Accuracy and macro F1 on the same records.

    Attributes:
        f1_nao: mean F1 of N, A and O, the official score of CinC 2017; None where the model lacks one of them.
        classes: by name.
    """

    accuracy: Rate
    f1: Rate
    f1_nao: Rate | None = field(default=None, metadata=IF_GIVEN)
    classes: dict[str, ClassScores] | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True)
class AttackScores:
    """What one attack left of a model.

    Attributes:
        name: `clean`, `pgd`, `sap`, `apgd`, `apgd-sap`, `cw-smooth` or `square`.
        situation: `I` where another network crafted, `II` where its own did; None for clean records.
        eps_uv, alpha_uv: largest perturbation and step, microvolts.
        steps, smooth_steps: before smoothing, and on the smoothed perturbation.
        zero_gradient: share of records at which the loss has no gradient to start from.
        confusion: rows are true classes, columns predicted ones.
        classes: by name.
        gradient: the network that crafted; None for clean records and the black-box search.
        restart: number of the random start.
        target: 0 for any wrong class, k for one: of `cw-smooth` k places behind the true one, of Auto-PGD the k-th
            likeliest at the clean record.
        records, felled: of an attack in a cascade, how many records still stood and were attacked, and how many of them
            it turned. Its accuracy is of all n: what fell before counts as wrong.
        close: whether it was run only on those that earlier attacks had brought half of the way to a wrong class.
    """

    name: str
    situation: str | None
    eps_uv: float
    alpha_uv: float
    steps: int
    smooth_steps: int
    loss: str
    kernels: str
    random_start: bool
    zero_gradient: Rate | None
    accuracy: Rate
    f1: Rate
    confusion: tuple[tuple[int, ...], ...]
    classes: dict[str, ClassScores]
    gradient: str | None = None
    restart: int = 0
    target: int = 0
    schedule: str = "constant"
    records: int | None = field(default=None, metadata=IF_GIVEN)
    felled: int | None = field(default=None, metadata=IF_GIVEN)
    close: bool | None = field(default=None, metadata=IF_GIVEN)
    f1_nao: Rate | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True)
class Difference:
    """A paired difference of shares of the same n records, with Tango's 95 % interval and exact McNemar p.

    Attributes:
        only_first, only_second: records that one alone has right.
    """

    difference: float
    low: float
    high: float
    n: int
    mcnemar_p: float
    only_first: int
    only_second: int


@dataclass(frozen=True)
class Comparison:
    """The model less the other one, under one portfolio; see `edgeguard.evaluation.survival.Survival`.

    Attributes:
        model: the other one.
        attacks: scores of the other one.
        verdict: `survives`, `degraded` or `inconclusive`.
        margin: largest loss of worst-case accuracy that is accepted, a share of the records.
        accuracy: worst case of `model` and `other`.
        table: records that `both_right`, `only_reference` (the other), `only_exported` (the model), `both_wrong`.
        transfer: worst case of each, by crafting network.
        needed: records for 80 % power, were the true difference zero.
        holds: whether the verdict is `survives`.
    """

    model: str
    attacks: tuple[AttackScores, ...]
    verdict: str
    message: str
    margin: float
    n: int
    accuracy: dict[str, Rate]
    table: dict[str, int]
    worst_case: Difference
    clean: Difference | None
    transfer: dict[str, dict[str, Rate]]
    needed: int | None
    holds: bool


@dataclass(frozen=True)
class Hunt:
    """Records within eps that one of two models gets right and the other wrong.

    Attributes:
        witnesses: the .npz file that holds them.
    """

    parties: tuple[str, ...]
    eps_uv: float
    only_first_right: Rate
    only_second_right: Rate
    either: Rate
    witnesses: str


@dataclass(frozen=True)
class Predictions:
    """The class that the model gave each record, int64 indices into the result's classes.

    Attributes:
        records: N names.
        labels: [N], true classes.
        predicted: [A, N], a row an attack, in the order of the result's attacks.
        worst_case: [N], the true class where every attack left it right, else the first wrong class.
    """

    records: tuple[str, ...]
    labels: np.ndarray
    predicted: np.ndarray
    worst_case: np.ndarray


@dataclass(frozen=True)
class EvaluationResult:
    """Accuracy and F1 of one model, clean and attacked.

    Attributes:
        model: as it was named.
        data: source of the records.
        n: records judged.
        profile: `paper`, `strict` or `full`.
        profile_version: what the profile was fixed to; None in results older than versions.
        attacks: in the order they were asked for.
        worst_case: a record counts where every attack left it right.
        by_gradient: the worst case of each crafting network alone, where there are several.
        by_space: the worst case in each space that was searched: `plain`, all perturbations within eps, and `smooth`,
            those of SAP.
        checks: for gradient masking; none where they were not made.
        compare, hunt: None where they were not asked for.
        classes: in the order of the confusions.
        records: which records of the data, one line.
        notes: what a reader should know, a line each.
        warnings: what is implausible about model and records, a line each; None where nothing is.
        predictions: record by record; not in the JSON, so None in a result that was read from it.
    """

    model: str
    data: str
    n: int
    profile: str
    attacks: tuple[AttackScores, ...]
    worst_case: Scores
    by_gradient: dict[str, Scores] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    compare: Comparison | None = field(default=None, metadata=IF_GIVEN)
    hunt: Hunt | None = field(default=None, metadata=IF_GIVEN)
    classes: tuple[str, ...] = ()
    records: str = ""
    notes: tuple[str, ...] = ()
    by_space: dict[str, Scores] | None = field(default=None, metadata=IF_GIVEN)
    profile_version: str | None = field(default=None, metadata=IF_GIVEN)
    warnings: tuple[str, ...] | None = field(default=None, metadata=IF_GIVEN)
    schema: str = SCHEMA
    predictions: Predictions | None = field(default=None, metadata=LEFT_OUT, compare=False)

    @property
    def accuracy(self) -> Rate | None:
        """Of clean records; None where they were not judged."""
        return next((one.accuracy for one in self.attacks if one.name == "clean"), None)

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard evaluate --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made

    @classmethod
    def from_json(cls, value: Any) -> "EvaluationResult":
        """Read that again; InputError where it is something else."""
        return from_json(cls, value, where=SCHEMA)

    def to_frame(self) -> Any:
        """A pandas DataFrame with a row an attack, the worst case last; InputError where pandas is not installed."""
        about = ("name", "gradient", "eps_uv", "alpha_uv", "steps", "smooth_steps", "loss", "restart", "target")
        rows = [
            {**{name: getattr(one, name) for name in about}, "accuracy": one.accuracy, "f1": one.f1, "n": self.n}
            for one in self.attacks
        ]
        worst = {"name": "worst case", "accuracy": self.worst_case.accuracy, "f1": self.worst_case.f1, "n": self.n}
        return frame([*rows, worst])

    def __repr__(self) -> str:
        verdict = f", {self.compare.verdict} against {self.compare.model}" if self.compare else ""
        return (
            f"EvaluationResult({self.model}, {self.n} records of {self.data}, {self.profile}: accuracy clean "
            f"{rate_in_words(self.accuracy)}, worst case {rate_in_words(self.worst_case.accuracy)}{verdict})"
        )
