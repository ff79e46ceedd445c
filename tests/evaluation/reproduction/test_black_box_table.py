"""Table 6 from a handful of answers."""

import numpy as np
import pytest
from scipy.stats import binomtest

from edgeguard.evaluation.reproduction.black_box_table import Reached, Said, black_box_table

CLASSES = ("N", "A", "O", "~")


def said(victim: int, attacked: str, labels: str = "NAO~") -> Said:
    true, found = (np.array([CLASSES.index(c) for c in text]) for text in (labels, attacked))
    return Said(victim, true, true, found)


def test_victims_and_seeds_are_pooled_and_the_control_stands_apart() -> None:
    table = black_box_table(
        {
            "none": [said(1, "NAON"), said(0, "NNNN")],
            "jr": [said(0, "NAO~"), said(1, "NAOO")],
            "adt": [said(0, "NAO~"), said(1, "NANN")],
        },
        {
            "none": [Reached(4, np.array([1.0, 2, 3, 4])), Reached(4, np.array([5.0, 6, 7, 8]))],
            "jr": [Reached(3, np.array([9.0, np.inf, 5]))],
            "adt": [Reached(2, np.array([np.inf, np.inf]))],
        },
        classes=CLASSES,
    )
    rows = {row["defense"]: row for row in table["rows"]}
    wilson = binomtest(4, 8).proportion_ci(method="wilson")
    rate = rows["none"]["attacked"]["accuracy"]
    assert (rate["value"], rate["low"], rate["high"], rate["n"]) == pytest.approx((0.5, *wilson, 8))
    assert rows["none"]["clean"]["accuracy"]["value"] == 1
    assert (
        rows["jr"]["attacked"]["accuracy"]["value"] == 7 / 8 and rows["adt"]["attacked"]["accuracy"]["value"] == 6 / 8
    )
    assert rows["none"]["itself"] == {"pairs": 8, "median_l2_uv": 4.5}
    assert rows["jr"]["itself"]["median_l2_uv"] == 9 and rows["adt"]["itself"]["median_l2_uv"] == np.inf
    assert rows["jr"]["paper"] == {"accuracy": 0.8976, "f1": 0.8872}
    # On victim 0 the control has N alone, on victim 1 all but the last: jr gains three and nothing, adt three less one.
    against = {name: rows[name]["against_control"] for name in ("jr", "adt")}
    assert (
        against["jr"]["value"] == 3 / 8 and against["adt"]["value"] == 2 / 8 and rows["none"]["against_control"] is None
    )
    assert against["jr"]["p"] == pytest.approx(binomtest(3, 3).pvalue)
    assert against["adt"]["p"] == pytest.approx(binomtest(3, 4).pvalue)
    assert against["jr"]["holm_p"] == pytest.approx(2 * binomtest(3, 3).pvalue)
    # Undefended networks have no part in the order, which the paper has the other way round.
    order = table["order"]["accuracy"]
    assert order["found"] == [["jr", 7 / 8], ["adt", 6 / 8]] and order["open"] == 1
    assert order["paper"] == [["adt", 0.9144], ["jr", 0.8976]]


def test_nothing_to_attack_and_nobody_to_ask() -> None:
    empty = Said(0, *[np.zeros(0, np.int64)] * 3)
    table = black_box_table(
        {"adt": [empty]}, {"none": [Reached(0, np.zeros(0))], "adt": [Reached(0, np.zeros(0))]}, classes=CLASSES
    )
    assert [row["attacked"] for row in table["rows"]] == [None, None] and table["order"] == {}
    assert np.isnan(table["rows"][0]["itself"]["median_l2_uv"])
