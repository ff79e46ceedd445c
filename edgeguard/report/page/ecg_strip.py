"""An attacked record on ECG paper: 25 mm/s and 10 mm/mV, true to scale on screen and on paper.

A strip is cut into panels of five seconds, which stand side by side where there is room and below each other where
there is not. Under the paper of each lie the perturbation, magnified, and the weight of every sample in the decision.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from markupsafe import Markup

from edgeguard.evaluation.audit.result import Picture
from edgeguard.report.page import svg, words
from edgeguard.report.page.decimate import column_means, extremes
from edgeguard.report.paper import GAIN, SPEED, limits

PANEL_SECONDS = 5.0
GUTTER = 15.0
"""Millimetres at the left of the first panel, for the calibration pulse and the names of the lanes."""
_GAP, _PERTURBATION, _WEIGHT, _TIME = 2.5, 16.0, 6.5, 5.0
"""Millimetres: between paper and lanes, of the lanes, and of the seconds below."""
_UNITS = 50
"""Whole-numbered units of a path to a millimetre, 2 microvolts each on the paper."""
FINE, COARSE = 4, 2
"""Columns to a millimetre, of which least and most are drawn: for a part that is looked into, and for whole records."""
_WEIGHTS = 2
"""Bars of weight to a millimetre."""


@dataclass(frozen=True)
class Lanes:
    """What all panels of a strip share.

    Attributes:
        low, high: millivolts of the paper.
        bound: microvolts at the edge of the perturbation's lane.
        eps: microvolts, dashed in that lane.
        heaviest: the largest mean weight of a bar, before or after; None where weights are not known.
    """

    low: float
    high: float
    bound: float
    eps: float
    heaviest: float | None

    @property
    def paper(self) -> float:
        """Millimetres of the paper's height."""
        return (self.high - self.low) * GAIN

    @property
    def height(self) -> float:
        """Millimetres of all lanes and of the seconds below."""
        weights = 0.0 if self.heaviest is None else 2 * (_WEIGHT + 1)
        return self.paper + _GAP + _PERTURBATION + weights + _TIME

    @property
    def magnification(self) -> float:
        """Of the perturbation's lane against the paper."""
        return (_PERTURBATION / 2 / self.bound) / (GAIN / 1000)


@dataclass(frozen=True)
class _Lane:
    """A part of a panel with a scale of its own: `low` to `high` over `height` millimetres from `top` on."""

    top: float
    width: float
    height: float
    low: float
    high: float
    columns: int

    def ground(self) -> Markup:
        return svg.element("rect", y=self.top, width=self.width, height=self.height, class_="lane")

    def trace(self, values: np.ndarray, kind: str) -> Markup:
        """A line, cut off at the lane's edges."""
        places = extremes(values, max(1, round(self.width * self.columns)))
        xs = np.rint(places / len(values) * self.width * _UNITS)
        ys = np.rint((self.high - values[places]) / (self.high - self.low) * self.height * _UNITS)
        path = svg.element("path", d=svg.compact_path(xs, ys), class_=kind)
        return self._within(path, self.width * _UNITS, self.height * _UNITS)

    def weights(self, bars: np.ndarray, kind: str) -> Markup:
        """Bars side by side, not below zero."""
        foot = round(self.height * 10)
        heights = np.rint(bars / self.high * foot).astype(int) if self.high > 0 else np.zeros(len(bars), int)
        corners = "".join(f"V{foot - height}h{len(list(run))}" for height, run in groupby(heights.tolist()))
        return self._within(svg.element("path", d=f"M0 {foot}{corners}V{foot}Z", class_=kind), len(bars), foot)

    def _within(self, path: Markup, width: float, height: float) -> Markup:
        box = f"0 0 {svg.short(width)} {svg.short(height)}"
        place = {"y": self.top, "width": self.width, "height": self.height}
        return svg.element("svg", path, viewBox=box, preserveAspectRatio="none", **place)


