"""The demo's pictures: an attacked ECG over its original, accuracy against eps, and the query curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.scheduler import Trace
from edgeguard.ecg.record import CLASS_NAMES
from edgeguard.evaluation.intervals import rate
from edgeguard.report import paper
from edgeguard.report.canvas import GRID, blank, plain, plain_numbers, save

COLOURS = ("#c0392b", "#1f618d", "#b9770e", "#117864")
"""One a network, in the order given."""

_NEAR_UV = 200
"""L-inf radius within which a record counts as fooled."""


@dataclass(frozen=True)
class AttackedRecord:
    """One recording before and after an attack.

    Attributes:
        name: of the recording.
        original, adversarial: [L] microvolts, without padding.
        sampling_rate: hertz.
        said, says: classes that the model gives to the original and to the adversarial recording.
        title: model and attack.
    """

    name: str
    original: np.ndarray
    adversarial: np.ndarray
    sampling_rate: float
    said: str
    says: str
    title: str


def draw_attack(record: AttackedRecord, path: Path, *, seconds: float = 8.0) -> None:
    """Write a PNG: the middle `seconds` before and after on ECG paper, and their difference in microvolts.

    The paper is true to scale; the difference beneath is magnified, and its title says how much.
    Raises InputError when the file cannot be written.
    """
    count = min(round(seconds * record.sampling_rate), len(record.original))
    first, shown = (len(record.original) - count) // 2, count / record.sampling_rate
    original, adversarial = (ecg[first : first + count] for ecg in (record.original, record.adversarial))
    time = np.arange(count) / record.sampling_rate
    low, high = paper.limits(np.concatenate([original, adversarial]) / 1000)

    left, right, top, gap, lower, bottom = 15.0, 5.0, 15.0, 9.0, 26.0, 12.0
    strip = (high - low) * paper.GAIN
    width, height = left + shown * paper.SPEED + right, top + strip + gap + lower + bottom
    figure = blank(width * paper.MM, height * paper.MM, layout=None)
    share = shown * paper.SPEED / width
    above = figure.add_axes((left / width, (bottom + lower + gap) / height, share, strip / height))
    beneath = figure.add_axes((left / width, bottom / height, share, lower / height))

    figure.text(left / width, 1 - 4 / height, record.title, fontsize=10, weight="bold", va="center")
    paper.rule(above, shown, low, high)
    for ecg, said, style in (
        (original, f"original, read as {_class(record.said)}", {"color": paper.TRACE, "linewidth": 1.8}),
        (adversarial, f"attacked, read as {_class(record.says)}", {"color": COLOURS[0], "linewidth": 0.7}),
    ):
        above.plot(time, ecg / 1000, label=said, zorder=3, **style)
    above.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, fontsize=9, borderpad=0)
    scale = f"{record.name}   {paper.SPEED:g} mm/s   {paper.GAIN:g} mm/mV"
    above.text(1, 1 + 1.8 / strip, scale, transform=above.transAxes, ha="right", fontsize=8.5, color=paper.SOFT)

    difference = np.subtract(adversarial, original, dtype=np.float64)
    bound = max(1.0, float(np.abs(difference).max())) * 1.15
    magnified = _one_digit((lower / (2 * bound)) / (paper.GAIN / 1000))
    beneath.axhline(0, color="#d5d8dc", linewidth=0.8)
    beneath.plot(time, difference, color=COLOURS[0], linewidth=0.8)
    beneath.set(xlim=(0, shown), ylim=(-bound, bound), xlabel="seconds", ylabel="µV")
    beneath.set_title(
        f"attacked minus original, magnified {magnified} times",
        fontsize=8.5,
        color=paper.SOFT,
        loc="left",
        pad=3,
    )
    plain(beneath)
    save(figure, path)


def draw_robustness(
    curves: Mapping[str, Mapping[float, dict[str, Any]]], path: Path, *, marked: float, title: str
) -> None:
    """Write a PNG: accuracy against the attack's radius, a line and a 95 % band a network.

    Args:
        curves: network -> radius in microvolts (0: clean) -> rate.
        marked: radius to draw a line at.

    Raises InputError when the file cannot be written.
    """
    from matplotlib.ticker import NullLocator

    figure = blank(6.2, 4.2)
    axes = figure.subplots()
    radii = sorted({eps for curve in curves.values() for eps in curve})
    axes.axvline(marked, color=paper.SOFT, linewidth=0.9, linestyle=(0, (3, 3)), zorder=1)
    for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
        eps = sorted(curve)
        value, low, high = ([curve[e][key] for e in eps] for key in ("value", "low", "high"))
        axes.fill_between(eps, low, high, color=colour, alpha=0.16, linewidth=0)
        axes.plot(eps, value, color=colour, linewidth=1.8, marker="o", markersize=4, label=name, clip_on=False)
    axes.set_xscale("symlog", linthresh=min((eps for eps in radii if eps > 0), default=1.0), linscale=0.6)
    axes.set_xticks(radii, ["clean" if eps == 0 else f"{eps:g}" for eps in radii])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlabel="eps, µV (L-inf)", ylabel="accuracy", ylim=(0, 1), xlim=(0, max(radii) or 1))
    axes.set_title(title, fontsize=10)
    axes.legend(frameon=False, loc="lower left")
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    plain(axes)
    save(figure, path)


def draw_query_curves(traces: Mapping[str, Sequence[Trace]], budget: int, path: Path) -> None:
    """Write a PNG: how near a black-box attack comes to each network's records, against labels asked.

    Left the median L2 distance with its quartiles, right the share fooled within 200 uV with its 95 % band.

    Args:
        traces: network -> what the attack found on each record; a network without any is left out.
        budget: labels that it might ask a record.

    Raises InputError when the file cannot be written.
    """
    figure = blank(9.6, 4.2)
    near, share = figure.subplots(1, 2)
    grid = np.unique(np.rint(np.geomspace(1, max(budget, 2), 120)).astype(int))
    for (name, found), colour in zip(traces.items(), COLOURS, strict=False):
        if found:
            reached = np.array([[trace.at(int(queries)) for trace in found] for queries in grid])
            _draw_distance(near, grid, reached[..., 0], f"{name}, n = {len(found)}", colour)
            _draw_success(share, grid, reached[..., 1], colour)
    near.set(ylabel="L2 distance, µV")
    near.set_title("nearest adversarial record: median and quartiles", fontsize=10)
    share.set(ylabel="share of records", ylim=(0, 1))
    share.set_title(f"fooled within {_NEAR_UV} µV (L-inf), 95 % intervals", fontsize=10)
    for axes in (near, share):
        axes.set(xscale="log", xlabel="labels asked a record", xlim=(1, max(budget, 2)))
        plain_numbers(axes.xaxis)
        axes.grid(color=GRID, linewidth=0.8)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8.5)
        plain(axes)
    save(figure, path)


def _draw_distance(axes: Any, grid: np.ndarray, l2: np.ndarray, label: str, colour: str) -> None:
    """L2 distances [len(grid), records]; where a quantile is infinite, nothing is drawn."""
    quartiles = np.quantile(l2, (0.25, 0.5, 0.75), axis=1, method="higher")
    low, median, high = np.where(np.isfinite(quartiles), quartiles, np.nan)
    axes.fill_between(grid, low, high, color=colour, alpha=0.16, linewidth=0, step="post")
    axes.plot(grid, median, color=colour, linewidth=1.8, drawstyle="steps-post", label=label)
    if np.isfinite(median).any():
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)


def _draw_success(axes: Any, grid: np.ndarray, linf: np.ndarray, colour: str) -> None:
    """L-inf distances [len(grid), records]."""
    rates = [rate(int(fooled), linf.shape[1]) for fooled in (linf <= _NEAR_UV).sum(axis=1)]
    value, low, high = ([r[key] for r in rates] for key in ("value", "low", "high"))
    axes.fill_between(grid, low, high, color=colour, alpha=0.16, linewidth=0, step="post")
    axes.plot(grid, value, color=colour, linewidth=1.8, drawstyle="steps-post")


def _class(label: str) -> str:
    return CLASS_NAMES.get(label, label)


def _one_digit(value: float) -> int:
    """Rounded to its first digit."""
    power = 10 ** int(np.log10(max(value, 1)))
    return round(value / power) * power
