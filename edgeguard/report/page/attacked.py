"""Attacked records on ECG paper, with what the file made of them before and after."""

from edgeguard.evaluation.audit.result import Audit, Picture
from edgeguard.report.page import chart, words
from edgeguard.report.page.ecg_strip import COARSE, lanes_of, most_telling, strip
from edgeguard.report.page.parts import Figure, Folded, Legend, Note, Section
from edgeguard.report.page.robustness import ATTACKS
from edgeguard.report.paper import GAIN, SPEED

SHOWN_SECONDS = 10.0


def attacked(audit: Audit) -> Section:
    """A strip a picture, and the whole record folded away."""
    pictures = audit.pictures
    if not pictures:
        note = "No attacked record is drawn: the attacks fooled none of those that were looked at, or none was kept."
        return Section("ecgs", "Attacked ECGs", "ECGs", note, (Note("There is nothing to draw.", missing=True),))
    body: list[Figure | Folded | Note] = []
    for place, picture in enumerate(pictures, 1):
        body.append(_figure(audit, picture, f"ecg-{place}"))
        if picture.length > round(SHOWN_SECONDS * picture.sampling_rate):
            body.append(
                Folded(f"The whole of record {picture.record}", (_whole(audit, picture, f"ecg-{place}-whole"),))
            )
    lead = (
        f"{words.plural(len(pictures), 'attacked record')}, true to scale: {SPEED:g} mm a second, {GAIN:g} mm a "
        "millivolt; each opens where the perturbation weighs most in the decision."
    )
    return Section("ecgs", "Attacked ECGs", "ECGs", lead, tuple(body))


def _figure(audit: Audit, picture: Picture, key: str) -> Figure:
    start, count = most_telling(picture, SHOWN_SECONDS)
    lanes = lanes_of(picture, start, count)
    times = words.number(float(f"{lanes.magnification:.2g}"))
    beneath = f"beneath it the perturbation, {times} times larger, within ±{picture.eps_uv:g} µV (dashed)"
    if lanes.heaviest is None:
        reading = f"On the paper both traces, {beneath}; how much each sample weighs is not known, for want of a twin."
    else:
        reading = (
            f"On the paper both traces, {beneath}, and how much each moment weighs in the decision before and after."
        )
    return Figure(
        key, _title(audit, picture), reading, strip(picture, start, count), _legend(lanes.heaviest), wide=True
    )


def _whole(audit: Audit, picture: Picture, key: str) -> Figure:
    seconds = words.number(picture.length / picture.sampling_rate)
    content = strip(picture, picture.left, picture.length, columns=COARSE)
    title = f"Record {picture.record}, all {seconds} s"
    return Figure(key, title, "Five seconds a panel, in order, as above.", content, wide=True)


def _title(audit: Audit, picture: Picture) -> str:
    true, before, after = (
        words.class_name(name, audit.model.classes)
        for name in (picture.true, picture.clean_class, picture.attacked_class)
    )
    attack = ATTACKS.get(picture.attack, picture.attack)
    return (
        f"Record {picture.record}, {true}: read as {before} ({words.whole_percent(picture.clean_probability)}), after "
        f"{attack} at {words.eps(picture.eps_uv)} as {after} ({words.whole_percent(picture.attacked_probability)})"
    )


def _legend(heaviest: float | None) -> tuple[Legend, ...]:
    traces = (
        Legend(chart.block("squares"), f"{SPEED:g} mm/s, {GAIN:g} mm/mV"),
        Legend(chart.stroke("trace before"), "original"),
        Legend(chart.stroke("trace after"), "attacked"),
    )
    if heaviest is None:
        return traces
    weights = ("before", "weight in the decision before"), ("after", "and after the attack")
    return (*traces, *(Legend(chart.block(f"weight {kind}"), name) for kind, name in weights))
