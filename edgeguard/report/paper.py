"""ECG paper: 25 mm/s and 10 mm/mV, as a cardiologist reads it."""

from typing import Any

import numpy as np

MM = 1 / 25.4
"""Inches."""
SPEED, GAIN = 25.0, 10.0
"""Millimetres a second, millimetres a millivolt."""
MINOR, MAJOR, TRACE, SOFT = "#f6dcd8", "#e9b3ab", "#1c1c28", "#606068"
_HEIGHT = (1.5, 4.0)
"""Least and most millivolts that one strip shows."""


def limits(millivolts: np.ndarray) -> tuple[float, float]:
    """Lowest and highest millivolts of a strip: 1.5 to 4 mV of whole squares of 0.5 mV around the trace."""
    low, high = np.floor(2 * millivolts.min()) / 2, np.ceil(2 * millivolts.max()) / 2
    least, most = _HEIGHT
    if high - low > most:
        middle = np.round(2 * np.median(millivolts)) / 2
        low, high = middle - most / 2, middle + most / 2
    while high - low < least:
        low, high = (low - 0.5, high) if high + low > 0 else (low, high + 0.5)
    return float(low), float(high)


def rule(axes: Any, seconds: float, low: float, high: float) -> None:
    """Squares of 1 mm and 5 mm on axes that are `seconds` wide, from `low` to `high` millivolts."""
    for step, colour, weight in ((0.04, MINOR, 0.4), (0.2, MAJOR, 0.7)):
        rise = step * SPEED / GAIN
        axes.vlines(np.arange(0, seconds + step / 2, step), low, high, color=colour, linewidth=weight, zorder=1)
        axes.hlines(np.arange(low, high + rise / 2, rise), 0, seconds, color=colour, linewidth=weight, zorder=1)
    axes.set(xlim=(0, seconds), ylim=(low, high), xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=MAJOR, linewidth=0.7)
