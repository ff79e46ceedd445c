"""The conditions of the verdict, each with its figure, its bar and how it was decided."""

from edgeguard.evaluation.audit.result import Audit, Check
from edgeguard.report.page import words
from edgeguard.report.page.parts import STATES, Cell, Folded, Note, Section, Table

_ORDER = {"fails": 0, "undecided": 1, "holds": 2, "skipped": 3}
_SENSES = {"least": "at least ", "most": "at most "}


def conditions(audit: Audit) -> Section:
    """All of them, the gravest first."""
    checks = sorted(audit.checks, key=lambda check: _ORDER[state_of(check)])
    if not checks:
        return Section("conditions", "Conditions", "Conditions", "No condition was set.")
    counts = {state: sum(state_of(check) == state for check in checks) for state in _ORDER}
    told = [f"{count} {_COUNTED[state]}" for state, count in counts.items() if count]
    lead = f"{words.plural(len(checks), 'condition')}: {words.listed(told)}."
    grave = [check for check in checks if state_of(check) in ("fails", "undecided")]
    rest = [check for check in checks if check not in grave]
    body: list[Table | Folded | Note] = []
    if grave:
        body.append(_table("Conditions that fail, or that could not be decided", grave))
    if rest:
        name = f"The other {len(rest):,}" if grave else "All of them"
        body.append(Folded(name, (_table("Conditions", rest),)))
    body.append(
        Folded(
            "How they make a verdict",
            (
                Note(
                    "A condition with an interval holds where the whole interval keeps to the bar, and fails where "
                    "none of it does; else it is undecided. One that fails makes the verdict degraded. Else one that "
                    "is undecided makes it inconclusive, or in the quick size, which decides nothing, screened. "
                    "Else the file survives. What has no bar is told and decides nothing."
                ),
            ),
        )
    )
    return Section("conditions", "Conditions of the verdict", "Conditions", lead, tuple(body))


def state_of(check: Check) -> str:
    """`skipped` for what has no bar: it decides nothing."""
    return "skipped" if check.holds is None and check.bar is None else STATES[check.holds]


_COUNTED = {"fails": "fail", "undecided": "undecided", "holds": "hold", "skipped": "without a bar"}


def _table(caption: str, checks: list[Check]) -> Table:
    return Table(
        caption,
        ("Condition", "Decided", "Figure", "Bar", "In words", "Belongs to"),
        tuple(
            (
                check.name.replace("_", " "),
                Cell(_STATE_WORDS[state_of(check)], state_of(check)),
                _figure(check),
                "–" if check.bar is None else _SENSES.get(check.sense or "", "") + words.number(check.bar),
                words.sentence(check.reason),
                check.section,
            )
            for check in checks
        ),
        words=frozenset({1, 4, 5}),
    )


_STATE_WORDS = {"fails": "fails", "undecided": "undecided", "holds": "holds", "skipped": "no bar"}


def _figure(check: Check) -> str:
    text = "–" if check.figure is None else words.number(check.figure)
    if check.low is None or check.high is None:
        return text
    return f"{text} [{words.number(check.low)}, {words.number(check.high)}]"
