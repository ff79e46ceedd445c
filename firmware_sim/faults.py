"""Things that go wrong on a wrist, seeded, at stated times, in any combination.

A fault's text is `NAME:KEY=VALUE,...`, as in `lead-off:at=60,for=5` or `motion:every=120,for=4,level=2000`.
`at` lists seconds with `+` between them; `every` puts one event somewhere into each such stretch of seconds;
without either, a fault that may be permanent is. Everything is a function of the absolute sample index and the
seed: neither chunks nor a restart change it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from math import inf, isfinite
from typing import ClassVar

import numpy as np

from edgeguard.ecg import synthetic_noise
from edgeguard.errors import InputError, unknown
from edgeguard.firmware_sim.clock import Clock
from edgeguard.firmware_sim.indexed import sine

Span = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """When a fault strikes.

    Attributes:
        at: seconds of the events' starts.
        every: seconds of the stretches that have one event each; 0: none.
        for_: seconds of an event.
        seed: of all that is random in it.
    """

    name: ClassVar[str]
    may_be_permanent: ClassVar[bool] = False

    at: tuple[float, ...] = ()
    every: float = 0.0
    for_: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        """InputError, naming the key, for a setting out of range."""
        if not (self.at or self.every or self.may_be_permanent):
            raise self._refusal("it needs a time; add at=SECONDS or every=SECONDS")
        if any(not 0 <= second < inf for second in self.at):
            raise self._refusal("at lists seconds from 0 on, as in at=10+40; mend at")
        if not 0 < self.for_ < inf:
            raise self._refusal(f"for={self.for_:g} must be above 0; mend for")
        if self.every and not self.for_ <= self.every < inf:
            raise self._refusal(f"every={self.every:g} must be at least for={self.for_:g}; mend every")
        if self.seed < 0:
            raise self._refusal(f"seed={self.seed} must not be negative; mend seed")

    def spans(self, start: int, stop: int, rate: float) -> list[Span]:
        """(first sample, sample after the last) of the events that touch samples start to stop, in order.

        An event lasts at least one sample.
        """
        if not (self.at or self.every):
            return [(start, stop)] if stop > start else []
        length = max(round(self.for_ * rate), 1)
        begins = [round(second * rate) for second in self.at]
        if self.every:
            stretch = max(round(self.every * rate), length)
            stretches = range(max(start - length, 0) // stretch, stop // stretch + 1)
            begins += [s * stretch + self._offset(s, stretch - length + 1) for s in stretches]
        return sorted((b, b + length) for b in set(begins) if b < stop and b + length > start)

    def _offset(self, stretch: int, room: int) -> int:
        return int(np.random.default_rng([self.seed, stretch]).integers(room))

    def _refusal(self, reason: str) -> InputError:
        return InputError(f"--fault {self.name}: {reason}")


class ElectrodeFault(Fault, ABC):
    """A fault between skin and amplifier."""

    @abstractmethod
    def disturb(self, ecg: np.ndarray, start: int, rate: float) -> np.ndarray:
        """Microvolts [n] at the amplifier's input, of samples from the absolute index `start` on."""


@dataclass(frozen=True, kw_only=True)
class LeadOff(Fault):
    """The electrode loses the skin, and finds it again."""

    name = "lead-off"


@dataclass(frozen=True, kw_only=True)
class Saturation(ElectrodeFault):
    """The input is pushed beyond its range: the rails, then the high-pass's recovery."""

    name = "saturation"
    level: float = 1e6
    """Microvolts."""

    def disturb(self, ecg: np.ndarray, start: int, rate: float) -> np.ndarray:
        ecg = ecg.copy()
        for begin, end in self.spans(start, start + len(ecg), rate):
            ecg[max(begin - start, 0) : end - start] += self.level
        return ecg


