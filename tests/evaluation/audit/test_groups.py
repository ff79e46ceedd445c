"""Records by class and by noise."""

import numpy as np
import pytest

from edgeguard.evaluation.audit.groups import by_class, by_noise
from edgeguard.evaluation.evaluate import Evaluation, Judged
from edgeguard.evaluation.portfolio import Attack

LABELS = np.array([0, 0, 0, 1, 1])
CLEAN = np.array([0, 0, 1, 1, 1])
FALLEN = {10.0: np.array([0, 1, 0, 1, 1]), 50.0: np.array([1, 1, 1, 0, 1])}


def evaluations() -> dict[float, Evaluation]:
    return {
        eps: Evaluation(
            ("N", "A"),
            LABELS,
            [Judged(Attack("clean"), None, CLEAN), Judged(Attack("pgd", eps), "II", attacked, gradient="twin")],
        )
        for eps, attacked in FALLEN.items()
    }


def test_classes_by_hand() -> None:
    normal, fibrillation = by_class(evaluations())
    assert (normal.name, normal.n, normal.clean.value) == ("N", 3, pytest.approx(2 / 3))
    assert {eps: rate.value for eps, rate in normal.attacked.items()} == {"10": pytest.approx(1 / 3), "50": 0}
    assert (fibrillation.clean.value, fibrillation.attacked["10"].value, fibrillation.attacked["50"].value) == (
        1,
        1,
        0.5,
    )


def test_bands_part_the_records() -> None:
    groups = by_noise(evaluations(), np.array([-3.0, 5.0, 14.9, 15.0, np.nan]))
    assert [(group.name, group.n) for group in groups] == [
        ("below 5 dB", 1),
        ("5 to 15 dB", 2),
        ("above 15 dB", 1),
        ("not to be told", 1),
    ]
    assert [group.clean.value for group in groups] == [1, 0.5, 1, 1]
    assert [group.attacked["10"].value for group in groups] == [1, 0, 1, 1]
    assert by_noise(evaluations(), np.full(5, np.nan)) == ()
