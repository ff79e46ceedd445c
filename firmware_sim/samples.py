"""What travels through the simulated watch: samples with flags, and state that can be saved."""

from collections.abc import Mapping
from enum import IntFlag
from typing import NamedTuple

import numpy as np

from edgeguard.errors import InputError

State = dict[str, np.ndarray]


class Flag(IntFlag):
    """What is wrong with a sample; 0: nothing."""

    LOST = 1
    """Never arrived: the last value is held in its place, so that the clock goes on."""

    LEAD_OFF = 2
    """The sensor reports an open electrode."""

    SATURATED = 4
    """At a rail of the amplifier or an end code of the converter."""

    BROWN_OUT = 8
    """Not sampled: the processor was down."""


GAP = Flag.LOST | Flag.BROWN_OUT
"""Flags of samples that carry no signal at all: a window that holds one yields no valid decision."""


class Samples(NamedTuple):
    """A stretch of a stream.

    Attributes:
        microvolts: [n], referred to the electrode.
        flags: uint8 [n] of `Flag` bits.
    """

    microvolts: np.ndarray
    flags: np.ndarray

    @property
    def valid(self) -> np.ndarray:
        """Bool [n]: False on samples that carry no signal."""
        return (self.flags & np.uint8(GAP)) == 0


def nothing() -> Samples:
    """A stretch of length 0."""
    return Samples(np.empty(0), np.empty(0, np.uint8))


def held(count: int, value: float) -> Samples:
    """`count` samples that never arrived: `value`, the last one before them, in their place."""
    return Samples(np.full(count, value), np.full(count, Flag.LOST, np.uint8))


def join(parts: list[Samples]) -> Samples:
    """Stretches one after another."""
    if len(parts) == 1:
        return parts[0]
    parts = parts or [nothing()]
    return Samples(np.concatenate([p.microvolts for p in parts]), np.concatenate([p.flags for p in parts]))


def nest(**states: State) -> State:
    """One flat state of several, named `part.key`."""
    return {f"{part}.{key}": array for part, state in states.items() for key, array in state.items()}


def part(state: Mapping[str, np.ndarray], name: str) -> State:
    """What `nest` put in under `name`."""
    return {key.removeprefix(f"{name}."): array for key, array in state.items() if key.startswith(f"{name}.")}


def saved(state: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """A copy of one array of a state; InputError when it is missing or of another shape than `shape`."""
    array = state.get(key)
    if array is None or (shape is not None and array.shape != shape):
        raise InputError(f"state: {key} is missing or of another front end; restore the state that this one saved")
    return array.copy()
