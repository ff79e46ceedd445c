"""Whether probabilities mean what they say, and what saying nothing below one of them would bring."""

from edgeguard.evaluation.audit.result import Abstention, Audit, Confidence, Rate
from edgeguard.report.page import chart, svg, words
from edgeguard.report.page.parts import Figure, Folded, Legend, Note, Section, Table
from edgeguard.report.page.scales import Scale, round_ticks

_HEIGHT = 330


def confidence(audit: Audit) -> Section:
    """Reliability diagram, calibration error, abstention."""
    found = audit.confidence
    key, title, short = "confidence", "Confidence", "Confidence"
    if found is None:
        return Section(
            key, title, short, "Nothing was made of probabilities: the file gives none, or none was asked for."
        )
    body: list[Figure | Folded | Note] = []
    if found.bins:
        body.append(_reliability(found))
    else:
        body.append(Note("There are no bins to draw.", missing=True))
    if found.abstention is None:
        body.append(Note("No threshold for abstention was chosen.", missing=True))
    else:
        body.append(_abstention(found.abstention))
    if found.bins:
        body.append(Folded("The bins in numbers", (_table(found),)))
    sharp = "overconfident" if found.temperature > 1 else "underconfident"
    lead = (
        f"Expected calibration error {words.rate(found.expected_error)}; a temperature of "
        f"{words.number(found.temperature)} would fit the probabilities best"
        f"{f', so they are {sharp}' if found.temperature != 1 else ''}."
    )
    return Section(key, title, short, lead, tuple(body))


def _reliability(found: Confidence) -> Figure:
    frame = chart.frame(_HEIGHT)
    low = min(0.5, *(one.confidence for one in found.bins), *(one.accuracy.low for one in found.bins))
    low = int(low * 10) / 10
    x, y = Scale(low, 1, frame.left, frame.right - 6), Scale(low, 1, frame.bottom, frame.top)
    ticks = round_ticks(low, 1)
    parts = [
        chart.upwards(frame, [(y(v), f"{100 * v:.0f}") for v in ticks], "share right, %"),
        chart.across(frame, [(x(v), f"{100 * v:.0f}") for v in ticks], "probability of the class that was named, %"),
        chart.mark_line(x(low), y(low), x(1), y(1), "zero"),
    ]
    if found.abstention is not None and found.abstention.threshold > low:
        at, share = x(found.abstention.threshold), words.whole_percent(found.abstention.threshold)
        parts += [
            chart.mark_line(at, frame.top, at, frame.bottom, "limit"),
            chart.text_at(at - 5, frame.bottom - 8, f"abstain below {share}", anchor="end")
            if at > (frame.left + frame.right) / 2
            else chart.text_at(at + 5, frame.bottom - 8, f"abstain below {share}"),
        ]
    told = []
    xs, ys = [x(one.confidence) for one in found.bins], [y(one.accuracy.value) for one in found.bins]
    for one, at, height in zip(found.bins, xs, ys, strict=True):
        says = f"says {words.percent(one.confidence)}, right {words.rate(one.accuracy)}"
        if one.accuracy.n:
            parts.append(chart.upright(at, y(one.accuracy.low), y(one.accuracy.high), "s3"))
        parts.append(chart.marker(at, height, "s3", says))
        told.append(says)
    label = f"Reliability in {words.plural(len(found.bins), 'bin')} of equally many records: {'; '.join(told)}."
    return Figure(
        "reliability",
        "Reliability",
        "On the dashed diagonal the file is right as often as it says, below it too sure; whiskers are 95 % intervals.",
        svg.drawing(chart.WIDTH, _HEIGHT, *parts, label=label, class_="chart"),
        (Legend(chart.swatch("s3", lined=False), "a bin of records"),),
    )


def _abstention(found: Abstention) -> Figure:
    """Coverage and accuracy of what is answered, as intervals."""
    rows: list[tuple[str, str, Rate | None]] = [
        ("answered", "s1", found.coverage),
        ("right of these", "s3", found.accuracy),
        ("answered, attacked", "s1", found.attacked_coverage),
        ("right, attacked", "s3", found.attacked_accuracy),
    ]
    known = [(name, series, rate) for name, series, rate in rows if rate is not None]
    frame = chart.frame(_HEIGHT, left=154)
    row = (frame.bottom - frame.top) / len(known)
    x = Scale(0, 1, frame.left, frame.right)
    parts = [
        chart.across(frame, [(x(v), f"{100 * v:.0f}") for v in round_ticks(0, 1)], "share, %", grid=True),
        chart.mark_line(x(found.target), frame.top, x(found.target), frame.bottom, "limit"),
    ]
    for place, (name, series, rate) in enumerate(known):
        y = frame.top + row * (place + 0.5)
        parts += [
            chart.text_at(frame.left - 10, y, name, anchor="end", kind="value"),
            chart.text_at(frame.left - 10, y + 15, words.percent(rate.value), anchor="end"),
            chart.whisker(x(rate.low), x(rate.high), y, series),
            chart.marker(x(rate.value), y, series, f"{name}: {words.rate(rate)}"),
        ]
    told = "; ".join(f"{name} {words.rate(rate)}" for name, _, rate in known)
    label = f"Abstaining below {words.percent(found.threshold)}: {told}."
    aim = (
        f"The threshold of {words.percent(found.threshold)} was chosen for {words.percent(found.target)} right (dashed)"
    )
    return Figure(
        "abstention",
        "Saying nothing below a probability",
        f"{aim}; what is not answered is left to the next window, and whiskers are 95 % intervals.",
        svg.drawing(chart.WIDTH, _HEIGHT, *parts, label=label, class_="chart"),
    )


def _table(found: Confidence) -> Table:
    return Table(
        "Records by the probability of the class that was named",
        ("Probability", "mean", "right", "n"),
        tuple(
            (
                f"{100 * one.low:.1f} – {100 * one.high:.1f} %",
                words.percent(one.confidence),
                words.rate(one.accuracy, n=False),
                f"{one.accuracy.n:,}",
            )
            for one in found.bins
        ),
    )
