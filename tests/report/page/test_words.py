import math

import pytest

from edgeguard.evaluation.audit.result import Rate
from edgeguard.report.page import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (math.nan, "none"),
        (math.inf, "no bound"),
        (0, "0"),
        (-2.0, "−2"),
        (0.12345, "0.123"),
        (12.34, "12.3"),
        (123.4, "123"),
        (24_657.3, "24,657"),
        (1.64402e-07, "1.64e−07"),
        (1e-4, "0.0001"),
        (1e-5, "1e−05"),
        (30_118, "30,118"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert words.number(value) == text


def test_a_rate_has_its_interval_and_its_n() -> None:
    rate = Rate(0.8125, 0.7001, 0.8999, 1064)
    assert words.rate(rate) == f"81.2{words.NBSP}% [70.0, 90.0], n = 1,064"
    assert words.rate(rate, n=False) == f"81.2{words.NBSP}% [70.0, 90.0]"
    assert words.rate(Rate(math.nan, 0, 1, 0)) == "no records"


def test_points_have_a_sign() -> None:
    assert [words.points(v) for v in (-0.0126, 0.0, 0.02)] == ["−1.3", "+0.0", "+2.0"]


def test_units_stay_with_their_number() -> None:
    assert words.eps(10.0) == f"10{words.NBSP}µV"
    assert words.eps(0) == "clean"
    assert words.duration(90) == f"90{words.NBSP}s"
    assert words.duration(435) == f"7.2{words.NBSP}min"
    assert words.duration(86_400) == f"24{words.NBSP}h"
    assert words.size(9000) == f"9,000{words.NBSP}bytes"
    assert words.size(204_800) == f"200{words.NBSP}KiB"


def test_a_span_has_both_ends_or_one() -> None:
    assert words.span({"low": 24.9, "high": 38.2}) == "25 – 38"
    assert words.span({"low": 0.1766, "high": 0.26}, 100) == "18 – 26"
    assert words.span({"low": 2.01, "high": 2.04}) == "2"
    assert words.span({"low": 8513.0, "high": 12523.0}) == "8,513 – 12,523"
    assert words.span(0.085) == "0.085"
    assert words.span(None) == "–"


def test_lists_and_plurals() -> None:
    assert (words.listed([]), words.listed(["a"]), words.listed(["a", "b"])) == ("", "a", "a and b")
    assert words.listed(["a", "b", "c"]) == "a, b and c"
    assert (words.plural(1, "record"), words.plural(2000, "record")) == ("1 record", "2,000 records")


def test_only_the_classes_of_cinc_have_names() -> None:
    assert words.class_name("A", ("N", "A", "O", "~")) == "AF"
    assert words.class_name("A", ("N", "A")) == "A"


def test_sentences() -> None:
    assert words.sentence("it holds") == "It holds."
    assert words.sentence("Why?") == "Why?"
    assert words.sentence("") == ""


def test_any_setting_fits_on_a_line() -> None:
    assert words.plain({"a": [1, 2.5], "b": None, "c": True}) == "a 1, 2.5, b none, c yes"
