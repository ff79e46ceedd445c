"""The file as a stream: its time line against what is known, and how episodes were found."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from markupsafe import Markup

from edgeguard.evaluation.audit.result import Audit, Decision, Span, Stream
from edgeguard.report.page import chart, svg, words
from edgeguard.report.page.decimate import extremes
from edgeguard.report.page.parts import Figure, Folded, Legend, Note, Section, Table
from edgeguard.report.page.scales import Scale, time_ticks

WIDTH = 990
_LEFT, _RIGHT, _ROW, _TOP, _LINE = 92.0, 14.0, 26.0, 8.0, 74.0
NOT_SCORED = {"warming_up": "warming up", "invalid": "void for a gap"}


def stream(audit: Audit) -> Section:
    """Time line, scores, time and work."""
    found = audit.stream
    key, title, short = "stream", "The file as a stream", "Stream"
    if found is None:
        return Section(key, title, short, "The file was not played as a stream.")
    body: list[Figure | Table | Folded | Note] = []
    if found.decisions:
        body.append(_time_line(audit, _shown(found)))
    else:
        body.append(Note("No decision was made, so there is no time line.", missing=True))
    if found.scores:
        body.append(_scores(audit, found))
    else:
        body.append(Note("Episodes were not scored: nothing is known of the signal's rhythms.", missing=True))
    body.append(_facts(found))
    return Section(key, title, short, _lead(found), tuple(body))


def _lead(found: Stream) -> str:
    if not found.compiled:
        return f"It could not be compiled to a streaming file: {words.sentence(found.message)}"
    return (
        f"Compiled to a streaming file, {found.equal:,} of {found.hops:,} decisions equal in every bit to the window "
        f"file's; played on {found.signal}."
    )


def _shown(found: Stream) -> Stream:
    """What lies before the last decision that is known: of a long stream, only the first part's are kept."""
    end = found.decisions[-1].at
    truth, episodes = (
        tuple(Span(span.label, span.start, min(span.end, end)) for span in spans if span.start < end)
        for spans in (found.truth, found.episodes)
    )
    return replace(found, truth=truth, episodes=episodes)


def _time_line(audit: Audit, found: Stream) -> Figure:
    """A row a class: what is known pale, what was heard dark; announced episodes below, and a class's probability."""
    classes = _rows(audit, found)
    names = {name: words.class_name(name, audit.model.classes) for name in classes}
    end = found.decisions[-1].at
    x = Scale(0, end, _LEFT, WIDTH - _RIGHT)
    watched = _watched(audit, found)
    rows = [*(names[name] for name in classes), "announced"]
    bottom = _TOP + _ROW * len(rows)
    height = bottom + (0 if watched is None else _LINE + 16) + 42
    parts: list[Markup] = []
    for place, name in enumerate(rows):
        y = _TOP + _ROW * place
        parts.append(chart.mark_line(_LEFT, y + _ROW, WIDTH - _RIGHT, y + _ROW, "grid"))
        parts.append(chart.text_at(_LEFT - 10, y + 17, name, anchor="end", kind="value"))
    tops = {name: _TOP + _ROW * place for place, name in enumerate(classes)}
    for span in found.truth:
        if span.label in tops:
            says = f"{names[span.label]}, {words.duration(span.start)} to {words.duration(span.end)}"
            parts.append(chart.bar(x(span.start), tops[span.label] + 3, _width(x, span), 20, "truth", says))
    hop = _hop(found.decisions)
    for status, label, start, stop in _runs(audit, found.decisions, hop):
        if status == "scored" and label in tops:
            parts.append(chart.bar(x(start), tops[label] + 9, x(stop) - x(start), 8, "heard"))
        elif status != "scored":
            says = NOT_SCORED.get(status, status)
            parts.append(chart.bar(x(start), _TOP, x(stop) - x(start), bottom - _TOP - _ROW, "void", says))
    for span in found.episodes:
        says = (
            f"{names.get(span.label, span.label)} announced, {words.duration(span.start)} to {words.duration(span.end)}"
        )
        kind = "announced" if span.label in names else "announced unclear"
        parts.append(chart.bar(x(span.start), bottom - _ROW + 5, _width(x, span), 16, kind, says))
        if _width(x, span) > 26:
            parts.append(chart.text_at(x(span.start) + 5, bottom - 8, names.get(span.label, span.label), kind="inside"))
    if watched is not None:
        parts.append(_probability(audit, found, watched, x, bottom + 12, names.get(watched, watched)))
    frame = chart.Frame(_LEFT, _TOP, WIDTH - _RIGHT, height - 42)
    places, unit, unit_name = time_ticks(end)
    ticks = [(x(at), words.number(round(at / unit, 6))) for at in places]
    parts.append(chart.across(frame, ticks, f"{unit_name} from the start of the signal"))
    label = _says(audit, found, names)
    legend = [Legend(chart.block("truth"), "known")] if found.truth else []
    legend += [
        Legend(chart.block("heard"), "heard, the likeliest class of every decision"),
        Legend(chart.block("announced"), "announced to the wearer"),
    ]
    if any(decision.status != "scored" for decision in found.decisions):
        legend.append(Legend(chart.block("void"), "not scored: warming up, or a gap"))
    return Figure(
        "time-line",
        f"The stream's first {words.duration(end)}",
        "Where a dark bar lies in a pale one the file hears what is there; what is announced should lie below it.",
        svg.drawing(WIDTH, height, *parts, label=label, class_="chart time-line"),
        tuple(legend),
        wide=True,
        scroll=760,
    )


def _rows(audit: Audit, found: Stream) -> list[str]:
    """The model's classes, and what else the truth names."""
    return list(dict.fromkeys([*audit.model.classes, *(span.label for span in found.truth)]))


