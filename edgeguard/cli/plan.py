"""edgeguard plan."""

from typing import Any

import click

from edgeguard.cli.output import emit, json_option


@click.command("plan")
@click.option(
    "--margin", type=float, default=2.0, show_default=True, metavar="POINTS", help="Largest loss that is accepted."
)
@click.option(
    "--discordant",
    type=float,
    multiple=True,
    metavar="SHARE",
    help="Share of records that one of the two networks alone has right; repeat for several [default: a table].",
)
@click.option(
    "--power",
    type=float,
    default=80.0,
    show_default=True,
    metavar="PERCENT",
    help="Probability that the verdict is reached.",
)
@click.option(
    "--loss",
    type=float,
    default=0.0,
    show_default=True,
    metavar="POINTS",
    help="Expected loss of accuracy by the export, points.",
)
@click.option("--records", type=int, metavar="N", help="Number of records, to ask what so many can tell.")
@json_option
def command(
    margin: float, discordant: tuple[float, ...], power: float, loss: float, records: int | None, as_json: bool
) -> None:
    """How many records it takes to show that a file survives its export."""
    from edgeguard.evaluation.plan import plan_records

    found = plan_records(margin / 100, discordant=discordant, power=power / 100, loss=loss / 100, records=records)
    title = f"margin {margin:g} points, power {power:g} %, " + (
        f"true loss {loss:g} points" if loss else "no true loss"
    )
    text = _needs(title, found.rows) if records is None else _reaches(f"{records:,} records, {title}", found.rows)
    emit("plan", found.to_json(), text, as_json=as_json)


def _needs(title: str, rows: Any) -> str:
    lines = [title, "", f"{'discordant':<12}{'records':>10}{'power':>10}"]
    for row in rows:
        records = "none" if row.records is None else f"{row.records:,}"
        power = "-" if row.power is None else f"{100 * row.power:.1f} %"
        lines.append(f"{_per_cent(row.discordant):<12}{records:>10}{power:>10}")
    if any(row.records is None for row in rows):
        lines += ["", "none: no number of records shows survival of a file that loses the margin or more"]
    return "\n".join([*lines, "", *_LEGEND])


def _reaches(title: str, rows: Any) -> str:
    lines = [title, "", f"{'discordant':<12}{'expected, points [95 %]':>26}{'power':>10}{'decides, points':>18}"]
    for row in rows:
        middle = 100 * row.difference
        ends = f"{middle:+.1f} [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        margin = "none" if row.margin is None else f"{100 * row.margin:.2f}"
        lines.append(f"{_per_cent(row.discordant):<12}{ends:>26}{100 * row.power:>8.1f} %{margin:>18}")
    decides = "decides: the smallest margin that so many records decide with the power asked for"
    return "\n".join([*lines, "", *_LEGEND, decides])


_LEGEND = (
    "discordant: records that one of the two networks alone has right",
    "power: the exact chance of the verdict, a 95 % interval (Tango 1998) that ends above a loss of the margin",
)


def _per_cent(share: float) -> str:
    return f"{100 * share:g} %"
