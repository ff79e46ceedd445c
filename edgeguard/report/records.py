"""A picture of records as a cardiologist sees them: on ECG paper, 25 mm/s and 10 mm/mV."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.record import CLASS_NAMES, Record
from edgeguard.runtime.files import write_bytes

_MM = 1 / 25.4
_SPEED, _GAIN = 25.0, 10.0
"""Millimetres a second, millimetres a millivolt."""
_MARGIN, _CAPTION = 6.0, 7.0
"""Millimetres round the page, and above each strip."""
_HEIGHT = (1.5, 4.0)
"""Least and most millivolts that one strip shows."""
_MINOR, _MAJOR, _TRACE = "#f6dcd8", "#e9b3ab", "#1c1c28"


def draw_records(records: Sequence[Record], path: Path, *, seconds: float = 10.0) -> None:
    """Write a PNG with one strip a record, true to scale: its middle `seconds` on a grid of 0.2 s by 0.5 mV.

    Samples beyond 4 mV of one strip are clipped at its edge, and the caption says so.
    Raises InputError when the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    traces = [_middle(record.ecg, round(seconds * record.sampling_rate)) / 1000 for record in records]
    limits = [_limits(trace) for trace in traces]
    width = seconds * _SPEED + 2 * _MARGIN
    heights = [(high - low) * _GAIN for low, high in limits]
    page = sum(heights) + _CAPTION * len(records) + _MARGIN
    figure = Figure(figsize=(width * _MM, page * _MM), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    top = page
    for record, trace, (low, high), height in zip(records, traces, limits, heights, strict=True):
        top -= _CAPTION
        axes = figure.add_axes(
            (_MARGIN / width, (top - height) / page, 1 - 2 * _MARGIN / width, height / page)
        )
        _paper(axes, seconds, low, high)
        axes.plot(np.arange(len(trace)) / record.sampling_rate, trace, color=_TRACE, linewidth=0.9, zorder=3)
        _caption(axes, record, height, clipped=bool((trace < low).any() or (trace > high).any()))
        top -= height
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(path, image.getvalue())


def _middle(ecg: np.ndarray, samples: int) -> np.ndarray:
    """The middle of a recording: its first seconds show the electrode settling."""
    start = max(0, (len(ecg) - samples) // 2)
    return ecg[start : start + samples]


def _limits(trace: np.ndarray) -> tuple[float, float]:
    """Lowest and highest millivolts of a strip: whole squares of 0.5 mV around the trace, within _HEIGHT."""
    low, high = np.floor(2 * trace.min()) / 2, np.ceil(2 * trace.max()) / 2
    least, most = _HEIGHT
    if high - low > most:
        middle = np.round(2 * np.median(trace)) / 2
        low, high = middle - most / 2, middle + most / 2
    while high - low < least:
        low, high = (low - 0.5, high) if high + low > 0 else (low, high + 0.5)
    return float(low), float(high)


def _paper(axes: Any, seconds: float, low: float, high: float) -> None:
    axes.set(xlim=(0, seconds), ylim=(low, high))
    for step, colour, weight in ((0.04, _MINOR, 0.4), (0.2, _MAJOR, 0.7)):
        axes.vlines(
            np.arange(0, seconds + step / 2, step), low, high, color=colour, linewidth=weight, zorder=1
        )
        rise = step * _SPEED / _GAIN
        axes.hlines(
            np.arange(low, high + rise / 2, rise), 0, seconds, color=colour, linewidth=weight, zorder=1
        )
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=_MAJOR, linewidth=0.7)


def _caption(axes: Any, record: Record, height: float, *, clipped: bool) -> None:
    """Class to the left, record and scale to the right, 1 mm above a strip of `height` mm."""
    label = record.label or ""
    name = f"{CLASS_NAMES[label]} ({label})" if label in CLASS_NAMES else "unlabelled"
    facts = [record.name, f"{_SPEED:g} mm/s", f"{_GAIN:g} mm/mV", *["clipped"] * clipped]
    at = {"y": 1 + 1 / height, "transform": axes.transAxes, "fontsize": 9, "va": "bottom"}
    axes.text(x=0, s=name, weight="bold", **at)
    axes.text(x=1, s="   ".join(facts), ha="right", color="#606068", **at)
