from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from markupsafe import Markup

from edgeguard.report.page import svg


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.5, "1.5"),
        (2.0, "2"),
        (-0.25, "-.25"),
        (0.126, ".13"),
        (-0.001, "0"),
        (100, "100"),
        (10.05, "10.05"),
    ],
)
def test_coordinates_are_as_short_as_a_hundredth_allows(value: float, text: str) -> None:
    assert svg.short(value) == text


@given(st.floats(-1e6, 1e6))
def test_short_is_the_number_to_a_hundredth(value: float) -> None:
    assert float(svg.short(value)) == pytest.approx(value, abs=0.00501)


def test_an_element_escapes_what_is_not_markup() -> None:
    made = svg.element("text", "a<b", Markup("<tspan/>"), x=0.5, class_='c"', stroke_width=2, fill=None)
    assert made == '<text x=".5" class="c&#34;" stroke-width="2">a&lt;b<tspan/></text>'


def test_an_empty_element_closes_itself() -> None:
    assert svg.element("line", x1=0) == '<line x1="0"/>'


def test_a_drawing_says_what_it_shows_or_hides_from_screen_readers() -> None:
    spoken = svg.drawing(10, 5, label='1 < "2"')
    assert spoken == '<svg viewBox="0 0 10 5" role="img" aria-label="1 &lt; &#34;2&#34;"/>'
    assert 'aria-hidden="true"' in svg.drawing(10, 5)
    assert svg.drawing(125, 40, unit="mm").startswith('<svg viewBox="0 0 125 40" width="125mm" height="40mm"')


def test_a_line_is_broken_where_it_is_not_finite() -> None:
    assert svg.polyline([0, 1, 2, 3], [5, 6.25, float("nan"), 7]) == "M0 5L1 6.25M3 7"
    assert svg.polyline([], []) == ""


def test_an_area_goes_out_on_top_and_comes_back_below() -> None:
    assert svg.area([0, 10], [1, 2], [5, 6]) == "M0 5L10 6L10 2L0 1Z"
    assert svg.area([0, 1], [float("nan"), 2], [5, 6]) == "M1 6L1 2Z"
    assert svg.area([0], [float("nan")], [1]) == ""


def test_a_compact_path_steps_from_point_to_point() -> None:
    assert svg.compact_path(np.array([0, 1, 2, 2]), np.array([10, 8, 8, 8])) == "M0 10l1-2 1 0"
    assert svg.compact_path(np.array([3]), np.array([4])) == "M3 4"
    assert svg.compact_path(np.array([]), np.array([])) == ""


def follow(data: str) -> list[tuple[int, int]]:
    """The points of a compact path, read as SVG 1.1 reads numbers."""
    start, _, steps = data[1:].partition("l")
    numbers = [int(n) for n in steps.replace("-", " -").split()]
    points = [tuple(int(n) for n in start.split())]
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        points.append((points[-1][0] + dx, points[-1][1] + dy))
    return points


@given(arrays(np.int64, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(-500, 500)))
def test_a_compact_path_goes_through_every_point(points: np.ndarray) -> None:
    kept = [tuple(points[0])] + [tuple(b) for a, b in pairwise(points) if tuple(a) != tuple(b)]
    assert follow(svg.compact_path(points[:, 0], points[:, 1])) == kept
