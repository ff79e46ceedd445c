"""A figure keeps to its bar, or does not, or its interval does not tell."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.evaluation.audit.verdict import decide

numbers = st.floats(-10, 10)


@pytest.mark.parametrize(
    ("figure", "bar", "sense", "interval", "holds"),
    [
        (0.8, 0.7, "least", None, True),
        (0.7, 0.7, "least", None, True),
        (0.6, 0.7, "least", None, False),
        (0.8, 0.7, "least", (0.75, 0.85), True),
        (0.8, 0.7, "least", (0.70, 0.85), True),
        (0.8, 0.7, "least", (0.65, 0.85), None),
        (0.6, 0.7, "least", (0.55, 0.70), None),
        (0.6, 0.7, "least", (0.55, 0.69), False),
        (-0.001, -0.02, "least", (-0.009, 0.006), True),
        (0, 0, "most", None, True),
        (1, 0, "most", None, False),
        (0.1, 0.15, "most", (0.05, 0.15), True),
        (0.1, 0.15, "most", (0.05, 0.16), None),
        (0.2, 0.15, "most", (0.16, 0.3), False),
        (math.nan, 0.7, "least", None, None),
        (math.nan, 0.7, "most", None, None),
    ],
)
def test_by_hand(
    figure: float, bar: float, sense: str, interval: tuple[float, float] | None, holds: bool | None
) -> None:
    low, high = interval or (None, None)
    assert decide(figure, bar, sense=sense, low=low, high=high) is holds


@given(numbers, numbers, st.floats(0, 5), st.floats(0, 5))
def test_most_is_least_seen_from_below(figure: float, bar: float, down: float, up: float) -> None:
    low, high = figure - down, figure + up
    assert decide(figure, bar, sense="most", low=low, high=high) is decide(
        -figure, -bar, sense="least", low=-high, high=-low
    )


@given(numbers, numbers, st.floats(0, 5), st.floats(0, 5), st.sampled_from(["least", "most"]))
def test_an_interval_never_turns_a_decision_around(
    figure: float, bar: float, down: float, up: float, sense: str
) -> None:
    assert decide(figure, bar, sense=sense, low=figure - down, high=figure + up) in (
        decide(figure, bar, sense=sense),
        None,
    )
