"""The defences as a table: each a row of data, none a class."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from edgeguard.errors import InputError
from edgeguard.runtime.registry import Registry


@dataclass(frozen=True)
class Defense:
    """One training stage, and whose soft labels it learns from.

    A defence of a user's own is such a row in a module of theirs, named with `--defense MODULE:NAME` or registered as
    an entry point of the group `edgeguard.defenses` (docs/extending.md).

    Attributes:
        adversarial: train on clean and adversarial records (ADT paper, eq. 6) or on clean ones only.
        teacher: the defence whose finished network gives the soft labels; None trains on hard labels.
        objective: the loss of one step: its name in `edgeguard.defenses.objectives.OBJECTIVES`, or a function, an
            `edgeguard.defenses.Objective`.
        smooth_labels: hard labels are mixed with the uniform distribution (Szegedy et al. 2016).
        rounds: how many times the preset's epochs this stage is given.
        crafting: how the adversarial records are made, an `edgeguard.defenses.Crafting`; None: as `--crafting` says.
        warm_up: epochs before the objective's regulariser sets in, where `--warm-up` is not given; None: the preset's.
    """

    adversarial: bool = False
    teacher: str | None = None
    objective: str | Callable[..., Any] = "cross-entropy"
    smooth_labels: bool = False
    rounds: int = 1
    crafting: Callable[..., Any] | None = None
    warm_up: int | None = None


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

REGISTRY = Registry(
    DEFENSES,
    kind="defence",
    option="--defense",
    function="edgeguard.register_defense",
    group="edgeguard.defenses",
)


def register_defense(name: str) -> None:
    """Import a user's own defence, so that trainings may name it.

    Importing runs the module's code, so only a name that a person typed is registered: a file that names one which is
    not registered is refused.

    Args:
        name: `module:name` of an `edgeguard.defenses.Defense`; the module is looked for in the working directory
            first. A built-in or installed name is left as it is.

    Raises InputError for another name, and for an object that cannot be imported or is no `Defense`.
    """
    REGISTRY.register(name)
    defense(name)


def defense(name: str) -> Defense:
    """The row of that name; InputError lists the names there are."""
    row = REGISTRY.get(name)
    if not isinstance(row, Defense):
        raise InputError(f"--defense {name}: is {type(row).__name__}, an edgeguard.defenses.Defense is needed")
    return row
