"""How many records a verdict needs, or what a number of records can tell: the object behind `edgeguard plan --json`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from edgeguard.evaluation.frames import frame
from edgeguard.evaluation.sample_size import LEVEL, POWER, Need, Reach, needs, reaches
from edgeguard.runtime.typed_json import to_json

SCHEMA = "edgeguard.plan/1"


@dataclass(frozen=True)
class Plan:
    """A row a share of discordant records, those that one of the two networks alone has right; shares throughout.

    Attributes:
        margin: largest loss of worst-case accuracy that is accepted.
        power: chance of the verdict that was asked for.
        loss: what the export truly costs.
        level: of the interval.
        records: that were given; None where they were asked for.
        rows: what they need, or what the records given can tell.
    """

    margin: float
    power: float
    loss: float
    level: float
    records: int | None
    rows: tuple[Need, ...] | tuple[Reach, ...]
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard plan --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made

    def to_frame(self) -> Any:
        """A pandas DataFrame, a row a share of discordant records; InputError where pandas is not installed."""
        return frame(asdict(row) for row in self.rows)


def plan_records(
    margin: float = 0.02,
    *,
    discordant: Sequence[float] = (),
    power: float = POWER,
    loss: float = 0.0,
    records: int | None = None,
) -> Plan:
    """How many records it takes to show that a file survives its export; shares throughout.

    Args:
        margin: largest loss of worst-case accuracy that is accepted.
        discordant: of records that one of the two networks alone has right; where empty, several.
        power: chance of the verdict.
        loss: what the export truly costs.
        records: the other way round: what so many records can tell.

    Raises InputError for what is out of range.
    """
    rows: tuple[Need, ...] | tuple[Reach, ...]
    if records is None:
        rows = tuple(needs(margin, discordant, power=power, loss=loss))
    else:
        rows = tuple(reaches(records, margin, discordant, power=power, loss=loss))
    return Plan(margin, power, loss, LEVEL, records, rows)