def strip(picture: Picture, start: int, count: int, *, columns: int = FINE) -> Markup:
    """`count` samples from the sample `start` of the window on, all of them real; `columns` of a millimetre."""
    lanes = lanes_of(picture, start, count)
    step = round(PANEL_SECONDS * picture.sampling_rate)
    panels = [
        _panel(picture, lanes, at, min(step, start + count - at), columns) for at in range(start, start + count, step)
    ]
    return svg.element(
        "div", _gutter(lanes), *panels, class_="strip", role="img", aria_label=_says(picture, start, count)
    )


def lanes_of(picture: Picture, start: int, count: int) -> Lanes:
    """The lanes of a strip, wide enough for what it shows."""
    part = slice(start, start + count)
    both = np.concatenate([picture.ecg[part], picture.adversarial[part]])
    low, high = limits(both / 1000)
    largest = float(np.abs(_difference(picture)[part]).max())
    bound = 1.25 * max(picture.eps_uv, largest, 1.0)
    weights = [_bars(weight[part], picture.sampling_rate) for weight in _weights(picture)]
    heaviest = max(float(bars.max()) for bars in weights) if weights else None
    return Lanes(low, high, bound, picture.eps_uv, heaviest)


def most_telling(picture: Picture, seconds: float) -> tuple[int, int]:
    """(start, count) of the part of the record that long in which the perturbation weighs most, from a whole square on.

    A sample counts by its perturbation times its weight in the attacked decision, where that is known.
    """
    rate, length = picture.sampling_rate, picture.length
    count = min(round(seconds * rate), length)
    real = slice(picture.left, picture.left + length)
    harm = np.abs(_difference(picture)[real])
    if picture.attacked_saliency is not None:
        harm = harm * picture.attacked_saliency[real]
    sums = np.concatenate([[0.0], np.cumsum(harm)])
    starts = np.unique(np.rint(np.arange(0, length - count + 1, 0.2 * rate)).astype(int))
    starts = starts[starts + count <= length]
    best = int(starts[np.argmax(sums[starts + count] - sums[starts])])
    return picture.left + best, count


def _panel(picture: Picture, lanes: Lanes, start: int, count: int, columns: int) -> Markup:
    part = slice(start, start + count)
    width = count / picture.sampling_rate * SPEED
    top = lanes.paper + _GAP
    middle = top + _PERTURBATION / 2
    rise = lanes.eps / lanes.bound * _PERTURBATION / 2
    paper = _Lane(0, width, lanes.paper, lanes.low, lanes.high, columns)
    beneath = _Lane(top, width, _PERTURBATION, -lanes.bound, lanes.bound, columns)
    parts = [
        _grid(width, lanes.paper),
        paper.trace(picture.adversarial[part] / 1000, "trace after"),
        paper.trace(picture.ecg[part] / 1000, "trace before"),
        beneath.ground(),
        *(svg.element("line", x1=0, y1=y, x2=width, y2=y, class_="eps") for y in (middle - rise, middle + rise)),
        svg.element("line", x1=0, y1=middle, x2=width, y2=middle, class_="zero"),
        beneath.trace(_difference(picture)[part], "trace difference"),
    ]
    y = top + _PERTURBATION + 1
    if lanes.heaviest is not None:
        for weight, kind in zip(_weights(picture), ("weight before", "weight after"), strict=True):
            lane = _Lane(y, width, _WEIGHT, 0, lanes.heaviest, columns)
            parts += [lane.ground(), lane.weights(_bars(weight[part], picture.sampling_rate), kind)]
            y += _WEIGHT + 1
    parts += _seconds(picture, start, count, lanes.height - 1.2)
    return svg.drawing(width, lanes.height, *parts, unit="mm", class_="panel")


