"""The worst record: the one that an attack fooled at the smallest distance, drawn over its original."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.scheduler import Trace
from edgeguard.ecg.record import CLASS_NAMES
from edgeguard.evaluation.perturbation import Norm
from edgeguard.report import paper
from edgeguard.report.canvas import COLOURS, GRID, blank, plain, save
from edgeguard.report.figures import AttackedRecord

_LEFT, _RIGHT, _TOP, _BOTTOM, _BETWEEN = 16.0, 5.0, 21.0, 12.0, 16.0
_DIFFERENCE, _OVERVIEW = 30.0, 14.0
"""Millimetres: margins, what lies between two panels, and the heights of the two lower ones."""
_NARROWEST = 8.0
"""Seconds of paper that the captions need."""


def worst_record(traces: Mapping[int, Trace], *, norm: Norm = "l2") -> int | None:
    """The record that was fooled at the smallest distance, the first of equals; None where none was."""
    distance = {record: getattr(trace, norm)[-1] for record, trace in traces.items() if getattr(trace, norm)}
    return min(distance, key=lambda record: distance[record], default=None)


def draw_worst_record(record: AttackedRecord, path: Path, *, seconds: float = 8.0) -> None:
    """Write a PNG of the `seconds` in which the perturbation is strongest, and where in the record they lie.

    Above, both recordings on ECG paper, true to scale (25 mm/s, 10 mm/mV). Beneath, their difference in microvolts,
    magnified; its title says how much. Last, the difference over the whole record, the excerpt shaded.

    Raises InputError when the file cannot be written.
    """
    difference = np.subtract(record.adversarial, record.original, dtype=np.float64)
    count = min(round(seconds * record.sampling_rate), len(difference))
    begin = _strongest(difference, count)
    shown, start = count / record.sampling_rate, begin / record.sampling_rate
    excerpt = slice(begin, begin + count)
    low, high = paper.limits(np.concatenate([record.original[excerpt], record.adversarial[excerpt]]) / 1000)

    strip = (high - low) * paper.GAIN
    wide = max(shown, _NARROWEST) * paper.SPEED
    width = _LEFT + wide + _RIGHT
    height = _TOP + strip + _BETWEEN + _DIFFERENCE + _BETWEEN + _OVERVIEW + _BOTTOM
    figure = blank(width * paper.MM, height * paper.MM, layout=None)

    def panel(bottom: float, tall: float, across: float) -> Any:
        """Axes whose corner and size are in millimetres of the page."""
        return figure.add_axes((_LEFT / width, bottom / height, across / width, tall / height))

    middle = _BOTTOM + _OVERVIEW + _BETWEEN
    above = panel(middle + _DIFFERENCE + _BETWEEN, strip, shown * paper.SPEED)
    beneath = panel(middle, _DIFFERENCE, shown * paper.SPEED)
    overview = panel(_BOTTOM, _OVERVIEW, wide)

    figure.text(_LEFT / width, 1 - 4.5 / height, record.title, fontsize=10.5, weight="bold", va="center")
    scale = f"{record.name}, {paper.SPEED:g} mm/s, {paper.GAIN:g} mm/mV"
    figure.text(_LEFT / width, 1 - 9.5 / height, scale, fontsize=8.5, color=paper.SOFT, va="center")
    _draw_recordings(above, record, excerpt, low, high)
    _draw_difference(beneath, difference[excerpt], record.sampling_rate, _DIFFERENCE)
    for axes in (above, beneath):
        _seconds(axes, start, shown)
    _draw_overview(overview, difference, record.sampling_rate, (start, start + shown))
    save(figure, path)


def _strongest(difference: np.ndarray, count: int) -> int:
    """Where the `count` samples of the greatest energy begin; the middle ones where the energy is the same all over."""
    energy = np.concatenate([[0.0], np.cumsum(difference**2)])
    windows = energy[count:] - energy[:-count]
    best = np.flatnonzero(windows >= windows.max() * (1 - 1e-12))
    return int(best[len(best) // 2])


def _draw_recordings(axes: Any, record: AttackedRecord, excerpt: slice, low: float, high: float) -> None:
    original, adversarial = record.original[excerpt], record.adversarial[excerpt]
    time = np.arange(len(original)) / record.sampling_rate
    paper.rule(axes, len(original) / record.sampling_rate, low, high)
    for ecg, label, style in (
        (original, f"original, read as {_class(record.said)}", {"color": paper.TRACE, "linewidth": 1.9}),
        (adversarial, f"attacked, read as {_class(record.says)}", {"color": COLOURS[2], "linewidth": 0.8}),
    ):
        axes.plot(time, ecg / 1000, label=label, zorder=3, **style)
    axes.set_yticks(np.arange(low, high + 0.25, 0.5))
    axes.set_ylabel("mV", fontsize=9)
    axes.tick_params(labelsize=8, length=2, color=paper.SOFT)
    axes.legend(loc="lower left", bbox_to_anchor=(-0.008, 1.0), ncols=2, frameon=False, fontsize=9)
    reach = np.concatenate([original, adversarial]) / 1000
    if reach.min() < low or reach.max() > high:
        axes.text(1, 1.01, "clipped", transform=axes.transAxes, ha="right", va="bottom", fontsize=8.5, color=paper.SOFT)


def _draw_difference(axes: Any, difference: np.ndarray, sampling_rate: float, tall: float) -> None:
    """The difference on axes `tall` millimetres high, with how much that magnifies it."""
    bound = max(1.0, float(np.abs(difference).max())) * 1.15
    magnified = tall / (2 * bound) / (paper.GAIN / 1000)
    axes.axhline(0, color="#d5d8dc", linewidth=0.8)
    axes.plot(np.arange(len(difference)) / sampling_rate, difference, color=COLOURS[2], linewidth=0.9)
    axes.set(xlim=(0, len(difference) / sampling_rate), ylim=(-bound, bound))
    axes.set_ylabel("µV", fontsize=9)
    axes.grid(color=GRID, linewidth=0.8)
    title = f"attacked minus original, drawn {_two_digits(magnified)} times the scale above"
    axes.set_title(title, fontsize=9, loc="left", pad=4)
    axes.tick_params(labelsize=8, length=2)
    plain(axes)


def _draw_overview(axes: Any, difference: np.ndarray, sampling_rate: float, excerpt: tuple[float, float]) -> None:
    bound = max(1.0, float(np.abs(difference).max())) * 1.1
    axes.axvspan(*excerpt, color=paper.MINOR, linewidth=0)
    axes.plot(np.arange(len(difference)) / sampling_rate, difference, color=COLOURS[2], linewidth=0.4)
    axes.set(xlim=(0, len(difference) / sampling_rate), ylim=(-bound, bound))
    axes.set_xlabel("seconds", fontsize=9)
    axes.set_ylabel("µV", fontsize=9)
    size = f"L2 {np.linalg.norm(difference):,.0f} µV, L-inf {np.abs(difference).max():,.0f} µV"
    axes.set_title(f"the difference over the whole record: {size}", fontsize=9, loc="left", pad=4)
    axes.tick_params(labelsize=8, length=2)
    plain(axes)


def _seconds(axes: Any, start: float, shown: float) -> None:
    """Marks at whole seconds of the record, on axes whose zero is the excerpt's begin."""
    whole = np.arange(np.ceil(start), start + shown + 1e-9)
    axes.set_xticks(whole - start, [f"{second:g}" for second in whole])
    axes.set_xlabel("seconds", fontsize=9, labelpad=1)


def _class(label: str) -> str:
    return f"{CLASS_NAMES[label]} ({label})" if label in CLASS_NAMES else label


def _two_digits(value: float) -> str:
    return f"{float(f'{value:.2g}'):,g}"
