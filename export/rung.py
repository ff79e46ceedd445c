"""What one check of a file found."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rung:
    """One step of the ladder.

    Attributes:
        name: of the check.
        holds: None where it does not apply or was not run; `note` says why.
        figure: the number that decides.
        meaning: what the figure counts.
        note: what else is worth knowing, one line.
    """

    name: str
    holds: bool | None
    figure: float | None
    meaning: str
    note: str = ""


def as_json(rungs: list[Rung]) -> dict[str, dict[str, Any]]:
    """Rungs by name, ready for JSON."""
    return {
        rung.name: {"holds": rung.holds, "figure": rung.figure, "meaning": rung.meaning, "note": rung.note}
        for rung in rungs
    }
