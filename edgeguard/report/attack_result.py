"""What a black-box attack found, typed: the object behind `edgeguard attack-onnx --json`."""

from dataclasses import dataclass, field
from typing import Any

from edgeguard.attacks.witnesses import Witnesses
from edgeguard.evaluation.audit.result import Rate
from edgeguard.evaluation.frames import frame
from edgeguard.runtime.typed_json import IF_GIVEN, LEFT_OUT, from_json, to_json

SCHEMA = "edgeguard.attack-onnx/1"


@dataclass(frozen=True)
class Reach:
    """How near an attack has come; distances in microvolts, None where so few records are fooled that it is infinite.

    Attributes:
        quartiles_l2_uv, quartiles_linf_uv: lower and upper.
        success: share of records fooled within an L-inf distance, by that distance in microvolts.
    """

    median_l2_uv: float | None
    median_linf_uv: float | None
    quartiles_l2_uv: tuple[float | None, ...]
    quartiles_linf_uv: tuple[float | None, ...]
    success: dict[str, Rate]


@dataclass(frozen=True)
class CurvePoint(Reach):
    """Where an attack stood after so many labels a record; `per_class` over the records of each class."""

    queries: int
    per_class: dict[str, Reach]


@dataclass(frozen=True)
class AttackResult:
    """A black-box attack on one file.

    Attributes:
        model: path of the file.
        settings: of the attack.
        samples, attacked, skipped: records chosen, attacked, and left because the file is wrong on them anyway.
        queries: labels allowed a record; `queries_made` is all that were asked.
        ended: how many records' walks ended for what reason.
        curve: rising in queries.
        perturbation: shape of what fooled the file: medians and quartiles of norms, smoothness and power by band.
        masking: whether the probes reached the file through the input's codes.
        findings: what a reader must know, a line each.
        witnesses, figure, worst, meter: files that were written; None where there is none.
        white_box: against SAP by the file's own gradient.
        compared, comparison: the other file, and the two record by record.
        transfer: what other files make of the records found.
        examples: the records found, as arrays; not in the JSON.
    """

    model: str
    model_sha256: str
    attack: str
    settings: dict[str, Any]
    data: str
    seed: int
    samples: int
    attacked: int
    skipped: int
    queries: int
    queries_made: int
    seconds: float
    ended: dict[str, int]
    curve: tuple[CurvePoint, ...]
    perturbation: dict[str, Any]
    masking: dict[str, Any]
    findings: tuple[str, ...]
    witnesses: str | None = field(default=None, metadata=IF_GIVEN)
    figure: str | None = field(default=None, metadata=IF_GIVEN)
    worst: str | None = field(default=None, metadata=IF_GIVEN)
    meter: str | None = field(default=None, metadata=IF_GIVEN)
    white_box: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    compared: "AttackResult | None" = field(default=None, metadata=IF_GIVEN)
    comparison: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    transfer: tuple[dict[str, Any], ...] | None = field(default=None, metadata=IF_GIVEN)
    schema: str = SCHEMA
    examples: Witnesses | None = field(default=None, metadata=LEFT_OUT, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard attack-onnx --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made

    @classmethod
    def from_json(cls, value: Any) -> "AttackResult":
        """Read that again, without the arrays; InputError where it is something else."""
        return from_json(cls, value, where=SCHEMA)

    def to_frame(self) -> Any:
        """A pandas DataFrame of the query curve, a row a point; InputError where pandas is not installed.

        `success_EPS` is the share of records fooled within EPS microvolts (L-inf).
        """
        return frame(
            {
                "queries": point.queries,
                "median_linf_uv": point.median_linf_uv,
                "median_l2_uv": point.median_l2_uv,
                **{f"success_{eps}": rate for eps, rate in point.success.items()},
                "n": self.attacked,
            }
            for point in self.curve
        )

    def __repr__(self) -> str:
        nearest = self.curve[-1].median_linf_uv if self.curve else None
        median = "none found for half of the records" if nearest is None else f"median {nearest:g} uV L-inf"
        return (
            f"AttackResult({self.model}, {self.attack}: {self.attacked} of {self.samples} records attacked, "
            f"{self.queries:,} queries each; {median})"
        )
