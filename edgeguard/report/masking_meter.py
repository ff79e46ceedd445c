"""The masking meter for people: do a black-box attack's probes survive the file's input quantiser?

A probe that falls on input codes that were asked before cannot tell anything about the file, robust or not. An
attack whose probes are of that size measures the quantiser.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.meter import FIDELITY_BAR, IDENTICAL_BAR
from edgeguard.evaluation.intervals import rate
from edgeguard.report.canvas import COLOURS, GRID, blank, plain, plain_numbers, save

HOW_TO_READ = (
    f"identical: probes on input codes asked before; above {IDENTICAL_BAR:g} the file sees too few of them, and an "
    "attack that fails with them shows a coarse input, not robustness",
    "fidelity: median cosine between a probe as meant and as the input codes carry it; below "
    f"{FIDELITY_BAR:g} the attack is told about rounding",
)

Row = dict[str, Any]
"""{"probe_rms_uv": [low, high), "probes": n, "identical": share, "fidelity": cosine or None}, as
`MaskingMeter.table` makes them."""


def meter_table(rows: Sequence[Row], *, step_uv: float | None = None) -> str:
    """The meter's rows as text, and two lines that say how to read them.

    Args:
        step_uv: of the file's input quantiser, microvolts; None where it has none.
    """
    head = f"{'probe rms, uV':<16}{'probes':>9}  {'identical [95 %]':<20}{'fidelity':>8}"
    step = [] if step_uv is None else [f"input step {step_uv:g} uV"]
    if not any(row["probes"] for row in rows):
        return "\n".join([*step, "no probes were asked: the attack estimates no gradient"])
    lines = [_line(row) for row in rows if row["probes"]]
    return "\n".join([*step, head, *lines, *HOW_TO_READ])


def draw_meter(rows: Sequence[Row], path: Path, *, title: str, step_uv: float | None = None) -> None:
    """Write a PNG: the share of identical probes with its 95 % interval, and the fidelity, against probe size.

    Dotted, in the colour of each, the bar above which, for the fidelity below which, an attack is blind.

    Args:
        step_uv: of the file's input quantiser, microvolts; marked where given.

    Raises InputError when the file cannot be written.
    """
    figure = blank(7, 4.6)
    axes = figure.subplots()
    asked = [row for row in rows if row["probes"]]
    size = [_middle(row) for row in asked]
    shares = [_identical(row) for row in asked]
    value, low, high = (np.array([share[key] for share in shares]) for key in ("value", "low", "high"))
    axes.fill_between(size, low, high, color=COLOURS[2], alpha=0.16, linewidth=0)
    axes.plot(size, value, color=COLOURS[2], linewidth=1.8, marker="o", label="identical input codes, share of probes")
    for bar, colour in ((IDENTICAL_BAR, COLOURS[2]), (FIDELITY_BAR, COLOURS[0])):
        axes.axhline(bar, color=colour, linewidth=0.9, linestyle=(0, (1, 2)))
    heard = [(at, row["fidelity"]) for at, row in zip(size, asked, strict=True) if row["fidelity"] is not None]
    if heard:
        axes.plot(
            *zip(*heard, strict=True), color=COLOURS[0], linewidth=1.8, marker="s", label="fidelity, median cosine"
        )
    if step_uv is not None:
        axes.axvline(step_uv, color="#606068", linewidth=1, linestyle=(0, (4, 3)), label=f"input step, {step_uv:g} µV")
    axes.set(xlabel="rms of a probe, µV", ylabel="share, cosine", ylim=(-0.02, 1.02))
    if asked:
        _span(axes, [*size, *([] if step_uv is None else [step_uv])])
    else:
        axes.text(0.5, 0.5, "no probes were asked", transform=axes.transAxes, ha="center", color="#7f8c8d")
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_title(f"{title}, n = {sum(row['probes'] for row in asked):,} probes", fontsize=10)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3, fontsize=8)
    plain(axes)
    save(figure, path)


def _span(axes: Any, sizes: Sequence[float]) -> None:
    axes.set(xscale="log", xlim=(min(sizes) / 1.5, max(sizes) * 1.5))
    plain_numbers(axes.xaxis)


def _identical(row: Row) -> dict[str, Any]:
    return rate(round(row["identical"] * row["probes"]), row["probes"])


def _middle(row: Row) -> float:
    """Of a row's range, on a logarithmic axis."""
    low, high = row["probe_rms_uv"]
    return math.sqrt(low * high)


def _line(row: Row) -> str:
    low, high = row["probe_rms_uv"]
    span = f"{low:g} to {high:g}"
    share = _identical(row)
    identical = f"{share['value']:.2f} [{share['low']:.2f}, {share['high']:.2f}]"
    fidelity = "none" if row["fidelity"] is None else f"{row['fidelity']:.2f}"
    return f"{span:<16}{row['probes']:>9,}  {identical:<20}{fidelity:>8}"
