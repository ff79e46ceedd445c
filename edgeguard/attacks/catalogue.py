"""The decision-based attacks by name."""

from typing import Any

from edgeguard.attacks.boundary import Boundary
from edgeguard.attacks.hop_skip_jump import HopSkipJump
from edgeguard.attacks.rays_sap import RaysSap
from edgeguard.attacks.smooth_geo import SmoothGeo
from edgeguard.attacks.walk import Attack
from edgeguard.errors import InputError

ATTACKS: dict[str, type[Any]] = {attack.name: attack for attack in (SmoothGeo, RaysSap, Boundary, HopSkipJump)}


def make_attack(name: str, **settings: Any) -> Attack:
    """An attack with its default settings but those given; a setting of None is not given.

    Raises InputError for a setting that the attack lacks.
    """
    given = {key: value for key, value in settings.items() if value is not None}
    lacking = [key for key in given if key not in ATTACKS[name].__dataclass_fields__]
    if lacking:
        raise InputError(f"{lacking[0].replace('_', '-')}: {name} has no such setting; leave it out")
    attack: Attack = ATTACKS[name](**given)
    return attack
