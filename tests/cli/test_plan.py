"""`edgeguard plan`: the table for people, the object for machines, refusals in one line."""

from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgeguard.cli import main
from edgeguard.evaluation.sample_size import DISCORDANT, needed_records, needs, reaches


def plan(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["plan", *map(str, arguments)])


def cells(result: Result) -> list[list[str]]:
    """The rows of the table: those that begin with a share."""
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.output.splitlines() if line[:1].isdigit() and " % " in line[:8]]


def test_a_margin_alone_gives_a_table() -> None:
    rows = cells(plan("--margin", 2))
    assert [row[0] for row in rows] == ["1", "3", "5", "10"]
    assert [int(row[2].replace(",", "")) for row in rows] == [needed_records(share, 0.02) for share in DISCORDANT]
    assert plan().output == plan("--margin", 2).output


def test_a_loss_needs_more() -> None:
    (row,) = cells(plan("--margin", 2, "--loss", 1, "--discordant", 0.05, "--power", 90))
    assert int(row[2].replace(",", "")) == needed_records(0.05, 0.02, loss=0.01, power=0.9)


def test_no_number_suffices_for_a_loss_of_the_margin() -> None:
    result = plan("--margin", 2, "--loss", 2)
    assert {row[2] for row in cells(result)} == {"none"}
    assert "no number of records shows survival" in result.output


def test_the_object(only_json: Callable[[Result], dict[str, Any]]) -> None:
    found = only_json(plan("--margin", 1, "--discordant", 0.02, "--discordant", 0.04, "--json"))
    expected = [
        {"discordant": row.discordant, "records": row.records, "power": row.power} for row in needs(0.01, [0.02, 0.04])
    ]
    assert found == {
        "schema": "edgeguard.plan/1",
        "margin": 0.01,
        "power": 0.8,
        "loss": 0.0,
        "level": 0.95,
        "records": None,
        "rows": expected,
    }


def test_the_other_way_round(only_json: Callable[[Result], dict[str, Any]]) -> None:
    asked = ("--records", 853, "--margin", 2, "--discordant", 0.03)
    (expected,) = reaches(853, 0.02, [0.03])
    found = only_json(plan(*asked, "--json"))
    assert found["records"] == 853 and found["rows"] == [vars(expected)]
    result = plan(*asked)
    (row,) = cells(result)
    assert row[2:] == ["+0.0", "[-1.2,", "+1.2]", "88.7", "%", "1.76"]
    assert result.output.startswith("853 records, margin 2 points, power 80 %, no true loss\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--margin", 0), "--margin 0"),
        (("--margin", "much"), "'much' is not a valid float"),
        (("--discordant", 3), "3 % is 0.03"),
        (("--records", 0), "--records 0"),
        (("--power", 100), "--power 100"),
        (("--loss", 15), "--discordant 0.15 or more"),
    ],
)
def test_refusals(refused: Callable[[Result], str], arguments: tuple[object, ...], line: str) -> None:
    assert line in refused(plan(*arguments))
