"""Units of voltage that recordings come in."""

from edgeguard.errors import InputError

_MICROVOLTS = {"v": 1e6, "mv": 1e3, "uv": 1.0, "\N{MICRO SIGN}v": 1.0, "\N{GREEK SMALL LETTER MU}v": 1.0}


def microvolts(where: str, unit: str) -> float:
    """Microvolts in one `unit` (V, mV, uV, in any case); InputError, naming `where`, for another unit."""
    if unit.lower() not in _MICROVOLTS:
        raise InputError(f"{where}: unit {unit}, V, mV or uV needed; mend the unit")
    return _MICROVOLTS[unit.lower()]
