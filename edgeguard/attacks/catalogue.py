"""The decision-based attacks by name, and a user's own."""

import inspect
from typing import Any

from edgeguard.attacks.boundary import Boundary
from edgeguard.attacks.hop_skip_jump import HopSkipJump
from edgeguard.attacks.own_black_box import own_attack
from edgeguard.attacks.rays_sap import RaysSap
from edgeguard.attacks.smooth_geo import SmoothGeo
from edgeguard.attacks.walk import Attack
from edgeguard.errors import InputError
from edgeguard.runtime.registry import Registry, reported

ATTACKS: dict[str, type[Any]] = {attack.name: attack for attack in (SmoothGeo, RaysSap, Boundary, HopSkipJump)}

REGISTRY = Registry(
    ATTACKS,
    kind="attack",
    option="--attack",
    function="edgeguard.register_attack",
    group="edgeguard.attacks",
)


def register_attack(name: str) -> None:
    """Import a user's own attack, so that `evaluate` (by gradients) or `attack` (by labels) may name it.

    Importing runs the module's code, so only a name that a person typed is registered.

    Args:
        name: `module:name`; the module is looked for in the working directory first. An installed name is left as it
            is.

    Raises InputError for another name, and for an object that cannot be imported.
    """
    REGISTRY.register(name)


def make_attack(name: str, **settings: Any) -> Attack:
    """An attack with its default settings but those given; a setting of None is not given.

    Args:
        name: a built-in or installed one, or `module:name` of a registered class of a user's own, made without
            arguments but the settings; an `edgeguard.attacks.walk.Attack` then (docs/extending.md).

    Raises InputError for a setting that the attack lacks, and for an object that is no attack.
    """
    kind = REGISTRY.get(name)
    given = {key: value for key, value in settings.items() if value is not None}
    lacking = [key for key in given if key not in getattr(kind, "__dataclass_fields__", ())]
    if lacking:
        raise InputError(f"--{lacking[0].replace('_', '-')}: {name} has no such setting; leave it out")
    if name in ATTACKS:
        built_in: Attack = kind(**given)
        return built_in
    if inspect.isfunction(kind) and inspect.signature(kind).parameters:
        raise InputError(
            f"--attack {name}: is a function, as an attack by gradients is, which edgeguard evaluate takes; an attack "
            "by labels is a class with name, norm and walk"
        )
    with reported(f"--attack {name}: its class"):
        attack = kind(**given)
    return own_attack(name, attack)