@dataclass(frozen=True, kw_only=True)
class Motion(ElectrodeFault):
    """Bursts of bumps and friction."""

    name = "motion"
    for_: float = 4.0
    level: float = 2000.0
    """Median height of the bumps, microvolts."""

    def disturb(self, ecg: np.ndarray, start: int, rate: float) -> np.ndarray:
        ecg = ecg.copy()
        for begin, end in self.spans(start, start + len(ecg), rate):
            low, high = max(begin, start), min(end, start + len(ecg))
            ecg[low - start : high - start] += _burst(self, begin, end, rate)[low - begin : high - begin]
        return ecg


@lru_cache(maxsize=4)
def _burst(fault: Motion, begin: int, end: int, rate: float) -> np.ndarray:
    rng = np.random.default_rng([fault.seed, begin])
    bumps = synthetic_noise.motion(rng, end - begin, rate, fault.level, 3.0)
    return bumps + synthetic_noise.friction(rng, end - begin, rate, fault.level / 4) if end - begin > 2 else bumps


@dataclass(frozen=True, kw_only=True)
class Mains(ElectrodeFault):
    """Hum that couples into the wrist."""

    name = "mains"
    may_be_permanent = True
    hz: float = 50.0
    level: float = 500.0
    """Amplitude, microvolts."""

    def disturb(self, ecg: np.ndarray, start: int, rate: float) -> np.ndarray:
        hum = _hum(self.hz, rate, self.level).take(start, len(ecg))
        ecg = ecg.copy()
        for begin, end in self.spans(start, start + len(ecg), rate):
            part = slice(max(begin - start, 0), end - start)
            ecg[part] += hum[part]
        return ecg


_hum = lru_cache(maxsize=8)(sine)


@dataclass(frozen=True, kw_only=True)
class ClockDrift(Fault):
    """The sensor's clock is off by `ppm`, and wanders by `wander` ppm within `period` seconds."""

    name = "clock-drift"
    may_be_permanent = True
    ppm: float = 100.0
    wander: float = 0.0
    period: float = 3600.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.at or self.every:
            raise self._refusal("it lasts for the whole stream; leave out at and every")
        Clock(self.ppm, self.wander, self.period)


@dataclass(frozen=True)
class Fate:
    """What becomes of one packet.

    Attributes:
        lost: it never arrives.
        copies: it arrives so many times more.
        late: it arrives after so many later ones.
    """

    lost: bool = False
    copies: int = 0
    late: int = 0


