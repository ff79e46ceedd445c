"""The verdict on tables counted by hand, its power by simulation, and comparisons that are not fair."""

import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.evaluation.evaluate import Evaluation, Judged
from edgeguard.evaluation.inferiority import VERDICTS
from edgeguard.evaluation.paired import tango
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.survival import (
    Outcome,
    Trial,
    outcome,
    survival,
    verdict_of,
)

SOURCES = ("fp32", "int8")


def but(*wrong: int, n: int = 400) -> np.ndarray:
    """bool [n]: right on all records but these."""
    return ~np.isin(np.arange(n), wrong)


def crafted(name: str, right: np.ndarray, n: int = 400) -> Outcome:
    """Two attacks crafted on each network; only the last of them fools."""
    trials = [Trial(attack, source) for attack in ("pgd", "sap") for source in SOURCES]
    return Outcome(name, {trial: but(n=n) for trial in trials} | {trials[-1]: right})


def discordant(only_reference: int, only_exported: int, n: int) -> tuple[Outcome, Outcome]:
    ours = but(*range(only_reference), n=n)
    theirs = but(*range(only_reference, only_reference + only_exported), n=n)
    return crafted("fp32", theirs, n), crafted("int8", ours, n)


def test_worst_cases_and_table_by_hand():
    reference = Outcome(
        "fp32",
        {
            Trial("clean"): but(0),
            Trial("pgd", "fp32"): but(0, 1),
            Trial("pgd", "int8"): but(0, 2),
        },
    )
    exported = Outcome(
        "int8",
        {
            Trial("clean"): but(0, 9),
            Trial("pgd", "fp32"): but(0, 1, 9),
            Trial("pgd", "int8"): but(0, 3, 4, 9),
        },
    )
    found = survival(reference, exported, margin=0.05)
    # The reference falls on 0 1 2, the exported one on 0 1 3 4 9.
    assert found.table == {"both_right": 394, "only_reference": 3, "only_exported": 1, "both_wrong": 2}
    assert found.accuracy["fp32"]["value"] == 397 / 400 and found.accuracy["int8"]["value"] == 395 / 400
    assert found.worst_case["difference"] == pytest.approx(-2 / 400)
    assert (found.worst_case["low"], found.worst_case["high"]) == tango(1, 3, 400)
    assert found.worst_case["mcnemar_p"] == pytest.approx(10 / 16)
    assert found.clean is not None and (found.clean["only_first"], found.clean["only_second"]) == (0, 1)
    # Transfer both ways: what was crafted on the one, judged by the other.
    assert found.transfer["fp32"]["int8"]["value"] == 397 / 400
    assert found.transfer["int8"]["fp32"]["value"] == 398 / 400
    assert found.verdict == "survives" and found.message.startswith("survives: worst case -0.5 [")
    assert json.loads(json.dumps(asdict(found)))["verdict"] == "survives"


@pytest.mark.parametrize(
    ("table", "n", "verdict"),
    [
        ((0, 0), 400, "survives"),
        ((60, 2), 400, "degraded"),
        ((8, 4), 400, "inconclusive"),
        ((0, 0), 60, "inconclusive"),
        ((6, 0), 512, "inconclusive"),
    ],
)
def test_verdicts(table: tuple[int, int], n: int, verdict: str):
    found = survival(*discordant(*table, n), margin=0.02)
    low, high = tango(table[1], table[0], n)
    assert found.verdict == verdict
    assert (low > -0.02, high < -0.02) == (verdict == "survives", verdict == "degraded")
    assert found.needed is not None
    more = found.needed > n
    assert ("records for 80 % power" in found.message) is (verdict == "inconclusive" and more)
    assert ("the loss itself nears the margin" in found.message) is (verdict == "inconclusive" and not more)


@given(low=st.floats(-1, 1), width=st.floats(0, 1), margin=st.floats(0.001, 0.5))
@settings(max_examples=60, deadline=None)
def test_exactly_one_verdict(low: float, width: float, margin: float):
    found = verdict_of(low, low + width, margin)
    assert found in VERDICTS
    assert (found == "survives") == (low > -margin)
    assert (found == "degraded") == (low + width < -margin)


def test_an_end_on_the_margin_decides_nothing():
    assert verdict_of(-0.02, 0.0, 0.02) == verdict_of(-0.5, -0.02, 0.02) == "inconclusive"


