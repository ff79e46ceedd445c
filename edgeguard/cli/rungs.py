"""The checks of a file as lines that people read."""

from collections.abc import Iterable
from typing import Any

_VERDICTS = {True: "holds", False: "FAILS", None: "-"}


def rung_lines(rungs: Iterable[dict[str, Any]]) -> list[str]:
    """A line a check: verdict, name, figure and what it counts; below it what else is worth knowing.

    Args:
        rungs: {name, holds, figure, meaning, note} each.
    """
    lines = []
    for rung in rungs:
        figure = "" if rung["figure"] is None else f"{rung['figure']:.6g}"
        lines.append(f"{_VERDICTS[rung['holds']]:<12}{rung['name']:<12}{figure:>11}  {rung['meaning']}")
        if rung["note"]:
            lines.append(f"{'':<37}{rung['note']}")
    return lines
