"""What the audited file loses, to its export and to attacks; figures by hand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeguard.evaluation.audit.forms import Forms
from edgeguard.evaluation.audit.result import Check
from edgeguard.evaluation.audit.scores import all_scores, score_checks, survival_checks, survivals, under
from edgeguard.evaluation.audit.thresholds import Thresholds, load_thresholds
from edgeguard.evaluation.audit.verdict import export_verdict
from edgeguard.evaluation.audit.white_box import Judgements
from edgeguard.evaluation.evaluate import Evaluation, Judged
from edgeguard.evaluation.paired import tango
from edgeguard.evaluation.portfolio import Attack

N = 400
PGD, SAP = Attack("pgd", 10.0), Attack("sap", 10.0)


def evaluation(clean: int, pgd: int, sap: int) -> Evaluation:
    """Of N records of class 0 the first so many are right; under each attack, from two networks, so many."""
    labels = np.zeros(N, np.int64)

    def named(right: int) -> np.ndarray:
        return (np.arange(N) >= right).astype(np.int64)

    judged = [Judged(Attack("clean"), None, named(clean))]
    for source in ("twin", "parent"):
        judged += [Judged(PGD, "II", named(pgd), gradient=source), Judged(SAP, "II", named(sap), gradient=source)]
    return Evaluation(("N", "A"), labels, judged)


def forms(reference: str | None = "fp32", sources: int = 2, form: str = "int8") -> Forms:
    contender: Any = SimpleNamespace(sources=("x",) * sources)
    judged = {form: contender, **({reference: contender} if reference else {})}
    return Forms(form, judged, reference, None if reference else "no float form")


def found(judged: Judgements, demands: Thresholds | None = None) -> dict[str, Check]:
    return {one.name: one for one in score_checks(forms(), judged, demands or load_thresholds())}


def test_scores_by_hand() -> None:
    scores = {
        (one.form, one.eps_uv, one.attack): one for one in all_scores({"int8": {10.0: evaluation(380, 300, 350)}})
    }
    assert set(scores) == {
        ("int8", eps, name) for eps, name in ((0, "clean"), (10, "pgd"), (10, "sap"), (10, "worst case"))
    }
    assert scores["int8", 0.0, "clean"].confusion == ((380, 20), (0, 0))
    assert scores["int8", 10.0, "worst case"].confusion == scores["int8", 10.0, "pgd"].confusion == ((300, 100), (0, 0))
    assert under(evaluation(380, 300, 350), "sap").sum() == 50


@pytest.mark.parametrize(("worst", "holds"), [(360, True), (330, None), (100, False)])
def test_a_file_without_robustness_is_caught(worst: int, holds: bool | None) -> None:
    """Of 380 right ones 20, 50 and 280 fall: 5, 12.5 and 70 of 400; 15 points are allowed."""
    check = found({"int8": {10.0: evaluation(380, worst, worst)}, "fp32": {10.0: evaluation(380, worst, worst)}})[
        "robustness_loss"
    ]
    lost = (380 - worst) / N
    low, high = tango(380 - worst, 0, N)
    assert check.holds is holds and check.figure == pytest.approx(lost) and check.bar == 0.15
    assert (check.low, check.high) == (pytest.approx(low), pytest.approx(high))
    assert f"take {100 * lost:.1f}" in check.reason and (check.needed is not None) == (holds is None)


@pytest.mark.parametrize(("exported", "holds"), [(380, True), (376, None), (340, False)])
def test_a_file_less_accurate_than_its_float_form_is_caught(exported: int, holds: bool | None) -> None:
    check = found({"int8": {10.0: evaluation(exported, 300, 300)}, "fp32": {10.0: evaluation(380, 300, 300)}})[
        "clean_loss"
    ]
    assert check.holds is holds and check.figure == pytest.approx((exported - 380) / N) and check.bar == -0.02
    assert "int8 less fp32 on clean records" in check.reason


def test_floors_decide_where_they_are_demanded() -> None:
    judged = {"int8": {10.0: evaluation(380, 300, 350)}, "fp32": {10.0: evaluation(380, 300, 350)}}
    names = ("clean_accuracy", "clean_f1", "af_sensitivity", "attacked_accuracy")
    assert all(found(judged)[name].bar is None for name in names)
    demands = replace(load_thresholds(), clean_accuracy=0.9, attacked_accuracy=0.8, af_sensitivity=0.5)
    checks = found(judged, demands)
    assert checks["clean_accuracy"].holds is True and checks["attacked_accuracy"].holds is False
    assert checks["af_sensitivity"].holds is None and checks["af_sensitivity"].figure is None


def test_survival_at_every_budget() -> None:
    judged = {
        "int8": {10.0: evaluation(380, 300, 350), 25.0: evaluation(380, 200, 350)},
        "fp32": {10.0: evaluation(380, 300, 350), 25.0: evaluation(380, 260, 350)},
    }
    survived = survivals(forms(), judged, load_thresholds(), seed=0)
    assert [(one.eps_uv, one.verdict, one.difference) for one in survived] == [
        (10.0, "survives", 0.0),
        (25.0, "degraded", pytest.approx(-0.15)),
    ]
    checks = survival_checks(forms(), survived, load_thresholds())
    assert [(check.name, check.holds) for check in checks] == [("survival_10", True), ("survival_25", False)]
    assert checks[1].low is not None and checks[1].figure == survived[1].difference and checks[1].sense == "least"


def test_where_nothing_is_left_to_lose_clean_records_decide() -> None:
    """At 10 uV the float form has 4 of 400 left: the budget is stated, the export survives by clean accuracy."""
    judged = {form: {10.0: evaluation(380, 4, 6)} for form in ("int8", "fp32")}
    survived = survivals(forms(), judged, load_thresholds(), seed=0)
    assert survived[0].verdict == "inconclusive" and "nothing to lose" in survived[0].message
    (stated,) = survival_checks(forms(), survived, load_thresholds())
    assert (stated.holds, stated.bar) == (None, None)
    clean = found(judged)["clean_loss"]
    verdict = export_verdict([clean, stated], size="quick", compared=True)
    assert verdict.verdict == "survives"
    assert [("clean records" in one, "nothing to lose" in one) for one in verdict.reasons] == [
        (True, False),
        (False, True),
    ]
    lost = replace(clean, holds=None)
    assert export_verdict([lost, stated], size="default", compared=True).verdict == "inconclusive"


def test_without_a_fair_comparison_survival_is_open() -> None:
    judged = {"int8": {10.0: evaluation(380, 300, 350)}}
    for lone in (forms(None), forms(sources=1)):
        assert survivals(lone, {**judged, "fp32": judged["int8"]}, load_thresholds(), seed=0) == ()
        (check,) = survival_checks(lone, (), load_thresholds())
        assert (check.holds, check.bar, check.figure) == (None, -0.02, None)
    (floating,) = survival_checks(forms(None, form="fp32"), (), load_thresholds())
    assert floating.holds is True and floating.bar is None


def test_without_an_attack_robustness_is_open() -> None:
    bare = evaluation(380, 0, 0)
    bare = replace(bare, judged=bare.judged[:1])
    check = found({"int8": {10.0: bare}, "fp32": {10.0: bare}})["robustness_loss"]
    assert (check.holds, check.figure, check.bar) == (None, None, 0.15)
    assert [one.attack for one in all_scores({"int8": {10.0: bare}})] == ["clean"]
