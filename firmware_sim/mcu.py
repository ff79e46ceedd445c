"""Processors that a bill can be made for, with the published measurements that it rests on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeguard.errors import unknown

PROFILES = Path(__file__).with_name("profiles") / "mcu_profiles.json"


@dataclass(frozen=True)
class Range:
    """The least and the most that a figure may be."""

    low: float
    high: float

    def times(self, factor: float) -> "Range":
        """Both ends multiplied."""
        return Range(self.low * factor, self.high * factor)

    def plus(self, other: "Range") -> "Range":
        """End by end."""
        return Range(self.low + other.low, self.high + other.high)


@dataclass(frozen=True)
class Mcu:
    """One processor.

    Attributes:
        key: by which it is asked for.
        name: of the part.
        core: of the processor.
        clock_mhz: at which it was measured.
        flash_bytes: in all.
        ram_bytes: in all.
        cycles_per_mac: of int8 networks, dense convolutions at the low end, depthwise ones at the high end.
        energy_per_mac_nj: likewise, of board or processor as it was submitted; None where nobody published it.
        supply_v: in volts, for the sleep current.
        sleep_ua: current in microamperes with memory and a clock kept; None where no source was at hand.
        sources: where each of these figures comes from.
    """

    key: str
    name: str
    core: str
    clock_mhz: float
    flash_bytes: int
    ram_bytes: int
    cycles_per_mac: Range
    energy_per_mac_nj: Range | None
    supply_v: float
    sleep_ua: Range | None
    sources: dict[str, str]

    def latency_ms(self, macs: int) -> Range:
        """Milliseconds of `macs` int8 multiply-accumulates and what goes with them."""
        return self.cycles_per_mac.times(macs / (self.clock_mhz * 1e3))

    def energy_uj(self, macs: int) -> Range | None:
        """Microjoules likewise; None where nobody published energy."""
        return self.energy_per_mac_nj and self.energy_per_mac_nj.times(macs / 1e3)


def mcus() -> dict[str, Mcu]:
    """All processors of the package, by key."""
    return {key: _mcu(key) for key in constants()["mcus"]}


def find_mcu(key: str) -> Mcu:
    """One processor; InputError for an unknown key."""
    if key not in constants()["mcus"]:
        raise unknown("device profile", key, constants()["mcus"])
    return _mcu(key)


@cache
def constants() -> dict[str, Any]:
    """`profiles/mcu_profiles.json`: every figure with its source."""
    return json.loads(PROFILES.read_text(encoding="utf-8"))


def _mcu(key: str) -> Mcu:
    table = constants()["mcus"][key]
    cycles = _hull(key, _cycles_per_mac)
    assert cycles is not None, f"{key}: no measured inferences"
    return Mcu(
        key=key,
        **{name: table[name] for name in ("name", "core", "clock_mhz", "flash_bytes", "ram_bytes", "supply_v")},
        cycles_per_mac=cycles,
        energy_per_mac_nj=_hull(key, _energy_per_mac_nj),
        sleep_ua=Range(**table["sleep_ua"]) if table["sleep_ua"] else None,
        sources={name.removesuffix("_source"): text for name, text in table.items() if name.endswith("_source")},
    )


def _hull(key: str, figures: Callable[[dict[str, Any]], list[float]]) -> Range | None:
    """The range of a figure over the networks measured on a board, or on the boards that a profile is like."""
    table = constants()["mcus"][key]
    found = [value for other in table.get("like", [key]) for value in figures(constants()["mcus"][other])]
    return Range(min(found), max(found)) if found else None


def _cycles_per_mac(table: dict[str, Any]) -> list[float]:
    return [table["clock_mhz"] * 1e6 / (rate * _macs(name)) for name, rate in table["inferences_per_second"].items()]


def _energy_per_mac_nj(table: dict[str, Any]) -> list[float]:
    return [energy * 1e3 / _macs(name) for name, energy in (table["energy_per_inference_uj"] or {}).items()]


def _macs(network: str) -> int:
    return constants()["networks"][network]["macs"]
