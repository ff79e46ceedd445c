"""The defences as a table: each a row of data, none a class."""

from dataclasses import dataclass

from edgeguard.errors import InputError


@dataclass(frozen=True)
class Defense:
    """One training stage, and whose soft labels it learns from.

    Attributes:
        adversarial: train on clean and adversarial records (ADT paper, eq. 6) or on clean ones only.
        teacher: the defence whose finished network gives the soft labels; None trains on hard labels.
    """

    adversarial: bool
    teacher: str | None = None


DEFENSES: dict[str, Defense] = {
    "none": Defense(adversarial=False),
    "at": Defense(adversarial=True),
    "adt": Defense(adversarial=True, teacher="at"),
}

PLANNED = ("jr", "nsr", "dd", "init-adt", "dist-adt", "at-long", "at-smooth", "trades")
"""Named in the command line's contract, not trained by this version."""


def defense(name: str) -> Defense:
    """The row of that name; InputError lists the names there are."""
    if name not in DEFENSES:
        known = "not in this version" if name in PLANNED else "unknown"
        raise InputError(f"--defense {name}: {known}; choose {', '.join(DEFENSES)}")
    return DEFENSES[name]
