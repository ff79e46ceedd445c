"""Whether the file is what it claims to be, and whether the attacks were sharp: rungs and masking checks."""

from edgeguard.evaluation.audit.result import Audit
from edgeguard.report.page import words
from edgeguard.report.page.parts import STATES, Cell, Section, Table

_STATE_WORDS = {"holds": "holds", "fails": "fails", "undecided": "undecided", "skipped": "not asked"}
RUNG_NAMES = {
    "checker": "onnx's checker",
    "torch_fp32": "torch against float graph",
    "fp32_int8": "fp32 against int8",
    "census": "operator census",
    "host_form": "stored against host form",
    "twin": "twin against file",
    "reference": "reference evaluator",
    "batch": "alone against batch",
    "saturation": "saturation",
    "golden": "golden vectors",
    "stream": "stream against window",
}


def ladder(audit: Audit) -> Section:
    """The rungs in the order of climbing."""
    title = "Export ladder"
    if not audit.ladder:
        return Section("ladder", title, "Ladder", "The ladder was not climbed.")
    rows = []
    for rung in audit.ladder:
        state = "skipped" if rung["holds"] is None else STATES[rung["holds"]]
        figure = "–" if rung.get("figure") is None else words.number(rung["figure"])
        name = RUNG_NAMES.get(rung["name"], rung["name"].replace("_", " "))
        meaning, note = words.sentence(rung.get("meaning", "")), words.sentence(rung.get("note", ""))
        rows.append((name, Cell(_STATE_WORDS[state], state), figure, meaning, note or "–"))
    table = Table(
        "Each rung computes the same thing in two ways, or proves a property of the file",
        ("Rung", "Told", "Figure", "Of what", "Note"),
        tuple(rows),
        words=frozenset({1, 3, 4}),
    )
    lead = f"Is the file what it claims to be? {_counted([rung['holds'] for rung in audit.ladder], 'rung')}"
    return Section("ladder", title, "Ladder", lead, (table,))


def masking(audit: Audit) -> Section:
    """The checks that tell a robust file from a blunt attack."""
    title = "Gradient masking"
    if not audit.masking:
        return Section("masking", title, "Masking", "No masking check was made, so a blunt attack cannot be excluded.")
    rows = tuple(
        (
            check.name.replace("_", " "),
            Cell(_STATE_WORDS[STATES[check.holds]], STATES[check.holds]),
            "–" if check.figure is None else words.number(check.figure),
            words.number(check.bar),
            words.sentence(check.message),
        )
        for check in audit.masking
    )
    table = Table(
        "Each check asks one thing about the attack; where one fails, the robust accuracy above is too high",
        ("Check", "Told", "Figure", "Bar", "In words"),
        rows,
        words=frozenset({1, 4}),
    )
    lead = (
        f"Were the attacks sharp, or is their gradient of no use? {_counted([c.holds for c in audit.masking], 'check')}"
    )
    return Section("masking", title, "Masking", lead, (table,))


def _counted(told: list[bool | None], noun: str) -> str:
    """How many of all hold, and how many fail."""
    failed, unknown = told.count(False), told.count(None)
    parts = [f"{told.count(True)} of {words.plural(len(told), noun)} hold"]
    parts += [f"{failed} fail" if failed != 1 else "1 fails"] if failed else []
    parts += [f"{unknown} could not be told"] if unknown else []
    return f"{words.listed(parts)}."