@pytest.mark.parametrize(
    ("table", "level", "verdicts"),
    [
        # Tango 1998, section 6.1: chemical against thermal disinfection of soft lenses, 44 crossover patients. Not
        # inferior by 10 points at one-sided 5 %, z = 1.709; the 95 % interval leaves it open.
        ((0, 1, 44), 0.90, {0.10: "survives", 0.09: "inconclusive"}),
        ((0, 1, 44), 0.95, {0.10: "inconclusive"}),
        # Fagerland, Lydersen & Laake 2014: [-0.517, -0.026] after stem cell transplantation, 21 children.
        ((1, 7, 21), 0.95, {0.02: "degraded", 0.03: "inconclusive", 0.5: "inconclusive", 0.52: "survives"}),
        # The same, Cavo et al. 2012: [-0.1240, -0.0054], 161 patients.
        ((6, 16, 161), 0.95, {0.005: "degraded", 0.02: "inconclusive", 0.12: "inconclusive", 0.125: "survives"}),
        # R's PropCIs: [-0.0148, 0.0247] of 618 pairs.
        ((28, 25, 618), 0.90, {0.02: "survives", 0.014: "inconclusive"}),
    ],
)
def test_verdicts_on_published_tables(table: tuple[int, int, int], level: float, verdicts: dict[float, str]):
    low, high = tango(*table, level=level)
    assert {margin: verdict_of(low, high, margin) for margin in verdicts} == verdicts


def test_other_attacks_are_refused():
    reference, exported = discordant(1, 1, 50)
    fewer = Outcome("int8", {t: r for t, r in exported.right.items() if t.attack != "sap"})
    with pytest.raises(InputError, match="int8: not judged under sap crafted on fp32, seed 0, which fp32 was"):
        survival(reference, fewer)
    with pytest.raises(InputError, match="fp32: not judged under sap"):
        survival(Outcome("fp32", fewer.right), exported)
    other_seed = Outcome("int8", {t._replace(seed=1): r for t, r in exported.right.items()})
    with pytest.raises(InputError, match="one portfolio, one seed"):
        survival(reference, other_seed)


def test_one_way_transfer_is_refused():
    """Crafted on the float network alone: the int8 file was never attacked itself."""
    one_way = {Trial("pgd", "fp32"): but(1)}
    with pytest.raises(InputError, match="crafted on fp32 alone"):
        survival(Outcome("fp32", one_way), Outcome("int8", one_way))
    lopsided = {Trial("pgd", "fp32"): but(), Trial("sap", "fp32"): but(), Trial("pgd", "int8"): but()}
    with pytest.raises(InputError, match="sap crafted on int8, seed 0: missing"):
        survival(Outcome("fp32", lopsided), Outcome("int8", lopsided))


def test_other_records_nothing_and_bad_margins_are_refused():
    reference, exported = discordant(1, 1, 50)
    longer = Outcome("int8", {t: np.append(r, True) for t, r in exported.right.items()})
    with pytest.raises(InputError, match="different records"):
        survival(reference, longer)
    with pytest.raises(InputError, match="under no attack"):
        survival(Outcome("fp32", {}), Outcome("int8", {}))
    for margin in (0.0, -0.1, 1.0, math.nan):
        with pytest.raises(InputError, match="--margin"):
            survival(reference, exported, margin=margin)


def test_clean_records_alone_are_no_evidence_of_robustness():
    clean = {Trial("clean"): but()}
    with pytest.raises(InputError, match="under no attack"):
        survival(Outcome("fp32", clean), Outcome("int8", clean))


def test_an_evaluation_becomes_an_outcome():
    labels = np.array([0, 1, 2])
    pgd = Attack("pgd", 10.0)
    judged = [
        Judged(Attack("clean"), None, np.array([0, 1, 2])),
        Judged(pgd, "II", np.array([0, 0, 2]), gradient="twin"),
        Judged(pgd, "II", np.array([1, 1, 2]), gradient="parent"),
    ]
    found = outcome("int8", Evaluation(("N", "A", "O"), labels, judged), seed=3)
    assert found.right[Trial(pgd, "twin", 3)].tolist() == [True, False, True]
    assert found.worst_case().tolist() == [False, False, True]
    assert found.worst_case("parent").tolist() == [False, True, True]
