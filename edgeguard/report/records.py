"""A picture of records as a cardiologist sees them: on ECG paper, 25 mm/s and 10 mm/mV."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.record import CLASS_NAMES, Record
from edgeguard.report.paper import GAIN, MM, SOFT, SPEED, TRACE, limits, rule
from edgeguard.runtime.files import write_bytes

_MARGIN, _CAPTION = 6.0, 7.0
"""Millimetres round the page, and above each strip."""


def draw_records(records: Sequence[Record], path: Path, *, seconds: float = 10.0) -> None:
    """Write a PNG with one strip a record, true to scale: its middle `seconds` on a grid of 0.2 s by 0.5 mV.

    Samples beyond 4 mV of one strip are clipped at its edge, and the caption says so.
    Raises InputError when the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    traces = [_middle(record.ecg, round(seconds * record.sampling_rate)) / 1000 for record in records]
    spans = [limits(trace) for trace in traces]
    width = seconds * SPEED + 2 * _MARGIN
    heights = [(high - low) * GAIN for low, high in spans]
    page = sum(heights) + _CAPTION * len(records) + _MARGIN
    figure = Figure(figsize=(width * MM, page * MM), dpi=150, facecolor="white")
    FigureCanvasAgg(figure)
    top = page
    for record, trace, (low, high), height in zip(records, traces, spans, heights, strict=True):
        top -= _CAPTION
        axes = figure.add_axes((_MARGIN / width, (top - height) / page, 1 - 2 * _MARGIN / width, height / page))
        rule(axes, seconds, low, high)
        axes.plot(np.arange(len(trace)) / record.sampling_rate, trace, color=TRACE, linewidth=0.9, zorder=3)
        _caption(axes, record, height, clipped=bool((trace < low).any() or (trace > high).any()))
        top -= height
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(path, image.getvalue())


def _middle(ecg: np.ndarray, samples: int) -> np.ndarray:
    """The middle of a recording: its first seconds show the electrode settling."""
    start = max(0, (len(ecg) - samples) // 2)
    return ecg[start : start + samples]


def _caption(axes: Any, record: Record, height: float, *, clipped: bool) -> None:
    """Class to the left, record and scale to the right, 1 mm above a strip of `height` mm."""
    label = record.label or ""
    name = f"{CLASS_NAMES[label]} ({label})" if label in CLASS_NAMES else "unlabelled"
    facts = [record.name, f"{SPEED:g} mm/s", f"{GAIN:g} mm/mV", *["clipped"] * clipped]
    at = {"y": 1 + 1 / height, "transform": axes.transAxes, "fontsize": 9, "va": "bottom"}
    axes.text(x=0, s=name, weight="bold", **at)
    axes.text(x=1, s="   ".join(facts), ha="right", color=SOFT, **at)
