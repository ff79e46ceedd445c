"""The curve of an attack by labels, and the alarm that it raises."""

from dataclasses import replace
from math import inf, nan

import numpy as np
import pytest

from edgeguard.attacks.scheduler import Trace
from edgeguard.evaluation.audit.black_box import Attacked, black_box_check, query_curve
from edgeguard.evaluation.audit.result import BlackBox, Check
from edgeguard.evaluation.audit.thresholds import load_thresholds
from edgeguard.evaluation.evaluate import Evaluation, Judged
from edgeguard.evaluation.portfolio import Attack

N = 40
INDEX = np.arange(100, 100 + N)


def summary(masked: bool = False) -> BlackBox:
    return BlackBox("smooth-geo", N, 0, 10, 1.0, masked, (), None)


def alarm(white: np.ndarray, linf: np.ndarray, *, eps: float = 10.0, masked: bool = False) -> Check:
    """White-box: right under attack; linf of the attack by labels, of the same records."""
    labels = np.zeros(N, np.int64)
    judged = [
        Judged(Attack("clean"), None, labels),
        Judged(Attack("pgd", eps), "II", np.where(white, 0, 1), gradient="twin"),
    ]
    found = Attacked(summary(masked), tuple(INDEX.tolist()), tuple(linf.tolist()))
    evaluations = {"int8": {eps: Evaluation(("N", "A"), labels, judged)}}
    return black_box_check(found, evaluations, "int8", INDEX, load_thresholds())


def test_labels_that_find_less_than_the_gradient_raise_no_alarm() -> None:
    white = np.arange(N) >= 10
    linf = np.where(white, 300.0, 9.0)
    linf[5] = nan
    assert alarm(white, linf).holds is True and alarm(white, linf).figure == 0


@pytest.mark.parametrize(("beaten", "holds"), [(0, True), (1, None), (3, False)])
def test_records_that_only_labels_fool_do(beaten: int, holds: bool | None) -> None:
    """Clopper & Pearson's lower end of 1 in 40 is 0.06 %, of 3 in 40 1.6 %; the bar is 1 %."""
    white = np.ones(N, bool)
    linf = np.where(np.arange(N) < beaten, 10.0, 10.5)
    found = alarm(white, linf)
    assert found.holds is holds and found.figure == beaten / N and found.bar == 0.01
    assert f"fool {beaten} of {N} records within 10 uV" in found.reason
    assert (found.needed is not None) == (holds is None)


def test_a_masked_attack_says_nothing() -> None:
    found = alarm(np.ones(N, bool), np.full(N, 5.0), masked=True)
    assert (found.holds, found.bar) == (None, None) and "vanish" in found.reason


def test_nothing_attacked_says_nothing() -> None:
    empty = replace(Attacked(summary(), (), ()), summary=summary())
    assert black_box_check(empty, {}, "int8", INDEX, load_thresholds()).bar is None


def test_the_curve_by_hand() -> None:
    """Three records: fooled at label 2 at 40 uV and at label 7 at 8 uV; at label 5 at 90 uV; never."""
    traces = [
        Trace(queries=[2, 7], l2=[400.0, 80.0], linf=[40.0, 8.0]),
        Trace(queries=[5], l2=[900.0], linf=[90.0]),
        Trace(),
    ]
    curve = {point.queries: point for point in query_curve(traces, 10, radii_uv=[10, 50, 100])}
    assert list(curve) == [1, 2, 5, 10]
    assert curve[1].median_l2_uv == curve[2].median_linf_uv == inf
    assert (curve[5].median_l2_uv, curve[5].median_linf_uv) == (900.0, 90.0)
    assert (curve[10].median_l2_uv, curve[10].median_linf_uv) == (900.0, 90.0)
    shares = {eps: rate.value for eps, rate in curve[10].success.items()}
    assert shares == {"10": pytest.approx(1 / 3), "50": pytest.approx(1 / 3), "100": pytest.approx(2 / 3)}
    assert curve[2].success["50"].value == pytest.approx(1 / 3) and curve[2].success["10"].value == 0
    assert query_curve([], 10, radii_uv=[10]) == ()