def _gutter(lanes: Lanes) -> Markup:
    """The pulse of 1 mV and 0.2 s, and what the lanes below the paper are."""
    foot = lanes.paper - 5
    top = lanes.paper + _GAP
    middle, rise = top + _PERTURBATION / 2, lanes.eps / lanes.bound * _PERTURBATION / 2
    parts = [
        _grid(GUTTER, lanes.paper),
        svg.element("path", d=f"M5 {svg.short(foot)}h2v-{GAIN:g}h{0.2 * SPEED:g}v{GAIN:g}h2", class_="pulse"),
        _label(f"+{lanes.eps:g} µV", middle - rise + 1),
        _label("0", middle + 1),
        _label(f"−{lanes.eps:g} µV", middle + rise + 1),
    ]
    if lanes.heaviest is not None:
        y = top + _PERTURBATION + 1
        parts += [_label("before", y + _WEIGHT / 2 + 1), _label("after", y + 1.5 * _WEIGHT + 2)]
    parts.append(_label("s", lanes.height - 1.2))
    return svg.drawing(GUTTER, lanes.height, *parts, unit="mm", class_="gutter")


def _label(text: str, y: float) -> Markup:
    return svg.element("text", text, x=GUTTER - 1, y=y, text_anchor="end")


def _grid(width: float, height: float) -> Markup:
    """Squares of 1 mm and 5 mm: each family of lines is one stroke as wide as the paper, dashed into lines."""
    parts = [svg.element("rect", width=width, height=height, class_="paper")]
    for kind, step, thickness in (("minor", 1, 0.1), ("major", 5, 0.2)):
        dashes = {"stroke_dasharray": f"{thickness} {svg.short(step - thickness)}", "stroke_dashoffset": thickness / 2}
        for data, breadth in ((f"M0 {svg.short(height / 2)}h{svg.short(width)}", height),
                              (f"M{svg.short(width / 2)} 0v{svg.short(height)}", width)):  # fmt: skip
            parts.append(svg.element("path", d=data, stroke_width=breadth, class_=kind, **dashes))
    return svg.group(*parts)


def _seconds(picture: Picture, start: int, count: int, y: float) -> Sequence[Markup]:
    """Every whole second that a panel begins or holds, from the start of the record."""
    rate = picture.sampling_rate
    first, last = (start - picture.left) / rate, (start - picture.left + count) / rate
    whole = np.arange(np.ceil(first - 1e-9), last - 0.15)
    return [
        svg.element("text", f"{t + 0.0:g}", x=(t - first) * SPEED, y=y, text_anchor="start") for t in whole.tolist()
    ]


def _says(picture: Picture, start: int, count: int) -> str:
    part = slice(start, start + count)
    first = (start - picture.left) / picture.sampling_rate
    difference, ecg = _difference(picture)[part], picture.ecg[part]
    text = (
        f"ECG of record {picture.record} from {words.number(first)} s to "
        f"{words.number(first + count / picture.sampling_rate)} s, before and after the attack, on paper of "
        f"{SPEED:g} mm/s and {GAIN:g} mm/mV. It spans {words.number(float(np.ptp(ecg)) / 1000)} mV; the perturbation, "
        f"drawn beneath {words.number(float(f'{lanes_of(picture, start, count).magnification:.2g}'))} times larger, is "
        f"at most {words.number(float(np.abs(difference).max()))} µV and "
        f"{words.number(float(np.sqrt((difference**2).mean())))} µV in root mean square."
    )
    weights = _weights(picture)
    if not weights:
        return text
    before, after = (first + int(weight[part].argmax()) / picture.sampling_rate for weight in weights)
    return f"{text} The decision weighs most what lies at {before:.1f} s before the attack and {after:.1f} s after it."


def _difference(picture: Picture) -> np.ndarray:
    return np.subtract(picture.adversarial, picture.ecg, dtype=np.float64)


def _weights(picture: Picture) -> list[np.ndarray]:
    """Weights before and after; none unless both are known."""
    before, after = picture.clean_saliency, picture.attacked_saliency
    return [] if before is None or after is None else [before, after]


def _bars(weight: np.ndarray, rate: float) -> np.ndarray:
    return column_means(weight, max(1, round(len(weight) / rate * SPEED * _WEIGHTS)))
