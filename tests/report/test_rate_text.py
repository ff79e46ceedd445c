"""How a rate is printed."""

from edgeguard.report.rate_text import rate_text


def test_a_rate_has_three_digits_and_its_interval():
    assert rate_text({"value": 0.8594, "low": 0.8331, "high": 0.8822, "n": 768}) == "0.859 [0.833, 0.882]"
    assert rate_text({"value": 1.0, "low": 0.5, "high": 1.0}) == "1.000 [0.500, 1.000]"


def test_a_rate_of_no_records_is_none():
    assert rate_text({"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 0}) == "none"
