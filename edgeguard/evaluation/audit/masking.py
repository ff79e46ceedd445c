"""Whether the attacks of the audit are blunt: the masking checks, as conditions of the verdict."""

from collections.abc import Sequence

from edgeguard.evaluation.audit.result import Check
from edgeguard.evaluation.masking_check import Check as MaskingCheck


def masking_checks(found: Sequence[MaskingCheck]) -> tuple[Check, ...]:
    """A check that trips makes the audit fail: its worst case cannot be trusted. One that cannot be told does not."""
    return tuple(
        Check(
            f"masking_{one.name}",
            "masking",
            one.holds,
            one.figure,
            None if one.holds is None else one.bar,
            f"masking, {one.name}: {one.message}",
        )
        for one in found
    )