def _watched(audit: Audit, found: Stream) -> str | None:
    """The class whose probability is drawn: the first that episodes are announced of."""
    candidates = [score["class"] for score in found.scores] + [span.label for span in found.episodes]
    return next((name for name in candidates if name in audit.model.classes), None)


def _width(x: Scale, span: Span) -> float:
    return x(span.end) - x(span.start)


def _hop(decisions: Sequence[Decision]) -> float:
    """Seconds from one decision to the next, in the median."""
    return float(np.median(np.diff([decision.at for decision in decisions]))) if len(decisions) > 1 else 1.0


def _runs(audit: Audit, decisions: Sequence[Decision], hop: float) -> list[tuple[str, str, float, float]]:
    """(status, class, start, end) of decisions alike that follow each other; each stands for the hop before it."""

    def kind(decision: Decision) -> tuple[str, str]:
        if decision.status != "scored" or not decision.probabilities:
            return decision.status, ""
        best = int(np.argmax(decision.probabilities))
        return "scored", audit.model.classes[best] if best < len(audit.model.classes) else str(best)

    runs = []
    for (status, label), members in groupby(decisions, kind):
        alike = list(members)
        runs.append((status, label, max(0.0, alike[0].at - hop), alike[-1].at))
    return runs


def _probability(audit: Audit, found: Stream, watched: str, x: Scale, top: float, name: str) -> Markup:
    """The probability of one class over time, least and most of every pixel."""
    column = audit.model.classes.index(watched)
    y = Scale(0, 1, top + _LINE, top)
    parts: list[Markup] = []
    for v in (0.0, 0.5, 1.0):
        parts.append(chart.mark_line(_LEFT, y(v), WIDTH - _RIGHT, y(v), "grid"))
        parts.append(chart.text_at(_LEFT - 10, y(v) + 4, f"{100 * v:.0f}", anchor="end"))
    parts.append(chart.text_at(10, top + _LINE / 2 - 4, name))
    parts.append(chart.text_at(10, top + _LINE / 2 + 12, "in %"))
    for scored, members in groupby(found.decisions, lambda d: d.status == "scored" and len(d.probabilities) > column):
        if not scored:
            continue
        run = list(members)
        at, values = np.array([d.at for d in run]), np.array([d.probabilities[column] for d in run])
        kept = extremes(values, max(1, round(x(at[-1]) - x(at[0]))))
        parts.append(chart.line([x(t) for t in at[kept].tolist()], [y(v) for v in values[kept].tolist()], "s3 plain"))
    return svg.group(*parts)


def _says(audit: Audit, found: Stream, names: dict[str, str]) -> str:
    hop = _hop(found.decisions)
    heard: dict[str, float] = {}
    for status, label, start, stop in _runs(audit, found.decisions, hop):
        name = names.get(label, label) if status == "scored" else NOT_SCORED.get(status, status)
        heard[name] = heard.get(name, 0.0) + stop - start
    told = [f"Time line of {words.duration(found.decisions[-1].at)}"]
    if found.truth:
        told.append("known: " + _spans(found.truth, names))
    told.append("heard: " + ", ".join(f"{name} {words.duration(seconds)}" for name, seconds in heard.items()))
    told.append("announced: " + (_spans(found.episodes, names) if found.episodes else "nothing"))
    return ". ".join(told) + "."


def _spans(spans: Sequence[Span], names: dict[str, str], shown: int = 6) -> str:
    first = ", ".join(
        f"{names.get(s.label, s.label)} {words.duration(s.start)} to {words.duration(s.end)}" for s in spans[:shown]
    )
    return first + (f" and {len(spans) - shown} more" if len(spans) > shown else "")


def _scores(audit: Audit, found: Stream) -> Table:
    return Table(
        "Episodes of the whole signal, against what is known of it",
        ("Class", "found", "n", "false alarms a day", "median delay", "time with it: known", "announced", "scored"),
        tuple(_score(audit, score) for score in found.scores),
    )


def _score(audit: Audit, score: dict[str, Any]) -> tuple[str, ...]:
    sensitivity, alarms = score["sensitivity"], score["false_alarms_per_day"]
    burden, delay = score.get("burden") or {}, (score.get("delay_s") or {}).get("median")
    found = "no episode"
    if sensitivity["n"]:
        low, high = 100 * sensitivity["low"], 100 * sensitivity["high"]
        found = f"{words.percent(sensitivity['value'])} [{low:.1f}, {high:.1f}]"
    return (
        words.class_name(score["class"], audit.model.classes),
        found,
        f"{sensitivity['n']:,}",
        f"{words.number(alarms['value'])} [{words.number(alarms['low'])}, {words.number(alarms['high'])}]",
        "–" if delay is None else words.duration(delay),
        *("–" if burden.get(key) is None else words.percent(burden[key]) for key in ("reference", "detected")),
        words.duration(score["scored_s"]) if "scored_s" in score else "–",
    )


def _facts(found: Stream) -> Table:
    per_hop = "–" if found.macs_per_hop is None else f"{found.macs_per_hop:,}"
    rows = [
        ("Proof against the window file", words.sentence(found.message)),
        ("Signal", found.signal),
        ("Latency on this computer", _latency(found.latency_ms)),
        ("Deadlines missed", f"{found.deadline_misses:,}"),
        ("Multiply-accumulates a decision", f"{per_hop} streaming, {found.macs_per_window:,} as a window"),
    ]
    return Table("What was played, and what it took", ("Fact", "Figure"), tuple(rows), words=frozenset({1}))


def _latency(latency: dict[str, float]) -> str:
    told = [f"{name} {words.number(latency[name])} ms" for name in ("p50", "p99", "max") if name in latency]
    return ", ".join(told) or "–"
