import math

import pytest
from pages import parse_svg

from edgeguard.report.page import chart


def texts(drawing: str) -> list[tuple[float, float, str]]:
    return [(float(t.get("x", 0)), float(t.get("y", 0)), t.text or "") for t in parse_svg(drawing).iter("text")]


def test_the_frame_is_what_the_margins_leave() -> None:
    assert chart.frame(280) == chart.Frame(52, 12, 426, 238)


def test_the_axis_below_by_hand() -> None:
    frame = chart.Frame(50, 10, 410, 200)
    drawn = chart.across(frame, [(50, "0"), (230, "half")], "eps")
    assert texts(drawn) == [(50, 217, "0"), (230, 217, "half"), (230, 235, "eps")]
    ticks = [line for line in parse_svg(drawn).iter("line") if line.get("x1") == line.get("x2") == "230"]
    assert [(line.get("y1"), line.get("y2")) for line in ticks] == [("200", "204")]


def test_the_axis_on_the_left_has_a_line_across_at_every_tick() -> None:
    frame = chart.Frame(50, 10, 410, 200)
    drawn = chart.upwards(frame, [(200, "0"), (105, "50")], "accuracy")
    lines = [tuple(line.get(k) for k in ("x1", "y1", "x2", "y2")) for line in parse_svg(drawn).iter("line")]
    assert lines == [("50", "200", "410", "200"), ("50", "105", "410", "105")]
    assert texts(drawn) == [(43, 204, "0"), (43, 109, "50"), (12, 105, "accuracy")]


def test_a_band_encloses_its_line() -> None:
    assert 'd="M0 50L10 60L10 80L0 70Z"' in chart.band([0, 10], [70, 80], [50, 60], "s1")


def test_whiskers_end_in_strokes() -> None:
    assert 'd="M10 5H30M10 2v6M30 2v6"' in chart.whisker(10, 30, 5, "s1")
    assert 'd="M5 30V10M2 30h6M2 10h6"' in chart.upright(5, 30, 10, "s1")


def corners(drawn: str) -> list[tuple[float, float]]:
    path = parse_svg(drawn).find("path")
    assert path is not None
    data = (path.get("d") or "").rstrip("Z").replace("M", "").split("L")
    return [(float(x), float(y)) for x, y in (pair.split() for pair in data)]


@pytest.mark.parametrize("series", ["s2", "s3", "s4", "s5"])
@pytest.mark.parametrize("size", [1.0, 2.0])
def test_a_marker_lies_around_its_place(series: str, size: float) -> None:
    found = corners(chart.marker(100, 50, series, size=size))
    xs, ys = zip(*found, strict=True)
    assert min(xs) < 100 < max(xs) and min(ys) < 50 < max(ys)
    assert 100 - min(xs) == pytest.approx(max(xs) - 100)
    assert max(xs) - min(xs) <= 10 * size


def test_no_two_series_have_one_marker() -> None:
    assert len({chart.marker(0, 0, series).replace(series, "") for series in chart.SERIES}) == len(chart.SERIES)


def test_a_marker_says_its_figure_and_vanishes_without_a_place() -> None:
    title = parse_svg(chart.marker(0, 0, "s1", "81 % < all")).find("path/title")
    assert title is not None and title.text == "81 % < all"
    assert chart.marker(math.nan, 0, "s1") == ""


def test_bars_share_one_scale_from_zero() -> None:
    root = parse_svg(chart.bars([("a", 100.0, "100 bytes"), ("b", 25.0, "25 bytes"), ("c", 0.0, "none")], label="x"))
    widths = [float(rect.get("width", 0)) for rect in root.iter("rect")]
    assert widths[1] == pytest.approx(widths[0] / 4)
    assert widths[2] == 0.75
    assert widths[0] == chart.WIDTH - 120 - 96
