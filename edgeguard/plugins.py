"""What a defence or an attack of your own is made of; docs/extending.md shows each in use.

`Defense`, `Batch`, `TrainConfig` and `craft` are for defences, `Request`, `Task` and `ask` for attacks by labels. An
attack by gradients is a plain function and needs none of them. Each is loaded when it is first asked for, so that an
attack by labels does not load torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeguard.attacks.own_white_box import WhiteBox
    from edgeguard.attacks.walk import Request, Task, Walk, ask
    from edgeguard.defenses.batch import Batch
    from edgeguard.defenses.config import TrainConfig
    from edgeguard.defenses.crafting import Crafting, craft
    from edgeguard.defenses.objectives import Objective
    from edgeguard.defenses.recipes import Defense

__all__ = [
    "Batch",
    "Crafting",
    "Defense",
    "Objective",
    "Request",
    "Task",
    "TrainConfig",
    "Walk",
    "WhiteBox",
    "ask",
    "craft",
]

_HOMES = {
    "Batch": "edgeguard.defenses.batch",
    "Crafting": "edgeguard.defenses.crafting",
    "Defense": "edgeguard.defenses.recipes",
    "Objective": "edgeguard.defenses.objectives",
    "Request": "edgeguard.attacks.walk",
    "Task": "edgeguard.attacks.walk",
    "TrainConfig": "edgeguard.defenses.config",
    "Walk": "edgeguard.attacks.walk",
    "WhiteBox": "edgeguard.attacks.own_white_box",
    "ask": "edgeguard.attacks.walk",
    "craft": "edgeguard.defenses.crafting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
