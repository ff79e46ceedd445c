"""The defences as a table: each a row of data, none a class."""

from dataclasses import dataclass

from edgeguard.errors import InputError


@dataclass(frozen=True)
class Defense:
    """One training stage, and whose soft labels it learns from.

    Attributes:
        adversarial: train on clean and adversarial records (ADT paper, eq. 6) or on clean ones only.
        teacher: the defence whose finished network gives the soft labels; None trains on hard labels.
        objective: name in `edgeguard.defenses.objectives.OBJECTIVES` of the loss of one step.
        smooth_labels: hard labels are mixed with the uniform distribution (Szegedy et al. 2016).
        rounds: how many times the preset's epochs this stage is given.
    """

    adversarial: bool = False
    teacher: str | None = None
    objective: str = "cross-entropy"
    smooth_labels: bool = False
    rounds: int = 1


DEFENSES: dict[str, Defense] = {
    "none": Defense(),
    "jr": Defense(objective="jacobian"),
    "nsr": Defense(objective="noise-to-signal"),
    "dd": Defense(teacher="none"),
    "at": Defense(adversarial=True),
    "init-adt": Defense(teacher="at"),
    "dist-adt": Defense(adversarial=True, teacher="none"),
    "adt": Defense(adversarial=True, teacher="at"),
    "at-long": Defense(adversarial=True, rounds=2),
    "at-smooth": Defense(adversarial=True, smooth_labels=True),
    "trades": Defense(adversarial=True, objective="trades"),
}
"""The eight defences that the ADT paper compares (its sections 3 and 4), then three controls that it lacks:

adversarial training with as many updates as ADT has, with smoothed labels, and TRADES (Zhang et al. 2019).
"""


def defense(name: str) -> Defense:
    """The row of that name; InputError lists the names there are."""
    if name not in DEFENSES:
        raise InputError(f"--defense {name}: unknown; choose {', '.join(DEFENSES)}")
    return DEFENSES[name]