class LinkFault(Fault):
    """A fault between the converter and the firmware; it strikes whole packets."""

    def fates(self, first: int, last: int, packet: int, rate: float) -> dict[int, Fate]:
        """Packets of `packet` samples, numbered from the stream's start, of first to last - 1 that it strikes."""
        return {
            number: self._fate()
            for begin, end in self.spans(first * packet, last * packet, rate)
            for number in self._struck(begin, end, packet)
            if first <= number < last
        }

    def _struck(self, begin: int, end: int, packet: int) -> range:
        return range(begin // packet, (end - 1) // packet + 1)

    def _fate(self) -> Fate:
        return Fate(lost=True)


@dataclass(frozen=True, kw_only=True)
class LostPackets(LinkFault):
    """Packets vanish: all that an event touches, or each with probability `share`."""

    name = "lost-packets"
    may_be_permanent = True
    share: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.share <= 1 or bool(self.share) == bool(self.at or self.every):
            raise self._refusal("it needs share=0..1, or else at=SECONDS or every=SECONDS")

    def fates(self, first: int, last: int, packet: int, rate: float) -> dict[int, Fate]:
        if not self.share:
            return super().fates(first, last, packet, rate)
        return {number: Fate(lost=True) for number in range(first, last) if _chance(self.seed, number) < self.share}


def _chance(seed: int, number: int) -> float:
    return float(_chances(seed, number // 1024)[number % 1024])


@lru_cache(maxsize=4)
def _chances(seed: int, group: int) -> np.ndarray:
    return np.random.default_rng([seed, group]).random(1024)


@dataclass(frozen=True, kw_only=True)
class FifoOverflow(LinkFault):
    """The processor does not read for `for` seconds: beyond the FIFO's depth, all since the last read is lost."""

    name = "fifo-overflow"
    for_: float = 0.1
    depth: int = 32

    def _struck(self, begin: int, end: int, packet: int) -> range:
        numbers = super()._struck(begin, end, packet)
        return numbers if end - numbers[0] * packet > self.depth else range(0)


@dataclass(frozen=True, kw_only=True)
class Duplicated(LinkFault):
    """Packets arrive twice; the firmware knows them by their number."""

    name = "duplicated"

    def _fate(self) -> Fate:
        return Fate(copies=1)


@dataclass(frozen=True, kw_only=True)
class Late(LinkFault):
    """Packets arrive after `by` later ones; more than the firmware waits for is lost."""

    name = "late"
    for_: float = 0.01
    by: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by < 1:
            raise self._refusal(f"by={self.by} must be at least 1 packet; mend by")

    def _fate(self) -> Fate:
        return Fate(late=self.by)


@dataclass(frozen=True, kw_only=True)
class BrownOut(Fault):
    """The processor is down for `for` seconds and restarts from the state that it saved every `save` seconds."""

    name = "brown-out"
    for_: float = 5.0
    save: float = 60.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.save < inf:
            raise self._refusal(f"save={self.save:g} must be above 0 s; mend save")


FAULTS: dict[str, type[Fault]] = {
    kind.name: kind
    for kind in (
        LostPackets,
        FifoOverflow,
        LeadOff,
        Saturation,
        Motion,
        Mains,
        ClockDrift,
        Duplicated,
        Late,
        BrownOut,
    )
}


def parse_fault(text: str) -> Fault:
    """A fault from `NAME` or `NAME:KEY=VALUE,...`.

    Raises InputError for an unknown name or key, a value that is no number, or one out of range.
    """
    name, _, settings = text.partition(":")
    kind = FAULTS.get(name.strip())
    if kind is None:
        raise unknown("--fault", name.strip() or "(empty)", FAULTS, problem="no such fault")
    known = {field.name.rstrip("_"): field for field in fields(kind)}
    values: dict[str, object] = {}
    for setting in settings.split(",") if settings else []:
        key, equals, value = (piece.strip() for piece in setting.partition("="))
        if key not in known:
            raise unknown(f"--fault {text}: setting", key or "(empty)", known)
        if not equals:
            raise InputError(f"--fault {text}: setting {key}: no value; write {key}=VALUE")
        if known[key].name in values:
            raise InputError(f"--fault {text}: {key} is given twice; keep one")
        values[known[key].name] = _CONVERTERS[key if key == "at" else str(known[key].type)](text, key, value)
    return kind(**values)  # type: ignore[arg-type]


def _number(text: str, key: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = inf
    if not isfinite(number):
        raise InputError(f"--fault {text}: {key}={value} is not a number; mend {key}")
    return number


def _whole(text: str, key: str, value: str) -> int:
    number = _number(text, key, value)
    if number != int(number):
        raise InputError(f"--fault {text}: {key}={value} is not a whole number; mend {key}")
    return int(number)


def _numbers(text: str, key: str, value: str) -> tuple[float, ...]:
    return tuple(_number(text, key, one) for one in value.split("+"))


_CONVERTERS: dict[str, Callable[[str, str, str], object]] = {
    "at": _numbers,
    "<class 'float'>": _number,
    "<class 'int'>": _whole,
}


def clock(faults: tuple[Fault, ...], error: float) -> Clock:
    """The sampling clock of a crystal off by `error` ppm under the clock faults, at most one of which may wander."""
    drifts = [fault for fault in faults if isinstance(fault, ClockDrift)]
    wandering = [fault for fault in drifts if fault.wander] or [ClockDrift()]
    if len(wandering) > 1:
        raise InputError("--fault clock-drift: two of them wander; give wander to one")
    return Clock(error + sum(fault.ppm for fault in drifts), wandering[0].wander, wandering[0].period)


def bind(faults: Sequence[Fault], seed: int) -> tuple[Fault, ...]:
    """The faults with seeds that differ by place and stream, so that two of a kind do not strike together."""
    return tuple(
        replace(fault, seed=int(np.random.SeedSequence([seed, place, fault.seed]).generate_state(1)[0]))
        for place, fault in enumerate(faults)
    )
