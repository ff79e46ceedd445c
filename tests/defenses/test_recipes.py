import pytest

from edgeguard.defenses.recipes import DEFENSES, PLANNED, Defense, defense
from edgeguard.errors import InputError


def test_the_rows_are_those_of_the_paper():
    assert DEFENSES["none"] == Defense(adversarial=False, teacher=None)
    assert DEFENSES["at"] == Defense(adversarial=True, teacher=None)
    assert DEFENSES["adt"] == Defense(adversarial=True, teacher="at")


def test_every_teacher_is_a_row_and_has_no_teacher():
    for row in DEFENSES.values():
        assert row.teacher is None or DEFENSES[row.teacher].teacher is None


@pytest.mark.parametrize("name", DEFENSES)
def test_a_row_is_found_by_its_name(name: str):
    assert defense(name) is DEFENSES[name]


@pytest.mark.parametrize("name", PLANNED)
def test_a_planned_defence_is_refused_as_such(name: str):
    assert name not in DEFENSES
    with pytest.raises(InputError, match=f"--defense {name}: not in this version; choose none, at, adt"):
        defense(name)


def test_an_unknown_defence_is_refused():
    with pytest.raises(InputError, match="--defense trust: unknown; choose none, at, adt"):
        defense("trust")
