"""What was judged, with which settings, by what, and how to repeat it."""

from collections.abc import Iterator
from typing import Any

from edgeguard.evaluation.audit.result import Audit
from edgeguard.report.page import words
from edgeguard.report.page.parts import Folded, Part, Section, Table


def provenance(audit: Audit) -> Section:
    """The facts that make an audit repeatable."""
    origin = audit.provenance
    folded = [
        ("Thresholds", _pairs("As read, defaults filled in", ("Threshold", "Value"), list(_flat(audit.thresholds)))),
        ("Software and processor", _pairs("Versions", ("Part", "Version"), _machine(audit))),
        ("Time by section", _pairs("Seconds", ("Section", "Took"), _times(audit))),
        ("Files beside this one", _pairs("Files", ("What", "Path"), list(audit.files.items()))),
    ]
    parts: list[Part] = [_judged(audit), _records(audit)]
    parts += [Folded(name, (table,)) for name, table in folded if table.rows]
    lead = f"Made on {origin.date} with seed {origin.seed}; the command below repeats it."
    return Section("provenance", "Provenance", "Provenance", lead, tuple(parts))


def _judged(audit: Audit) -> Table:
    model = audit.model
    step = "–" if model.input_step_uv is None else f"{model.input_step_uv:g} µV"
    rows = [
        ("File", model.path),
        ("SHA-256", model.sha256),
        ("Size", f"{model.bytes:,} bytes"),
        ("Form", model.form),
        ("Architecture", model.arch or "not told by the file"),
        ("Defence", model.defense or "not told by the file"),
        ("Classes", ", ".join(model.classes)),
        ("Input", f"{model.window:,} samples at {model.sampling_rate:g} Hz, step {step}"),
        ("Exported from weights", model.parent or "not told by the file"),
        ("Held against", model.compared_with or "nothing"),
        ("Audit", f"{audit.schema}, size {audit.size}, white-box profile {audit.profile_version or audit.profile}"),
    ]
    return _pairs("The file", ("Fact", "Value"), rows)


def _records(audit: Audit) -> Table:
    data = audit.data
    by_class = ", ".join(f"{words.class_name(k, audit.model.classes)} {v:,}" for k, v in data.by_class.items())
    rows = [
        ("Source", data.source),
        ("Part", data.part),
        ("Records", f"{data.n:,}"),
        ("By class", by_class or "–"),
        ("Fingerprint", data.fingerprint),
    ]
    return _pairs("The records", ("Fact", "Value"), rows)


def _machine(audit: Audit) -> list[tuple[str, str]]:
    origin = audit.provenance
    rows = list(origin.versions.items())
    return rows + [(f"processor, {key}", words.plain(value)) for key, value in origin.processor.items()]


def _times(audit: Audit) -> list[tuple[str, str]]:
    seconds = audit.provenance.seconds
    rows = [(name, words.duration(value)) for name, value in seconds.items()]
    return [*rows, ("in all", words.duration(sum(seconds.values())))] if rows else []


def _flat(value: dict[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as `a.b.c` and their values."""
    for key, item in value.items():
        name = f"{before}{key}"
        if isinstance(item, dict):
            yield from _flat(item, f"{name}.")
        else:
            yield name, words.plain(item)


def _pairs(caption: str, head: tuple[str, str], rows: list[tuple[str, str]]) -> Table:
    return Table(caption, head, tuple(rows), words=frozenset({1}))
