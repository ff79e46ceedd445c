"""How near an attacker comes who hears labels alone."""

import math

from edgeguard.evaluation.audit.result import Audit, BlackBox, QueryPoint, Rate
from edgeguard.report.page import chart, svg, words
from edgeguard.report.page.parts import Figure, Folded, Legend, Note, Section, Table
from edgeguard.report.page.scales import Scale, log_ticks, round_ticks

_HEIGHT = 280
_NORMS = (("median_l2_uv", "s3", "L2"), ("median_linf_uv", "s1", "L-inf"))


def black_box(audit: Audit) -> Section:
    """Distance and success against labels asked."""
    found = audit.black_box
    key, title, short = "black-box", "Black-box attack", "Black box"
    if found is None:
        return Section(key, title, short, "No black-box attack was made.")
    body: list[Figure | Table | Folded | Note] = []
    if found.masked:
        body.append(
            Note(
                "Masked: the probes of this attack vanish between the input's codes, so that these distances measure "
                "the input's step and not robustness.",
                missing=True,
            )
        )
    if found.curve:
        body += [_distances(found), _success(found), Folded("The query curves in numbers", (_table(found),))]
    else:
        body.append(Note("No record could be attacked, so there is no query curve.", missing=True))
    told = f"Witnesses, for whoever repeats it: {found.witnesses}." if found.witnesses else "It left no witness."
    body.append(Note(told, missing=not found.witnesses))
    return Section(key, title, short, _lead(found), tuple(body))


def _lead(found: BlackBox) -> str:
    asked = f"{found.attack} asked up to {found.queries:,} labels for each of {words.plural(found.samples, 'record')}"
    skipped = f" and skipped {words.plural(found.skipped, 'record')} that were wrong already" if found.skipped else ""
    if not found.curve:
        return f"{asked}{skipped}."
    last = found.curve[-1]
    near = [f"{words.rate(rate, n=False)} within {words.eps(words.radius(key))}" for key, rate in _by_radius(last)[:2]]
    n = next(iter(last.success.values())).n if last.success else found.samples
    fooled = f"; it fooled {words.listed(near)}, n = {n:,}" if near else ""
    return f"{asked}{skipped}{fooled}."


def _by_radius(point: QueryPoint) -> list[tuple[str, Rate]]:
    return sorted(point.success.items(), key=lambda item: words.radius(item[0]))


def _queries(found: BlackBox, frame: chart.Frame) -> tuple[Scale, list[tuple[float, str]]]:
    asked = [point.queries for point in found.curve]
    x = Scale(min(asked), max(asked), frame.left + 8, frame.right - 12, log=True)
    return x, [(x(v), words.number(v)) for v in log_ticks(min(asked), max(asked))]


def _distances(found: BlackBox) -> Figure:
    frame = chart.frame(_HEIGHT, left=66)
    x, ticks = _queries(found, frame)
    known = [d for point in found.curve for name, _, _ in _NORMS if 0 < (d := getattr(point, name)) < math.inf]
    low, high = (min(known) / 1.3, max(known) * 1.3) if known else (1.0, 10.0)
    y = Scale(low, high, frame.bottom, frame.top, log=True)
    parts, told = [], []
    for name, series, norm in _NORMS:
        values = [getattr(point, name) if math.isfinite(getattr(point, name)) else math.nan for point in found.curve]
        xs, ys = [x(point.queries) for point in found.curve], [y(value) for value in values]
        parts.append(chart.line(xs, ys, series, main=name == "median_l2_uv"))
        for point, value, at, height in zip(found.curve, values, xs, ys, strict=True):
            says = f"{norm} {words.number(value)} µV after {words.plural(point.queries, 'label')}"
            parts.append(chart.marker(at, height, series, says))
        told.append(f"{norm} from {_distance(values[0])} to {_distance(values[-1])}")
    label = (
        f"Median distance of the nearest adversarial record after {found.curve[0].queries:,} to "
        f"{found.curve[-1].queries:,} labels: {'; '.join(told)}."
    )
    drawing = svg.drawing(
        chart.WIDTH,
        _HEIGHT,
        chart.upwards(frame, [(y(v), words.number(v)) for v in log_ticks(low, high)], "median distance, µV"),
        chart.across(frame, ticks, "labels asked a record"),
        *parts,
        label=label,
        class_="chart",
    )
    return Figure(
        "distance-against-queries",
        "Distance against labels asked",
        "The lower a line, the smaller the perturbation that half of the records fall to; it ends where asking ends.",
        drawing,
        tuple(Legend(chart.swatch(series, main=norm == "L2"), norm) for _, series, norm in _NORMS),
    )


def _distance(value: float) -> str:
    return f"{words.number(value)}{words.NBSP}µV" if math.isfinite(value) else "not reached"


def _success(found: BlackBox) -> Figure:
    frame = chart.frame(_HEIGHT)
    x, ticks = _queries(found, frame)
    y = Scale(0, 1, frame.bottom, frame.top)
    keys = [key for key, _ in _by_radius(found.curve[-1])][: len(chart.SERIES)]
    bands, lines, legend, told = [], [], [], []
    for key, series in zip(keys, ("s3", "s1", "s2", "s4", "s5"), strict=False):
        points = [point for point in found.curve if key in point.success]
        rates = [point.success[key] for point in points]
        xs, name = [x(point.queries) for point in points], words.eps(words.radius(key))
        bands.append(chart.band(xs, [y(rate.low) for rate in rates], [y(rate.high) for rate in rates], series))
        lines.append(chart.line(xs, [y(rate.value) for rate in rates], series))
        for point, rate, at in zip(points, rates, xs, strict=True):
            says = f"within {name} after {words.plural(point.queries, 'label')}: {words.rate(rate)}"
            lines.append(chart.marker(at, y(rate.value), series, says))
        legend.append(Legend(chart.swatch(series), f"within {name}"))
        told.append(f"{words.rate(rates[-1])} within {name}")
    label = f"Share of records fooled after {found.curve[-1].queries:,} labels: {'; '.join(told)}."
    drawing = svg.drawing(
        chart.WIDTH,
        _HEIGHT,
        chart.upwards(frame, [(y(v), f"{100 * v:.0f}") for v in round_ticks(0, 1)], "records fooled, %"),
        chart.across(frame, ticks, "labels asked a record"),
        *bands,
        *lines,
        label=label,
        class_="chart",
    )
    return Figure(
        "success-against-queries",
        "Records fooled against labels asked",
        "Each line counts the records that fall within its eps (L-inf); bands are 95 % intervals.",
        drawing,
        tuple(legend),
    )


def _table(found: BlackBox) -> Table:
    keys = [key for key, _ in _by_radius(found.curve[-1])]
    return Table(
        f"{found.attack}, {words.plural(found.samples, 'record')}",
        ("Labels", "median L2", "median L-inf", *(f"within {words.eps(words.radius(key))}" for key in keys)),
        tuple(
            (
                f"{point.queries:,}",
                _distance(point.median_l2_uv),
                _distance(point.median_linf_uv),
                *(words.rate(point.success[key], n=False) if key in point.success else "–" for key in keys),
            )
            for point in found.curve
        ),
    )
