"""The head of the page: the verdict, why, on what, and the few figures that matter."""

import math
from dataclasses import dataclass
from pathlib import PurePath

from markupsafe import Markup

from edgeguard.evaluation.audit.result import Audit, Group, Rate, Score, Verdict
from edgeguard.report.page import chart, svg, words
from edgeguard.report.page.scales import Scale

MEANINGS = {
    "survives": "Every condition that was set holds on these records.",
    "screened": "A quick look found no sign of harm, on too few records for more than that.",
    "degraded": "At least one condition that was set does not hold.",
    "inconclusive": "No condition fails, and at least one cannot be decided on these records.",
    "not judged": "There was no float form to hold the file against.",
    "reported": "The file claims no robustness and none was demanded: its figures are reported.",
}
SHOWN_REASONS = 5
_BAR = 220


@dataclass(frozen=True)
class Tile:
    """One figure that matters.

    Attributes:
        figure: large.
        detail: its interval, n, and what it is to be seen beside.
        bar: the interval, drawn.
    """

    name: str
    figure: str
    detail: str
    bar: Markup


@dataclass(frozen=True)
class Answer:
    """One of the two verdicts: its question, what it means, and why; `key` is the verdict as one word."""

    question: str
    verdict: str
    key: str
    meaning: str
    required: bool
    reasons: tuple[str, ...]
    more_reasons: tuple[str, ...]


@dataclass(frozen=True)
class Banner:
    """The head of the page; `facts` are (name, text) of what was judged."""

    verdict: str
    answers: tuple[Answer, ...]
    file: str
    warnings: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    tiles: tuple[Tile, ...]


def banner(audit: Audit) -> Banner:
    """The head of an audit's page."""
    return Banner(
        audit.verdict.replace(" ", "-"),
        (_answer(audit, "export", audit.export), _answer(audit, "robustness", audit.robustness)),
        file_name(audit.model.path),
        tuple(words.sentence(warning) for warning in audit.warnings),
        _facts(audit),
        tuple(tile for tile in _tiles(audit) if tile is not None),
    )


def _answer(audit: Audit, question: str, verdict: Verdict) -> Answer:
    reasons = tuple(words.sentence(reason) for reason in verdict.reasons)
    return Answer(
        question.capitalize(),
        verdict.verdict,
        verdict.verdict.replace(" ", "-"),
        MEANINGS[verdict.verdict],
        question in audit.required,
        reasons[:SHOWN_REASONS],
        reasons[SHOWN_REASONS:],
    )


def file_name(path: str) -> str:
    """The last part of a path of either kind of system."""
    return PurePath(path.replace("\\", "/")).name or path


def find_score(audit: Audit, attack: str, eps_uv: float, form: str | None = None) -> Score | None:
    """The score of a form, by default of the audited one; None where there is none."""
    form = form or audit.model.form
    found = (s for s in audit.scores if s.form == form and s.attack == attack and math.isclose(s.eps_uv, eps_uv))
    return next(found, None)


def attacked_radii(audit: Audit) -> list[float]:
    """The budgets of the white-box attacks, rising."""
    return sorted({score.eps_uv for score in audit.scores if score.eps_uv > 0})


def _facts(audit: Audit) -> tuple[tuple[str, str], ...]:
    model, data = audit.model, audit.data
    kind = ", ".join(part for part in (model.form, model.arch, model.defense) if part)
    return (
        ("File", f"sha256 {model.sha256[:8]}, {words.size(model.bytes)}"),
        ("Network", kind),
        ("Held against", _compared(model.compared_with)),
        ("Records", f"{data.n:,} of {file_name(data.source)}"),
        ("Audit", f"{audit.size}, {audit.profile_version or audit.profile} attacks, {audit.provenance.date[:10]}"),
    )


