"""The parts of a chart: axes, lines, bands, markers, whiskers and bars, in pixels, with classes for the style sheet.

A series is named `s1` to `s5`; its colour, dashes and marker go together, so that none is told by colour alone.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edgeguard.report.page import svg

SERIES = ("s1", "s2", "s3", "s4", "s5")
WIDTH = 440
"""Of a chart that shares its row with another."""


@dataclass(frozen=True)
class Frame:
    """Where the axes of a chart lie, in pixels of its view box."""

    left: float
    top: float
    right: float
    bottom: float


def frame(height: float, *, left: float = 52, top: float = 12, right: float = 14, bottom: float = 42) -> Frame:
    """The frame of a chart WIDTH wide: the arguments are its margins."""
    return Frame(left, top, WIDTH - right, height - bottom)


Ticks = Sequence[tuple[float, str]]
"""(place in pixels, what stands there)."""


def across(frame: Frame, ticks: Ticks, title: str, *, grid: bool = False) -> Markup:
    """The axis below."""
    parts = [_rule(frame.left, frame.bottom, frame.right, frame.bottom, "axis")]
    for x, text in ticks:
        parts.append(_rule(x, frame.top if grid else frame.bottom, x, frame.bottom + 4, "grid" if grid else "axis"))
        parts.append(text_at(x, frame.bottom + 17, text, anchor="middle"))
    middle = (frame.left + frame.right) / 2
    parts.append(text_at(middle, frame.bottom + 35, title, anchor="middle", kind="title"))
    return svg.group(*parts)


def upwards(frame: Frame, ticks: Ticks, title: str) -> Markup:
    """The axis on the left, with a line across at every tick; its title stands upright."""
    parts = []
    for y, text in ticks:
        parts.append(_rule(frame.left, y, frame.right, y, "grid"))
        parts.append(text_at(frame.left - 7, y + 4, text, anchor="end"))
    x, y = 12, (frame.top + frame.bottom) / 2
    parts.append(text_at(x, y, title, anchor="middle", kind="title", transform=f"rotate(-90 {x} {svg.short(y)})"))
    return svg.group(*parts)


def text_at(
    x: float, y: float, text: str, *, anchor: str | None = None, kind: str | None = None, transform: str | None = None
) -> Markup:
    """Words at a place."""
    return svg.element("text", text, x=x, y=y, text_anchor=anchor, class_=kind, transform=transform)


def line(xs: Sequence[float], ys: Sequence[float], series: str, *, main: bool = False) -> Markup:
    """A line through the points, broken where one is not finite; `main` is what the page is about."""
    return svg.element("path", d=svg.polyline(xs, ys), class_=f"line {series}{' main' if main else ''}")


def band(xs: Sequence[float], lows: Sequence[float], highs: Sequence[float], series: str) -> Markup:
    """An interval along a line."""
    return svg.element("path", d=svg.area(xs, lows, highs), class_=f"band {series}")


def marker(x: float, y: float, series: str, says: str = "", *, kind: str = "", size: float = 1.0) -> Markup:
    """A point, whose figure is told where the pointer rests; nothing where it is not finite.

    Args:
        kind: `hollow`, or `ring` for one that lets see what lies below it; filled by default.
        size: as a multiple of the common one.
    """
    if not (math.isfinite(x) and math.isfinite(y)):
        return Markup("")
    title = [svg.element("title", says)] if says else []
    return svg.element("path", *title, d=_SHAPES[series](x, y, size), class_=f"marker {series} {kind}".rstrip())


def whisker(low: float, high: float, y: float, series: str) -> Markup:
    """An interval from left to right, with its ends."""
    ends = "".join(f"M{svg.short(x)} {svg.short(y - 3)}v6" for x in (low, high))
    return svg.element(
        "path", d=f"M{svg.short(low)} {svg.short(y)}H{svg.short(high)}{ends}", class_=f"whisker {series}"
    )


def upright(x: float, low: float, high: float, series: str) -> Markup:
    """An interval from bottom to top, with its ends."""
    ends = "".join(f"M{svg.short(x - 3)} {svg.short(y)}h6" for y in (low, high))
    return svg.element(
        "path", d=f"M{svg.short(x)} {svg.short(low)}V{svg.short(high)}{ends}", class_=f"whisker {series}"
    )


def bar(x: float, y: float, width: float, height: float, kind: str, says: str = "") -> Markup:
    """A rectangle; never so narrow that it is lost."""
    title = [svg.element("title", says)] if says else []
    return svg.element("rect", *title, x=x, y=y, width=max(width, 0.75), height=height, class_=kind)


def mark_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line of a kind: `zero`, `limit`."""
    return _rule(x1, y1, x2, y2, kind)


def swatch(series: str, *, main: bool = False, kind: str = "", size: float = 1.0, lined: bool = True) -> Markup:
    """A piece of a series for its legend."""
    parts = [line((1, 33), (7, 7), series, main=main)] if lined else []
    return svg.drawing(34, 14, *parts, marker(17, 7, series, kind=kind, size=size), class_="swatch")


def block(kind: str) -> Markup:
    """A piece of an area for its legend."""
    return svg.drawing(34, 14, bar(3, 2, 28, 10, kind), class_="swatch")


def stroke(kind: str) -> Markup:
    """A piece of a line for its legend."""
    return svg.drawing(34, 14, svg.element("path", d="M1 7H33", class_=kind), class_="swatch")


def bars(rows: Sequence[tuple[str, float, str]], *, label: str, left: float = 120) -> Markup:
    """A bar a row, from zero on one scale: (name, figure, how it is written)."""
    height, right = 24, 96
    most = max((value for _, value, _ in rows), default=0) or 1
    parts = []
    for row, (name, value, text) in enumerate(rows):
        y, length = row * height + 4, value / most * (WIDTH - left - right)
        parts.append(text_at(left - 8, y + 12, name, anchor="end"))
        parts.append(bar(left, y, length, 16, "bar"))
        parts.append(text_at(left + length + 7, y + 12, text, kind="value"))
    return svg.drawing(WIDTH, len(rows) * height + 4, *parts, label=label, class_="chart")


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return svg.element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=kind)


def _polygon(*corners: tuple[float, float]) -> Callable[[float, float, float], str]:
    return lambda x, y, size: (
        svg.polyline(*zip(*((x + size * dx, y + size * dy) for dx, dy in corners), strict=True)) + "Z"
    )


def _circle(x: float, y: float, size: float) -> str:
    r, d = svg.short(3.6 * size), svg.short(7.2 * size)
    return f"M{svg.short(x - 3.6 * size)} {svg.short(y)}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0-{d} 0Z"


_SHAPES = {
    "s1": _circle,
    "s2": _polygon((-3.4, -3.4), (3.4, -3.4), (3.4, 3.4), (-3.4, 3.4)),
    "s3": _polygon((0, -5), (5, 0), (0, 5), (-5, 0)),
    "s4": _polygon((0, -4.6), (4.4, 3.4), (-4.4, 3.4)),
    "s5": _polygon((0, 4.6), (4.4, -3.4), (-4.4, -3.4)),
}
