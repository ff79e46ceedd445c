"""Does a certificate agree with itself? Its verdict with its checks, these with figures and thresholds, figures with
each other. No record is needed for that, only the rules."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.evaluation.audit.result import VERDICTS, Check, Rate, Score, Survival, Verdict
from edgeguard.evaluation.audit.verdict import (
    EXPORT,
    QUESTIONS,
    ROBUSTNESS,
    claims_robustness,
    decide,
    export_verdict,
    first_verdict,
    overall,
    robustness_verdict,
)
from edgeguard.evaluation.certificate_form import FIRST, Certificate, digest_of
from edgeguard.evaluation.inferiority import has_nothing_to_lose, verdict_of
from edgeguard.evaluation.metrics import accuracy, macro_f1
from edgeguard.evaluation.wilson import wilson_interval

_WITH_THRESHOLDS = ("clean", "white-box", "survival", "black-box", "confidence")
"""Sections whose bars whoever audits may choose; the others have theirs from the code."""
_SENSES = ("least", "most")
_RULES: dict[str, Callable[[float, float, float], bool | None]] = {
    "data": lambda figure, bar, low: True if figure >= bar else None,
    "black-box": lambda figure, bar, low: True if figure <= bar else (False if low > bar else None),
}
"""Decisions without a sense, by section, of (figure, bar, low end): too few records are no fault of a file, and a rare
record is one too many only where chance does not explain it."""
_WORDS = {True: "hold", False: "fail", None: "undecided"}
_EXACT = 1e-9
"""Room for what another library makes of the same interval."""


@dataclass(frozen=True)
class Claim:
    """One thing that a certificate says, and whether it is so.

    Attributes:
        holds: None where it was not checked; `message` says why.
        figure: how many of what the message counts.
        message: one line.
    """

    name: str
    holds: bool | None
    message: str
    figure: float | None = None


def thresholds_claim(certificate: Certificate, demanded: dict[str, Any] | None = None) -> Claim:
    """The thresholds have the hash that is stated, are those that are demanded, and every bar is one of them.

    Args:
        demanded: thresholds that whoever verifies has of his own; the certificate's must be just these.
    """
    thresholds = certificate.thresholds
    if digest_of(thresholds) != certificate.thresholds_sha256:
        return Claim("thresholds", False, "were changed: they do not have the hash stated for them")
    stated = dict(leaves(thresholds))
    asked = stated if demanded is None else dict(leaves(demanded))
    for place in {**stated, **asked}:
        if stated.get(place) != asked.get(place):
            return Claim("thresholds", False, f"{place} is {stated.get(place)}, {asked.get(place)} is demanded")
    numbers = {float(value) for value in stated.values() if isinstance(value, int | float)}
    for check in certificate.checks:
        if check.section in _WITH_THRESHOLDS and check.bar is not None and not _is_among(check.bar, numbers):
            message = f"the bar {check.bar:g} of {check.section} {check.name} is none of the thresholds"
            return Claim("thresholds", False, message)
    own = "; they are those demanded" if demanded else ""
    return Claim("thresholds", True, f"thresholds, and every bar is one of them{own}", len(stated))


def checks_claim(certificate: Certificate) -> Claim:
    """Every check holds, fails or is open as its figure, its interval and its bar say, and its figure is that stated.

    A failing rung and a masking check are decided elsewhere: for these it is compared with what ladder and figures say.
    """
    stated, masking = stated_figures(certificate), {f"masking_{one.name}": one for one in certificate.figures.masking}
    decided = 0
    for check in certificate.checks:
        where = f"{check.section} {check.name}"
        if check.figure is not None and check.figure != stated.get(check.name, check.figure):
            message = f"{where} is {check.figure:g}, the figures make it {stated[check.name]}"
            return Claim("checks", False, message)
        if check.name in masking:
            found: bool | None = masking[check.name].holds
        elif check.sense in _SENSES or (check.sense is None and check.section in _RULES and check.bar is not None):
            found = _decided(check)
        elif check.sense is not None:
            return Claim("checks", False, f"{where}: sense {check.sense} is neither {' nor '.join(_SENSES)}")
        else:
            continue
        decided += 1
        if found is not check.holds:
            return Claim("checks", False, f"{_told(check)} makes it {_WORDS[found]}, not {_WORDS[check.holds]}")
    count = len(certificate.checks)
    return Claim("checks", True, f"of {count} checks follow from the figures; the others are taken as stated", decided)


def verdict_claim(certificate: Certificate) -> Claim:
    """Every verdict and its reasons are what the rules of `audit.verdict` make of the checks."""
    if certificate.schema == FIRST:
        verdict, reasons = first_verdict(certificate.checks, size=certificate.size)
    else:
        made = _verdicts(certificate)
        for name, stated in ((EXPORT, certificate.export), (ROBUSTNESS, certificate.robustness)):
            if stated != made[name]:
                says = stated.verdict if stated and stated.verdict in VERDICTS else "no verdict"
                message = f"the checks make {name} {made[name].verdict}, the certificate says {says}"
                return Claim("verdict", False, message)
        required = certificate.required or ()
        if not required or not set(required) <= set(QUESTIONS):
            return Claim("verdict", False, "does not say which verdicts are required")
        decisive = overall(made[EXPORT], made[ROBUSTNESS], required)
        verdict, reasons = decisive.verdict, decisive.reasons
    if verdict != certificate.verdict:
        known = certificate.verdict if certificate.verdict in VERDICTS else "no verdict"
        return Claim("verdict", False, f"the checks make it {verdict}, the certificate says {known}")
    if reasons != certificate.reasons:
        return Claim("verdict", False, f"{verdict}, but its reasons are not those of the checks")
    return Claim("verdict", True, f"{verdict}, as the checks make it")


def _verdicts(certificate: Certificate) -> dict[str, Verdict]:
    """The verdicts by the rules; a certificate with paired figures was compared, whatever it says."""
    compared = bool(certificate.compared) or bool(certificate.figures.survival)
    judged = bool(certificate.judged) or claims_robustness(certificate.file.defense)
    size = certificate.size
    return {
        EXPORT: export_verdict(certificate.checks, size=size, compared=compared),
        ROBUSTNESS: robustness_verdict(certificate.checks, size=size, judged=judged),
    }


def figures_claim(certificate: Certificate) -> Claim:
    """Accuracies, intervals and paired differences follow from the counts that come with them."""
    for fault in _faults(certificate):
        return Claim("figures", False, fault)
    count = len(certificate.figures.scores)
    return Claim("figures", True, "scores and all differences follow from the counts beside them", count)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted place, value) of everything in JSON values that is neither object nor list."""
    if isinstance(value, dict):
        items = [(f"{place}.{key}" if place else str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{place}[{i}]", item) for i, item in enumerate(value)]
    else:
        yield place, value
        return
    for inner, item in items:
        yield from leaves(item, inner)


def _told(check: Check) -> str:
    interval = "" if check.low is None else f" [{check.low:g}, {check.high:g}]"
    return f"{check.section} {check.name}: {check.figure}{interval} against {check.bar}"


def _decided(check: Check) -> bool | None:
    """What a check's figure, interval and bar decide."""
    if check.figure is None or check.bar is None:
        return None
    if check.sense is None:
        return _RULES[check.section](check.figure, check.bar, check.figure if check.low is None else check.low)
    return decide(check.figure, check.bar, sense=check.sense, low=check.low, high=check.high)


def _is_among(bar: float, numbers: set[float]) -> bool:
    """Whether a bar is a threshold, be it that a margin counts downwards or that it is a share of points."""
    return any(math.isclose(abs(bar), abs(number) * unit) for number in numbers for unit in (1, 0.01))


def stated_figures(certificate: Certificate) -> dict[str, float | None]:
    """Name of a check -> its figure, as data, figures and ladder have it; of the checks that just repeat one."""
    figures, data = certificate.figures, certificate.data
    own = [score for score in figures.scores if score.form == certificate.file.form]
    stated: dict[str, float | None] = {
        "records": data.n,
        **{f"records_{name}": count for name, count in data.by_class.items()},
        "failing_rungs": sum(rung.get("holds") is False for rung in certificate.ladder),
        **{f"survival_{one.eps_uv:g}": one.difference for one in figures.survival},
        **{f"masking_{check.name}": check.figure for check in figures.masking},
    }
    for score in own:
        if score.attack == "clean":
            stated |= {"clean_accuracy": score.accuracy.value, "clean_f1": score.f1.value}
    worst = [score for score in own if score.attack == "worst case"]
    if worst:
        stated["attacked_accuracy"] = min(worst, key=lambda score: score.eps_uv).accuracy.value
    if figures.stream is not None and figures.stream.hops:
        stated["stream_equal"] = figures.stream.equal / figures.stream.hops
    if figures.confidence is not None:
        stated["calibration_error"] = figures.confidence.expected_error.value
    return stated


def _faults(certificate: Certificate) -> Iterator[str]:
    figures, data = certificate.figures, certificate.data
    if sum(data.by_class.values()) != data.n:
        yield f"{data.n} records, but the classes add up to {sum(data.by_class.values())}"
    by_class = [data.by_class.get(name, 0) for name in certificate.file.classes]
    for score in figures.scores:
        yield from _score_faults(score, by_class)
    yield from _worst_case_faults(figures.scores)
    for one in figures.survival:
        yield from _survival_faults(one, data.n, first=certificate.schema == FIRST)
    for group in (*figures.classes, *figures.snr):
        for rate in (group.clean, *group.attacked.values()):
            yield from _rate_faults(rate, f"group {group.name}")
    for point in figures.black_box.curve if figures.black_box else ():
        for eps, rate in point.success.items():
            yield from _rate_faults(rate, f"black box within {eps} uV after {point.queries} queries")


def _score_faults(score: Score, by_class: list[int]) -> Iterator[str]:
    where = f"{score.form} {score.attack} at {score.eps_uv:g} uV"
    if [len(row) for row in score.confusion] != [len(by_class)] * len(by_class):
        yield f"{where}: the confusion is not that of {len(by_class)} classes"
        return
    confusion, n = np.array(score.confusion), sum(by_class)
    if confusion.sum(1).tolist() != by_class or not score.accuracy.n == score.f1.n == n:
        yield f"{where}: the records of its confusion are not those of the data"
        return
    for name, rate, value in (("accuracy", score.accuracy, accuracy(confusion)), ("F1", score.f1, macro_f1(confusion))):
        if n and not math.isclose(rate.value, value, abs_tol=_EXACT):
            yield f"{where}: {name} {rate.value:g}, its confusion makes it {value:g}"
    yield from _rate_faults(score.accuracy, where)


def _rate_faults(rate: Rate, where: str) -> Iterator[str]:
    """A share of n must be a whole number of n-ths, and have Wilson's interval (1927)."""
    if rate.n == 0:
        return
    n = rate.n
    stated, made = (rate.low, rate.high), wilson_interval(rate.value, n)
    if (
        not np.allclose(stated, made, rtol=0, atol=_EXACT)
        or not abs(rate.value * n - np.rint(rate.value * n)) <= _EXACT * n
    ):
        yield f"{where}: [{rate.low:g}, {rate.high:g}] is not the interval of {rate.value:g}, n = {n}"


def _worst_case_faults(scores: tuple[Score, ...]) -> Iterator[str]:
    """The worst case is no better than any attack that it is taken over."""
    worst = {(score.form, score.eps_uv): score.accuracy.value for score in scores if score.attack == "worst case"}
    for score in scores:
        if worst.get((score.form, score.eps_uv), 0.0) > score.accuracy.value:
            yield f"{score.form} at {score.eps_uv:g} uV: the worst case is better than {score.attack}"


def _survival_faults(one: Survival, n: int, *, first: bool) -> Iterator[str]:
    where = f"survival at {one.eps_uv:g} uV"
    total = sum(one.table.values())
    if not total == one.n == n:
        yield f"{where}: {total} records in the table, {one.n} stated, {n} in all"
        return
    difference = (one.table.get("only_exported", 0) - one.table.get("only_reference", 0)) / max(n, 1)
    if not math.isclose(one.difference, difference, abs_tol=_EXACT):
        yield f"{where}: difference {one.difference:g}, its table makes it {difference:g}"
    right = one.table.get("both_right", 0) + one.table.get("only_reference", 0)
    nothing = not first and has_nothing_to_lose(right, n, one.margin)
    verdict = verdict_of(one.low, one.high, one.margin, nothing_to_lose=nothing)
    if one.verdict != verdict:
        yield f"{where}: [{one.low:g}, {one.high:g}] with a margin of {one.margin:g} makes it {verdict}"
