"""Accuracy against eps of every form, and what export took of it."""

from edgeguard.evaluation.audit.result import Audit, Score, Survival
from edgeguard.report.page import chart, svg, words
from edgeguard.report.page.banner import attacked_radii, find_score
from edgeguard.report.page.parts import Cell, Figure, Folded, Legend, Note, Section, Table
from edgeguard.report.page.scales import Scale, radii_scale, round_ticks

FORMS = {"torch": ("s1", "torch, as trained"), "fp32": ("s2", "fp32 file"), "int8": ("s3", "int8 file")}
_RINGS = {"torch": 2.3, "fp32": 1.8, "int8": 1.6}
"""Size of the markers of the forms that are not audited: rings around it, since forms often agree."""
ATTACKS = {"clean": "clean", "pgd": "PGD", "sap": "SAP", "worst case": "worst case"}
_HEIGHT = 280


def robustness(audit: Audit) -> Section:
    """White-box accuracy of the forms, and their paired difference."""
    body: list[Figure | Table | Folded | Note] = []
    if audit.scores:
        body.append(_curve(audit))
    else:
        body.append(Note("No form was scored, so there is no curve.", missing=True))
    if audit.survival:
        body.append(_forest(audit))
    else:
        body.append(
            Note("There is no float form to hold the file against, so what export took cannot be told.", missing=True)
        )
    missing = [form for form in FORMS if form not in {score.form for score in audit.scores}]
    if audit.scores and missing:
        body.append(Note(f"Not scored: {words.listed([FORMS[form][1] for form in missing])}.", missing=True))
    if audit.survival:
        body.append(Folded("Record by record: what one form gets right and the other does not", (_paired(audit),)))
    if audit.scores:
        body.append(Folded(f"All {len(audit.scores)} scores, by form, attack and budget", (_scores(audit),)))
    return Section("robustness", "Robustness under white-box attack", "Robustness", _lead(audit), tuple(body))


def _lead(audit: Audit) -> str:
    scores = worst_case(audit, audit.model.form)
    if not scores:
        return "The audited file was not scored."
    told = [f"{words.rate(score.accuracy, n=False)} {_at(score.eps_uv)}" for score in scores]
    records = words.plural(scores[0].accuracy.n, "record")
    return f"The {audit.model.form} file on {records}: right {words.listed(told)}, in the worst case over all attacks."


def worst_case(audit: Audit, form: str) -> list[Score]:
    """A form's clean score, and its worst case at every budget, rising."""
    found = [find_score(audit, "clean", 0.0, form)]
    found += [find_score(audit, "worst case", eps, form) for eps in attacked_radii(audit)]
    return [score for score in found if score is not None]


def _curve(audit: Audit) -> Figure:
    frame = chart.frame(_HEIGHT)
    radii = [0.0, *attacked_radii(audit)]
    x = radii_scale(radii, frame.left + 12, frame.right - 12)
    y = Scale(0, 1, frame.bottom, frame.top)
    forms = [form for form in FORMS if worst_case(audit, form)]
    forms.sort(key=lambda form: form != audit.model.form)
    bands, lines, marks, legend, told = [], [], [], [], []
    for form in forms:
        series, name = FORMS[form]
        scores = worst_case(audit, form)
        xs = [x(score.eps_uv) for score in scores]
        rates = [score.accuracy for score in scores]
        ys = [y(rate.value) for rate in rates]
        bands.append(chart.band(xs, [y(r.low) for r in rates], [y(r.high) for r in rates], series))
        main = form == audit.model.form
        kind, size = ("", 1.0) if main else ("ring", _RINGS[form])
        lines.append(chart.line(xs, ys, series, main=main))
        swatch = chart.swatch(series, main=main, kind=kind, size=min(size, 1.5))
        legend.append(Legend(swatch, f"{name}, audited" if main else name))
        for score, at, height in zip(scores, xs, ys, strict=True):
            says = f"{name}, {words.eps(score.eps_uv)}: {words.rate(score.accuracy)}"
            marks.append(chart.marker(at, height, series, says, kind=kind, size=size))
        told.append(f"{name}: " + ", ".join(f"{words.percent(s.accuracy.value)} {_at(s.eps_uv)}" for s in scores))
    label = f"Accuracy against eps in the worst case. {'. '.join(told)}."
    ticks = [(x(eps), "clean" if eps == 0 else f"{eps:g}") for eps in radii]
    drawing = svg.drawing(
        chart.WIDTH,
        _HEIGHT,
        chart.upwards(frame, [(y(v), f"{100 * v:.0f}") for v in round_ticks(0, 1)], "accuracy, %"),
        chart.across(frame, ticks, "eps of the attack, µV (L-inf)"),
        *bands,
        *lines,
        *marks,
        label=label,
        class_="chart",
    )
    return Figure(
        "accuracy-against-eps",
        "Accuracy against eps",
        "eps is the most that any sample may change; the slower a line falls, the more of it that form bears.",
        drawing,
        tuple(legend),
    )


