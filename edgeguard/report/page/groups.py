"""Whom the attack harms: classes, bands of signal quality, and confusions."""

from collections.abc import Sequence

from markupsafe import Markup

from edgeguard.evaluation.audit.result import Audit, Group, Score
from edgeguard.report.page import chart, svg, words
from edgeguard.report.page.banner import af_first, attacked_radii, find_score
from edgeguard.report.page.parts import Cell, Figure, Folded, Legend, Note, Section, Table
from edgeguard.report.page.robustness import ATTACKS, FORMS
from edgeguard.report.page.scales import Scale, round_ticks

_ROW = 15
"""Pixels from one interval of a group to the next."""


def groups(audit: Audit) -> Section:
    """Per-class and per-SNR robustness, and the confusion tables."""
    classes, bands = _named(af_first(audit), audit), list(audit.snr)
    rows = max(len(classes), len(bands))
    body: list[Figure | Table | Folded | Note] = []
    if classes:
        reading = "Each class's sensitivity, clean on top and in the worst case below it"
        body.append(_intervals("by-class", "By class", reading, classes, rows))
    else:
        body.append(Note("The records were not divided into classes.", missing=True))
    if bands:
        reading = "The share right in each band of signal quality, clean on top and in the worst case below it"
        body.append(_intervals("by-snr", "By signal-to-noise ratio", reading, bands, rows))
    else:
        body.append(Note("The records were not divided into bands of signal-to-noise ratio.", missing=True))
    shown, others = _confusions(audit)
    if shown:
        body.append(_side_by_side("confusions", "Confusions", shown))
    captions = (("Sensitivity by class", classes), ("Share right by signal-to-noise ratio", bands))
    if numbers := tuple(_table(caption, found) for caption, found in captions if found):
        body.append(Folded("The same in numbers", numbers))
    if others:
        more = _side_by_side("more-confusions", "Further confusions", others)
        body.append(Folded(words.plural(len(others), "further confusion table"), (more,)))
    return Section("classes", "Classes and signal quality", "Classes", _lead(classes), tuple(body))


def _named(found: Sequence[Group], audit: Audit) -> list[Group]:
    """Groups under the names that people know."""
    return [
        Group(words.class_name(group.name, audit.model.classes), group.n, group.clean, group.attacked)
        for group in found
    ]


def _lead(found: Sequence[Group]) -> str:
    if not found:
        return "Nothing is known of single classes."
    first = found[0]
    told = [f"{words.rate(first.clean, n=False)} clean"]
    told += [f"{words.rate(first.attacked[key], n=False)} at {words.eps(words.radius(key))}" for key in _keys([first])]
    return f"Sensitivity to {first.name}, n = {first.n:,}: {words.listed(told)}, in the worst case over all attacks."


def _keys(found: Sequence[Group]) -> list[str]:
    return sorted({key for group in found for key in group.attacked}, key=words.radius)


def _intervals(key: str, title: str, reading: str, found: Sequence[Group], rows: int) -> Figure:
    """A group's intervals below each other; as tall as `rows` groups, like the figure beside it."""
    keys = _keys(found)[: len(chart.SERIES) - 1]
    series = dict(zip(["clean", *keys], ("s1", "s3", "s2", "s4", "s5"), strict=False))
    height = 8 + (_ROW * len(series) + 12) * rows + 42
    block = (height - 50) / len(found)
    frame = chart.Frame(112, 8, chart.WIDTH - 14, height - 42)
    x = Scale(0, 1, frame.left, frame.right)
    ticks = [(x(v), f"{100 * v:.0f}") for v in round_ticks(0, 1)]
    parts: list[Markup] = [chart.across(frame, ticks, "share right, %", grid=True)]
    told = []
    for place, group in enumerate(found):
        top = frame.top + block * place
        middle = top + block / 2
        parts.append(chart.text_at(frame.left - 10, middle, group.name, anchor="end", kind="value"))
        parts.append(chart.text_at(frame.left - 10, middle + 14, f"n = {group.n:,}", anchor="end"))
        if place:
            parts.append(chart.mark_line(4, top, frame.right, top, "grid"))
        rates = {"clean": group.clean, **{k: group.attacked[k] for k in keys if k in group.attacked}}
        for row, (name, rate) in enumerate(rates.items()):
            y = middle + _ROW * (row - (len(series) - 1) / 2)
            says = f"{group.name}, {_radius(name)}: {words.rate(rate)}"
            if rate.n:
                parts.append(chart.whisker(x(rate.low), x(rate.high), y, series[name]))
            parts.append(chart.marker(x(rate.value), y, series[name], says, kind="hollow" if name == "clean" else ""))
        told.append(
            f"{group.name} (n = {group.n:,}) "
            + ", ".join(f"{words.percent(rate.value)} {_radius(name)}" for name, rate in rates.items())
        )
    legend = tuple(
        Legend(chart.swatch(series[name], kind="hollow" if name == "clean" else "", lined=False), _radius(name))
        for name in series
    )
    label = f"{title}: {'; '.join(told)}."
    drawing = svg.drawing(chart.WIDTH, height, *parts, label=label, class_="chart")
    return Figure(key, title, f"{reading}; the whiskers are 95 % intervals.", drawing, legend)


def _radius(key: str) -> str:
    return "clean" if key == "clean" else f"at {words.eps(words.radius(key))}"


def _table(caption: str, found: Sequence[Group]) -> Table:
    keys = _keys(found)
    return Table(
        caption,
        ("Group", "n", "clean", *(words.eps(words.radius(key)) for key in keys)),
        tuple(
            (
                group.name,
                f"{group.n:,}",
                words.rate(group.clean, n=False),
                *(words.rate(group.attacked[key], n=False) if key in group.attacked else "–" for key in keys),
            )
            for group in found
        ),
    )


def _confusions(audit: Audit) -> tuple[tuple[Table, ...], tuple[Table, ...]]:
    """Those of the audited form, clean and in the worst case at the first budget; and all others."""
    radii = attacked_radii(audit)
    first = [find_score(audit, "clean", 0.0), find_score(audit, "worst case", radii[0]) if radii else None]
    shown = [score for score in first if score is not None]
    others = [score for score in audit.scores if score not in shown]
    return tuple(_confusion(s, audit) for s in shown), tuple(_confusion(s, audit) for s in others)


def _side_by_side(key: str, title: str, tables: tuple[Table, ...]) -> Figure:
    return Figure(
        key,
        title,
        "A row is what a record is, a column what the file makes of it; shades show shares of the row.",
        tables,
        wide=True,
    )


def _confusion(score: Score, audit: Audit) -> Table:
    """Counts, each row shaded by its shares."""
    names = [words.class_name(name, audit.model.classes) for name in audit.model.classes]
    form = FORMS.get(score.form, ("", score.form))[1]
    radius = "" if score.eps_uv == 0 else f" at {words.eps(score.eps_uv)}"
    rows: list[tuple[Cell | str, ...]] = []
    for place, (name, row) in enumerate(zip(names, score.confusion, strict=True)):
        n = sum(row)
        cells = (Cell(f"{m:,}", share=m / n if n else 0.0, strong=i == place) for i, m in enumerate(row))
        rows.append((name, *cells, words.percent(row[place] / n) if n else "–"))
    caption = f"{form}, {ATTACKS.get(score.attack, score.attack)}{radius}"
    return Table(caption, ("is \\ read as", *names, "right"), tuple(rows))
