"""Drawings as text: elements with escaped attributes, rounded coordinates, and paths."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

Number = float | int


def short(value: Number) -> str:
    """A coordinate to a hundredth, with nothing to spare: `1.5`, `2`, `-.25`."""
    text = f"{float(value):.2f}".rstrip("0").rstrip(".")
    text = text.replace("0.", ".", 1) if text.startswith(("0.", "-0.")) else text
    return "0" if text in ("-0", "") else text


def element(name: str, *content: Any, **attributes: Any) -> Markup:
    """An element; attribute names take `_` for `-`, those that are None are left out, numbers are rounded.

    Content and values are escaped unless they are Markup.
    """
    given = ((key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items() if value is not None)
    written = Markup("").join(
        Markup(' {}="{}"').format(key, short(value) if isinstance(value, float | int) else value)
        for key, value in given
    )
    inside = Markup("").join(content)
    return Markup("<{0}{1}>{2}</{0}>" if inside else "<{0}{1}/>").format(Markup(name), written, inside)


def group(*content: Any, **attributes: Any) -> Markup:
    """A `g` of elements."""
    return element("g", Markup("").join(content), **attributes)


def drawing(
    width: Number, height: Number, *content: Any, unit: str = "", label: str | None = None, **more: Any
) -> Markup:
    """A whole drawing.

    Args:
        width, height: of the view box.
        unit: of the outer size, `mm` for one that is true to scale; without it the drawing fills its place.
        label: what it says, in words; None for one that is spoken of elsewhere, and hidden from screen readers then.
    """
    outer = {"width": f"{short(width)}{unit}", "height": f"{short(height)}{unit}"} if unit else {}
    spoken = {"aria_hidden": "true"} if label is None else {"role": "img", "aria_label": label}
    return element("svg", *content, viewBox=f"0 0 {short(width)} {short(height)}", **outer, **spoken, **more)


def polyline(xs: Iterable[Number], ys: Iterable[Number]) -> str:
    """Path data through the points; what is not finite parts the line."""
    data, pen = [], "M"
    for x, y in zip(xs, ys, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            data.append(f"{pen}{short(x)} {short(y)}")
            pen = "L"
        else:
            pen = "M"
    return "".join(data)


def area(xs: Sequence[Number], lows: Sequence[Number], highs: Sequence[Number]) -> str:
    """Path data of the band between two lines over the same xs; points that are not finite are left out."""
    kept = [p for p in zip(xs, lows, highs, strict=True) if all(math.isfinite(value) for value in p)]
    if not kept:
        return ""
    ahead = [(x, high) for x, _, high in kept]
    back = [(x, low) for x, low, _ in reversed(kept)]
    return polyline(*zip(*ahead, *back, strict=True)) + "Z"


def compact_path(xs: np.ndarray, ys: np.ndarray) -> str:
    """Path data through whole-numbered points, each as a step from the one before: the shortest text of a line."""
    if len(xs) == 0:
        return ""
    points = np.stack([xs, ys], axis=1).astype(np.int64)
    steps = "".join(_pair(dx, dy) for dx, dy in np.diff(points, axis=0).tolist() if dx or dy)
    return f"M{points[0, 0]} {points[0, 1]}" + (f"l{steps.strip()}" if steps else "")


def _pair(dx: int, dy: int) -> str:
    """A sign parts two numbers as well as a space does."""
    return "".join(str(value) if value < 0 else f" {value}" for value in (dx, dy))
