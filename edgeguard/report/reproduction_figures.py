"""Figures 1 and 3 to 6 of the ADT paper, drawn from what was measured here."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.record import CLASS_NAMES
from edgeguard.evaluation.reproduction.curves import Segment
from edgeguard.evaluation.reproduction.scope import ALPHA, EPS, SMOOTH_STEPS, STEPS
from edgeguard.report import paper
from edgeguard.report.canvas import GRID, blank, plain
from edgeguard.runtime.files import write_bytes

COLOURS = {
    "none": "#797d7f",
    "jr": "#b9770e",
    "nsr": "#117864",
    "dd": "#6c3483",
    "at": "#2e86c1",
    "init-adt": "#d35400",
    "dist-adt": "#1b4f72",
    "adt": "#c0392b",
}
_ATTACKED, _SMOOTH = "#c0392b", "#1b4f72"
_ZOOM = 0.7
"""Seconds of the segment that is drawn large."""
_STRIP = 7.0
"""Seconds around it."""
_PANELS = (("accuracy", "accuracy"), ("f1", "F1, mean of four classes"))


def draw_segment(segment: Segment, sampling_rate: float, folder: Path) -> list[Path]:
    """Write Figure 1: a strip, its calmest part large before and after both attacks, and what each added.

    The calmest part, since ten microvolts are a tenth of a millimetre on ECG paper.
    """
    start, count = _calmest(segment.original, round(_ZOOM * sampling_rate))
    figure = blank(9.6, 6.6)
    grid = figure.add_gridspec(3, 3, height_ratios=(0.75, 1.35, 1))
    _draw_strip(figure.add_subplot(grid[0, :]), segment, sampling_rate, start, count)
    time = np.arange(count) / sampling_rate * 1000
    signals = (segment.original, segment.pgd, segment.sap)
    names = ("original", f"PGD, {EPS:g} µV, {STEPS} steps", f"SAP, {EPS:g} µV, {STEPS} + {SMOOTH_STEPS} steps")
    colours = (paper.TRACE, _ATTACKED, _SMOOTH)
    parts = [signal[start : start + count] for signal in signals]
    low, high = min(part.min() for part in parts), max(part.max() for part in parts)
    margin = 0.06 * (high - low)
    for place, (part, name, colour, said) in enumerate(zip(parts, names, colours, segment.said, strict=True)):
        axes = figure.add_subplot(grid[1, place])
        if place:
            axes.plot(time, parts[0], color="#b3b6b7", linewidth=1.0)
        axes.plot(time, part, color=colour, linewidth=1.2)
        axes.set(xlim=(0, time[-1]), ylim=(low - margin, high + margin))
        axes.set_title(f"{name}\nread as {_called(said)}", fontsize=9.5, color=colour)
        axes.set_ylabel("µV" if place == 0 else "")
        _gridded(axes)
        if place:
            _draw_added(figure.add_subplot(grid[2, place]), time, part - parts[0], colour)
    _draw_words(figure.add_subplot(grid[2, 0]), segment)
    return _save(figure, folder / "figure1")


def draw_lengths(number: int, data: dict[str, Any], folder: Path) -> list[Path]:
    """Write Figure 3 or 4: accuracy and F1 under SAP by t'; t' = 0 is PGD, and a ring is PGD's end smoothed once."""
    figure, panels = _two_panels()
    for axes, (metric, label) in zip(panels, _PANELS, strict=True):
        for place, (name, line) in enumerate(data["lines"].items()):
            shift = _dodge(place, len(data["lines"]), 1.6)
            _draw_line(axes, line, metric, COLOURS[name], shift=shift)
            once = data["smoothed_once"][name]
            ring: dict[str, Any] = {"marker": "o", "markersize": 5.5, "markerfacecolor": "none", "clip_on": False}
            axes.plot([shift], once[metric]["value"], color=COLOURS[name], linestyle="none", **ring, zorder=5)
        axes.set(
            xlabel="t', steps on the smoothed perturbation",
            ylabel=label,
            xticks=next(iter(data["lines"].values()))["x"],
        )
        axes.set_xlim(-1.5, 41)
        _name_lines(axes, {name: line[metric]["value"][-1] for name, line in data["lines"].items()})
    figure.suptitle(
        f"Figure {number}: SAP by its length, situation {_situation(number)}; {_count(data)}\n"
        f"eps {EPS:g} µV, steps of {ALPHA:g} µV, t = {STEPS}; t' = 0 is PGD, a ring its end smoothed once",
        fontsize=10,
    )
    return _save(figure, folder / f"figure{number}")


