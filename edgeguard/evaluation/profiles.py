"""Versions of the attack profiles, and which of their figures are known to be too high."""

from collections.abc import Mapping
from typing import Any

PROFILE_VERSIONS = {"paper": "paper/1", "strict": "strict/2", "full": "full/2"}
"""Profile -> what it is fixed to. Figures of different versions are not comparable and stand in different columns.

`strict/1` walked with a constant step of 2.5 eps / 40, and overstated robustness at 50 and 100 microvolts by up to 20
points. `strict/2-draft` had the same attacks with steps that shrink. `strict/2` is a cascade: short signed descent,
Auto-PGD, targeted Auto-PGD, Square Attack, each on what still stands. `full/2` begins with it.
"""
UPPER_BOUND = (
    "worst cases are upper bounds: at 50 and 100 uV the steps of `strict/1` are too coarse, and a stronger attack "
    "lowers its figures by up to 20 points"
)
_OVERSTATED_ABOVE_UV = 25.0
"""Largest budget at which an independent attack (APGD, Croce & Hein 2020) found strict/1 honest, within 2 points."""


def version_of(row: Mapping[str, Any]) -> str:
    """The version of the profile that a stored row was judged by; rows older than versions are of the first."""
    return str(row.get("profile_version") or f"{row['profile']}/1")


def is_upper_bound(version: str, eps_uv: float) -> bool:
    """Whether a worst case by this version of a profile is known to be lowered by stronger attacks."""
    return version == "strict/1" and eps_uv > _OVERSTATED_ABOVE_UV