def _at(eps_uv: float) -> str:
    return "clean" if eps_uv == 0 else f"at {words.eps(eps_uv)}"


def _forest(audit: Audit) -> Figure:
    """Exported less float, a row a budget, against the margin."""
    height = max(_HEIGHT, 70 + 40 * len(audit.survival))
    frame = chart.frame(height, left=74, top=26)
    row = (frame.bottom - frame.top) / len(audit.survival)
    ends = [100 * end for one in audit.survival for end in (one.low, one.high, -1.5 * one.margin, one.margin)]
    reach = 1.1 * max(abs(end) for end in ends)
    x = Scale(-reach, reach, frame.left, frame.right)
    margin = -100 * audit.survival[0].margin
    parts = [
        chart.bar(x(margin), frame.top, frame.right - x(margin), frame.bottom - frame.top, "safe"),
        chart.across(
            frame, [(x(v), words.number(v)) for v in round_ticks(-reach, reach)], "points of accuracy", grid=True
        ),
        chart.mark_line(x(0), frame.top, x(0), frame.bottom, "zero"),
        chart.mark_line(x(margin), frame.top - 6, x(margin), frame.bottom, "limit"),
        chart.text_at(x(margin), frame.top - 11, f"margin {words.number(margin)}", anchor="middle"),
    ]
    told = []
    for place, one in enumerate(audit.survival):
        y = frame.top + row * (place + 0.5) + 4
        says = (
            f"{words.points(one.difference)} [{words.points(one.low)}, {words.points(one.high)}] points, n = {one.n:,}"
        )
        parts += [
            chart.text_at(frame.left - 8, y + 4, words.eps(one.eps_uv), anchor="end"),
            chart.whisker(x(100 * one.low), x(100 * one.high), y, "s3"),
            chart.marker(x(100 * one.difference), y, "s3", says),
            chart.text_at(frame.right - 6, y - 9, one.verdict, anchor="end", kind="value"),
        ]
        told.append(f"at {words.eps(one.eps_uv)} {says}, {one.verdict}")
    label = f"Accuracy of the file less that of its float form, in the worst case: {'; '.join(told)}."
    return Figure(
        "lost-by-export",
        "What export took",
        "Left of zero the file is worse than its float form; it survives where the interval lies right of the margin.",
        svg.drawing(chart.WIDTH, height, *parts, label=label, class_="chart"),
    )


def _paired(audit: Audit) -> Table:
    return Table(
        "Records by what the float form and the file make of them, in the worst case",
        ("eps", "both right", "float form only", "file only", "both wrong", "McNemar p", "points [95 %]", "n", "Told"),
        tuple(
            (
                words.eps(one.eps_uv),
                *(
                    f"{one.table.get(key, 0):,}"
                    for key in ("both_right", "only_reference", "only_exported", "both_wrong")
                ),
                words.number(one.mcnemar_p),
                f"{words.points(one.difference)} [{words.points(one.low)}, {words.points(one.high)}]",
                f"{one.n:,}",
                one.verdict + _needs(one),
            )
            for one in audit.survival
        ),
        words=frozenset({8}),
    )


def _needs(one: Survival) -> str:
    return f"; {one.needed:,} records would tell" if one.verdict == "inconclusive" and one.needed else ""


def _scores(audit: Audit) -> Table:
    return Table(
        "Accuracy and macro F1 with 95 % intervals",
        ("Form", "Attack", "eps", "Accuracy", "F1", "n"),
        tuple(
            (
                FORMS.get(score.form, ("", score.form))[1],
                Cell(ATTACKS.get(score.attack, score.attack), strong=score.attack == "worst case"),
                words.eps(score.eps_uv),
                words.rate(score.accuracy, n=False),
                words.rate(score.f1, n=False),
                f"{score.accuracy.n:,}",
            )
            for score in audit.scores
        ),
        words=frozenset({1}),
    )
