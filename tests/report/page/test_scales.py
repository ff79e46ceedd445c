import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.report.page.scales import Scale, Steps, log_ticks, radii_scale, round_ticks, time_ticks


def test_a_linear_scale_by_hand() -> None:
    place = Scale(0, 50, 100, 200)
    assert [place(v) for v in (0, 10, 50)] == [100, 120, 200]
    assert place(60) == 200 and place(-1) == 100
    assert math.isnan(place(math.nan))


def test_a_scale_may_run_upwards() -> None:
    assert Scale(0, 1, 300, 100)(0.25) == 250


def test_a_logarithmic_scale_by_hand() -> None:
    place = Scale(1, 100, 0, 200, log=True)
    assert place(10) == pytest.approx(100)
    assert place(1000) == 200
    assert math.isnan(place(0))
    assert place(math.inf) == 200


def test_one_figure_lies_in_the_middle() -> None:
    assert Scale(5, 5, 0, 10)(5) == 5
    assert Scale(5, 5, 0, 10, log=True)(5) == 5


def test_radii_are_to_scale_until_they_crowd() -> None:
    near = radii_scale([0, 10, 50], 0, 100)
    assert [near(eps) for eps in (0, 10, 50)] == [0, 20, 100]
    wide = radii_scale([0, 10, 50, 1000], 0, 90)
    assert isinstance(wide, Steps)
    assert [wide(eps) for eps in (0, 10, 50, 1000)] == pytest.approx([0, 30, 60, 90])
    assert wide(30) == pytest.approx(45)
    assert radii_scale([0], 0, 100)(0) == 0


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.4, 1, [0.4, 0.6, 0.8, 1]),
        (-3, 3, [-2, 0, 2]),
        (0, 0.07, [0, 0.02, 0.04, 0.06]),
        (7, 7, [7]),
    ],
)
def test_round_ticks_by_hand(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_round_ticks_lie_inside_and_are_few(low: float, width: float) -> None:
    high = low + width
    ticks = round_ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high))
    assert 2 <= len(ticks) <= 7 or not high > low
    assert all(low - slack <= tick <= high + slack for tick in ticks)
    assert ticks == sorted(ticks)


def test_log_ticks_by_hand() -> None:
    assert log_ticks(1, 1000) == [1, 10, 100, 1000]
    assert log_ticks(50, 700) == [50, 100, 200, 500]
    assert log_ticks(3, 4) == [3, 4]


def test_time_stands_in_the_unit_that_reads_best() -> None:
    assert time_ticks(100) == ([0, 20, 40, 60, 80, 100], 1, "s")
    places, unit, name = time_ticks(86_400)
    assert (unit, name) == (3600, "h")
    assert places == [3600 * h for h in (0, 5, 10, 15, 20)]
    assert time_ticks(240)[2] == "min"