def _compared(with_: str | None) -> str:
    """`fp32 FILE`, `torch RUN`."""
    if with_ is None:
        return "nothing: no float form was at hand"
    kind, _, path = with_.partition(" ")
    return f"{kind} {file_name(path)}" if path else with_


def _tiles(audit: Audit) -> tuple[Tile | None, ...]:
    return (_clean(audit), _attacked(audit), _export(audit), _sensitivity(audit), _black_box(audit), _confidence(audit))


def _clean(audit: Audit) -> Tile | None:
    score = find_score(audit, "clean", 0.0)
    return _share("Accuracy, clean", score.accuracy, f"F1 {words.percent(score.f1.value)}") if score else None


def _attacked(audit: Audit) -> Tile | None:
    radii = attacked_radii(audit)
    score = find_score(audit, "worst case", radii[0]) if radii else None
    if score is None:
        return None
    return _share(f"Accuracy, worst case at {words.eps(score.eps_uv)}", score.accuracy, "white-box attacks")


def _export(audit: Audit) -> Tile | None:
    if not audit.survival:
        return None
    one = audit.survival[0]
    reach = max(1.6 * one.margin, abs(one.low), abs(one.high))
    place = Scale(-reach, reach, 4, _BAR - 4)
    marks = [
        chart.mark_line(place(0), 2, place(0), 18, "zero"),
        chart.mark_line(place(-one.margin), 1, place(-one.margin), 19, "limit"),
    ]
    return Tile(
        f"Change by export at {words.eps(one.eps_uv)}",
        f"{words.points(one.difference)} points",
        f"[{words.points(one.low)}, {words.points(one.high)}], n = {one.n:,}; "
        f"margin {words.points(-one.margin)}, {one.verdict}",
        _interval_bar(place, one.difference, one.low, one.high, *marks),
    )


def _sensitivity(audit: Audit) -> Tile | None:
    """Of the class that matters most: AF where there is one."""
    groups = af_first(audit)
    if not groups or not groups[0].attacked:
        return None
    group = groups[0]
    key = min(group.attacked, key=words.radius)
    name = words.class_name(group.name, audit.model.classes)
    return _share(
        f"{name} sensitivity, worst case at {words.eps(words.radius(key))}",
        group.attacked[key],
        f"{words.percent(group.clean.value)} clean",
    )


def _black_box(audit: Audit) -> Tile | None:
    if audit.black_box is None or not audit.black_box.curve:
        return None
    last = audit.black_box.curve[-1]
    if not last.success:
        return None
    key = min(last.success, key=words.radius)
    near = words.eps(words.radius(key))
    detail = f"labels only, {last.queries:,} asked a record"
    return _share(f"Fooled within {near}, black box", last.success[key], detail)


def _confidence(audit: Audit) -> Tile | None:
    if audit.confidence is None:
        return None
    return _share("Calibration error", audit.confidence.expected_error, "0 is honest")


def af_first(audit: Audit) -> list[Group]:
    """Groups of the classes, atrial fibrillation first where the file has such a class."""
    return sorted(audit.classes, key=lambda group: group.name.upper() not in ("A", "AF", "AFIB"))


def _share(name: str, rate: Rate, detail: str) -> Tile:
    place = Scale(0, 1, 4, _BAR - 4)
    bar = _interval_bar(place, rate.value, rate.low, rate.high) if math.isfinite(rate.value) else Markup("")
    return Tile(name, words.percent(rate.value), f"{words.interval(rate)}, n = {rate.n:,}; {detail}", bar)


def _interval_bar(place: Scale, value: float, low: float, high: float, *marks: Markup) -> Markup:
    """An interval on a rule from end to end; its figures stand beside it, so it is not read aloud."""
    rule = chart.mark_line(place.start, 10, place.end, 10, "rule")
    reach = chart.bar(place(low), 6, place(high) - place(low), 8, "reach")
    return svg.drawing(_BAR, 20, rule, *marks, reach, chart.marker(place(value), 10, "s3"), class_="tile-bar")