def draw_radii(number: int, data: dict[str, Any], folder: Path) -> list[Path]:
    """Write Figure 5 or 6: accuracy and F1 under PGD by eps, with the paper's step, and dashed with a larger one."""
    figure, panels = _two_panels()
    for axes, (metric, label) in zip(panels, _PANELS, strict=True):
        for place, (name, line) in enumerate(data["lines"].items()):
            shift = _dodge(place, len(data["lines"]), 0.8)
            _draw_line(axes, line, metric, COLOURS[name], shift=shift)
            larger = data["larger_step"][name]
            x = np.asarray(larger["x"]) + shift
            axes.plot(x, larger[metric]["value"], color=COLOURS[name], linewidth=1.1, linestyle=(0, (4, 2)))
        axes.axvspan(STEPS * ALPHA - 0.5, 25.5, color="#f4f6f7", zorder=0)
        axes.set(xlabel="eps, µV", ylabel=label, xticks=next(iter(data["lines"].values()))["x"], xlim=(4.4, 25.5))
        _name_lines(axes, {name: line[metric]["value"][-1] for name, line in data["lines"].items()})
    figure.suptitle(
        f"Figure {number}: PGD by eps, situation {_situation(number)}, {STEPS} steps; {_count(data)}\n"
        f"solid: steps of {ALPHA:g} µV, which reach {STEPS * ALPHA:g} µV, so that eps {STEPS * ALPHA:g} and 25 are one "
        f"attack (shaded); dashed: steps of max({ALPHA:g}, 2.5 eps / {STEPS})",
        fontsize=10,
    )
    return _save(figure, folder / f"figure{number}")


def _calmest(ecg: np.ndarray, count: int) -> tuple[int, int]:
    """(first sample, samples) of the part with the least range that is no flat line."""
    count = min(count, len(ecg))
    windows = np.lib.stride_tricks.sliding_window_view(ecg, count)
    spread = windows.max(1) - windows.min(1)
    alive = np.where(spread >= 4 * EPS, spread, np.inf)
    return int(alive.argmin()), count


