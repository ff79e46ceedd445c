"""What people read of an evaluation."""

from typing import Any

import numpy as np

from edgeguard.evaluation.evaluate import Evaluation, Judged, summary
from edgeguard.evaluation.portfolio import Attack
from edgeguard.report.evaluation_table import evaluation_table

LABELS = np.array([0, 0, 1, 1, 2, 3])
CLASSES = ("N", "A", "O", "~")


def table(classes: tuple[str, ...], *felled: int) -> str:
    """Clean records, then a cascade of PGD attacks, each of which turned so many records."""
    entries = [Judged(Attack("clean"), None, LABELS)]
    state = LABELS.copy()
    for place, count in enumerate(felled):
        attacked, before = state == LABELS, state.copy()
        turned = np.flatnonzero(attacked)[:count]
        state = before.copy()
        state[turned] = (LABELS[turned] + 1) % len(classes)
        entries.append(
            Judged(Attack("pgd", 10.0, 1.0, place + 1), "II", state.copy(), gradient="run", attacked=attacked)
        )
    report: dict[str, Any] = summary(Evaluation(classes, LABELS, entries))
    about = {"model": "m", "n": len(LABELS), "data": "d", "profile": "strict", "checks": []}
    return evaluation_table({**about, **report}, classes)


def test_of_a_cascade_only_what_turned_a_record_is_listed() -> None:
    lines = table(CLASSES, 2, 0, 1, 0, 0).splitlines()
    assert [line.split(" uV")[1][:4] for line in lines if line.startswith("PGD")] == [" (1)", " (3)"]
    assert "3 further attacks of the cascade turned no record" in lines
    assert not any("further attacks" in line for line in table(CLASSES, 2, 1).splitlines())


def test_the_official_score_and_the_alarms_stand_beneath() -> None:
    lines = table(CLASSES, 3).splitlines()
    (head,) = [line for line in lines if "A: false alarms" in line]
    assert head.split("  ")[0] == "" and "F1 of N, A, O" in head
    rows = [line for line in lines[lines.index(head) :] if line.startswith(("clean ", "worst case "))]
    assert "1.000" in rows[0] and "0.500" in rows[-1], "one of two A is left"


def test_without_the_class_that_a_watch_announces_there_is_no_such_table() -> None:
    assert "false alarms" not in table(("w", "x", "y", "z"), 1)
