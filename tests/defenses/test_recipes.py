import pytest

from edgeguard.defenses.objectives import OBJECTIVES
from edgeguard.defenses.recipes import DEFENSES, Defense, defense
from edgeguard.errors import InputError


def test_the_eight_rows_are_those_of_the_paper():
    """Its sections 3 and 4: which stage sees adversarial records, and which comes first."""
    stages = {  # the teacher, or None, and whether teacher and student are trained adversarially
        "none": (None, None, False),
        "jr": (None, None, False),
        "nsr": (None, None, False),
        "dd": ("none", False, False),
        "at": (None, None, True),
        "init-adt": ("at", True, False),
        "dist-adt": ("none", False, True),
        "adt": ("at", True, True),
    }
    assert list(DEFENSES)[:8] == list(stages)
    for name, (teacher, first, second) in stages.items():
        row = DEFENSES[name]
        assert (row.teacher, row.adversarial) == (teacher, second)
        assert teacher is None or DEFENSES[teacher].adversarial is first
        assert (row.rounds, row.smooth_labels) == (1, False)


def test_the_controls_differ_from_adversarial_training_in_one_thing():
    assert list(DEFENSES)[8:] == ["at-long", "at-smooth", "trades"]
    assert DEFENSES["at-long"] == Defense(adversarial=True, rounds=2)
    assert DEFENSES["at-smooth"] == Defense(adversarial=True, smooth_labels=True)
    assert DEFENSES["trades"] == Defense(adversarial=True, objective="trades")


def test_every_teacher_is_a_row_and_has_no_teacher():
    for row in DEFENSES.values():
        assert row.teacher is None or DEFENSES[row.teacher].teacher is None


def test_every_objective_is_there_and_used():
    assert {row.objective for row in DEFENSES.values()} == set(OBJECTIVES)


@pytest.mark.parametrize("name", DEFENSES)
def test_a_row_is_found_by_its_name(name: str):
    assert defense(name) is DEFENSES[name]


@pytest.mark.parametrize("name", ["trust", "", "ADT", "at "])
def test_an_unknown_defence_is_refused_with_all_that_there_are(name: str):
    with pytest.raises(InputError) as caught:
        defense(name)
    said = str(caught.value)
    assert said.startswith(f"--defense {name}: unknown; ") and said.endswith(
        "choose none, jr, nsr, dd, at, init-adt, dist-adt, adt, at-long, at-smooth, trades or MODULE:NAME"
    )