def _draw_strip(axes: Any, segment: Segment, sampling_rate: float, start: int, count: int) -> None:
    shown = min(round(_STRIP * sampling_rate), len(segment.original))
    first = int(np.clip(start + (count - shown) // 2, 0, len(segment.original) - shown))
    millivolts = segment.original[first : first + shown] / 1000
    low, high = paper.limits(millivolts)
    paper.rule(axes, shown / sampling_rate, low, high)
    axes.plot(np.arange(shown) / sampling_rate, millivolts, color=paper.TRACE, linewidth=1.0, zorder=3)
    left = (start - first) / sampling_rate
    axes.axvspan(left, left + count / sampling_rate, color="#f5b041", alpha=0.35, zorder=2)
    axes.set_aspect(paper.GAIN / paper.SPEED, adjustable="box")
    axes.set_title(
        f"Figure 1: record {segment.name} on ECG paper, squares of 0.2 s and 0.5 mV; beneath, the shaded part large",
        fontsize=10,
    )


def _draw_added(axes: Any, time: np.ndarray, added: np.ndarray, colour: str) -> None:
    for bound in (-EPS, EPS):
        axes.axhline(bound, color=paper.SOFT, linewidth=0.9, linestyle=(0, (3, 3)))
    axes.plot(time, added, color=colour, linewidth=1.2)
    axes.set(xlim=(0, time[-1]), ylim=(-1.25 * EPS, 1.25 * EPS), xlabel="milliseconds")
    axes.set_title("added, µV; dashed: ± eps", fontsize=9, color=paper.SOFT)
    _gridded(axes)


def _draw_words(axes: Any, segment: Segment) -> None:
    """What each attack added over the whole record."""
    axes.axis("off")
    rows = [("", "rms", "rms of steps")]
    for name, signal in (("PGD", segment.pgd), ("SAP", segment.sap)):
        added = np.subtract(signal, segment.original, dtype=np.float64)
        rows.append((name, f"{_rms(added):.1f} µV", f"{_rms(np.diff(added)):.1f} µV"))
    rows = [("added to the whole record", "", ""), *rows]
    for line, row in enumerate(rows):
        for place, cell in zip((0.0, 0.25, 0.55), row, strict=True):
            axes.text(place, 0.95 - 0.17 * line, cell, fontsize=9, va="top", color=paper.SOFT, transform=axes.transAxes)


def _two_panels() -> tuple[Any, Sequence[Any]]:
    figure = blank(10.4, 4.6)
    return figure, figure.subplots(1, 2)


def _draw_line(axes: Any, line: dict[str, Any], metric: str, colour: str, *, shift: float) -> None:
    """Values joined, with their intervals; a little to one side, so that none hides another."""
    x, about = np.asarray(line["x"]) + shift, line[metric]
    axes.vlines(x, about["low"], about["high"], color=colour, linewidth=0.9, alpha=0.55, clip_on=False)
    axes.plot(x, about["value"], color=colour, linewidth=1.7, marker="o", markersize=3.2, clip_on=False, zorder=4)


def _name_lines(axes: Any, ends: Mapping[str, float]) -> None:
    """Each line's name at its right end, moved apart where they would overlap."""
    axes.set_ylim(0, 1)
    names = sorted(ends, key=lambda name: ends[name])
    places = spread_apart([ends[name] for name in names], least=0.047)
    left, right = axes.get_xlim()
    first, last, text = (right + share * (right - left) for share in (0.005, 0.055, 0.065))
    for name, place in zip(names, places, strict=True):
        axes.plot([first, last], [ends[name], place], color=COLOURS[name], linewidth=0.7, clip_on=False)
        axes.text(text, place, name, color=COLOURS[name], fontsize=8.5, va="center")
    axes.set_xlim(left, right)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    plain(axes)


def spread_apart(values: Sequence[float], *, least: float) -> np.ndarray:
    """Rising values moved as little as can be, in squares, to lie `least` apart, from 0 to 1 where they fit."""
    from scipy.optimize import isotonic_regression

    steps = least * np.arange(len(values))
    within = np.clip(np.asarray(values) - steps, 0, max(1 - steps[-1], 0))
    return np.asarray(isotonic_regression(within).x + steps)


def _dodge(place: int, count: int, width: float) -> float:
    return width * (place - (count - 1) / 2) / max(count - 1, 1)


def _gridded(axes: Any) -> None:
    axes.grid(color=GRID, linewidth=0.8)
    plain(axes)


def _situation(number: int) -> str:
    return "I (crafted on the undefended network)" if number in (3, 5) else "II (crafted on the network itself)"


def _count(data: dict[str, Any]) -> str:
    seeds = data["seeds"]
    return f"n = {data['n']} records, {seeds} seed{'s' if seeds > 1 else ''}, 95 % intervals"


def _called(label: str) -> str:
    return CLASS_NAMES.get(label, label)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _save(figure: Any, stem: Path) -> list[Path]:
    """The figure as PNG and SVG. Raises InputError when a file cannot be written."""
    written = []
    for form in ("png", "svg"):
        image = io.BytesIO()
        # Without a date, so that equal figures are equal files.
        figure.savefig(image, format=form, metadata={"Date": None} if form == "svg" else None)
        path = stem.with_name(f"{stem.name}.{form}")
        write_bytes(path, image.getvalue())
        written.append(path)
    return written
