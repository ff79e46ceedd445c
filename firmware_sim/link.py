"""From the converter to the firmware in numbered packets, and back to one stream in order."""

from collections.abc import Mapping, Sequence

import numpy as np

from edgeguard.firmware_sim.faults import Fate, LinkFault
from edgeguard.firmware_sim.samples import Samples, State, held, join, nest, nothing, part, saved

PATIENCE = 64
"""Samples that the firmware collects behind a missing packet before it gives that up."""


class Receiver:
    """Puts packets in order by the index of their first sample.

    A packet that was there already is dropped. One that is missing is waited for until `PATIENCE` samples lie
    behind it; then the last value is held in its place, flagged as lost, and the clock goes on.
    """

    def __init__(self) -> None:
        self._next = 0
        self._last = 0.0
        self._waiting: dict[int, Samples] = {}

    def push(self, start: int, packet: Samples) -> Samples:
        """The samples that are in order now, of a packet whose first sample is number `start`."""
        if start + len(packet.flags) > self._next:
            self._waiting.setdefault(start, packet)
        return join(self._in_order(PATIENCE))

    def finish(self) -> Samples:
        """What is still waiting, at the end of the stream."""
        return join(self._in_order(0))

    def _in_order(self, patience: int) -> list[Samples]:
        parts = []
        while self._waiting:
            start = min(self._waiting)
            if start > self._next:
                if sum(len(packet.flags) for packet in self._waiting.values()) <= patience:
                    break
                parts.append(held(start - self._next, self._last))
                self._next = start
            packet = self._waiting.pop(start)
            parts.append(packet)
            self._next += len(packet.flags)
            self._last = float(packet.microvolts[-1])
        return parts

    def state(self) -> State:
        """What `restore` takes."""
        starts = sorted(self._waiting)
        waiting = join([self._waiting[start] for start in starts])
        return {
            "next": np.array(self._next),
            "last": np.array(self._last),
            "starts": np.array(starts, np.int64),
            "lengths": np.array([len(self._waiting[start].flags) for start in starts], np.int64),
            "microvolts": waiting.microvolts.copy(),
            "flags": waiting.flags.copy(),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._next = int(saved(state, "next", ()))
        self._last = float(saved(state, "last", ()))
        starts, ends = saved(state, "starts"), np.cumsum(saved(state, "lengths"))
        microvolts, flags = np.split(saved(state, "microvolts"), ends[:-1]), np.split(saved(state, "flags"), ends[:-1])
        self._waiting = {int(s): Samples(m, f) for s, m, f in zip(starts, microvolts, flags, strict=False)}


class Link:
    """Carries samples in packets, under faults, to a receiver.

    Attributes:
        lost: packets that never arrived.
        duplicated: packets that came again.
        late: packets that came out of order.
    """

    def __init__(self, faults: Sequence[LinkFault], rate: float, *, packet: int) -> None:
        """
        Args:
            rate: hertz of the samples.
            packet: samples of one packet.
        """
        self.lost = self.duplicated = self.late = 0
        self._faults = faults
        self._rate = rate
        self._packet = packet
        self._receiver = Receiver()
        self._sent = 0
        self._partial = nothing()
        self._under_way: list[tuple[int, int, Samples]] = []

    def push(self, samples: Samples) -> Samples:
        """What the firmware has, in order, once samples [n] are converted; without faults, all of them."""
        if not self._faults:
            return samples
        whole = join([self._partial, samples])
        count = len(whole.flags) // self._packet
        self._partial = _slice(whole, count * self._packet, None)
        if count == 0:
            return nothing()
        first, last = self._sent, self._sent + count
        self._sent = last
        fates = self._fates(first, last)
        if not fates and not self._under_way:
            return self._receiver.push(first * self._packet, _slice(whole, 0, count * self._packet))
        parts = []
        for number in range(first, last):
            at = (number - first) * self._packet
            packet = _slice(whole, at, at + self._packet)
            parts += self._deliver(number, packet, fates.get(number, Fate()))
        return join(parts)

    def finish(self) -> Samples:
        """The rest, at the end of the stream: a packet that is not full, and what is under way or waiting."""
        parts = [self._receiver.push(start, packet) for _, start, packet in sorted(self._under_way, key=_due)]
        if len(self._partial.flags):
            parts.append(self._receiver.push(self._sent * self._packet, self._partial))
        self._under_way = []
        self._partial = nothing()
        return join([*parts, self._receiver.finish()])

    def _fates(self, first: int, last: int) -> dict[int, Fate]:
        fates: dict[int, Fate] = {}
        for fault in self._faults:
            for number, fate in fault.fates(first, last, self._packet, self._rate).items():
                before = fates.get(number, Fate())
                fates[number] = Fate(before.lost or fate.lost, before.copies + fate.copies, max(before.late, fate.late))
        return fates

    def _deliver(self, number: int, packet: Samples, fate: Fate) -> list[Samples]:
        start = number * self._packet
        parts = []
        self.lost += fate.lost
        if not fate.lost:
            self.duplicated += fate.copies
            self.late += fate.late > 0
            if fate.late:
                self._under_way.append((number + fate.late, start, packet))
            else:
                parts.append(self._receiver.push(start, packet))
            parts += [self._receiver.push(start, packet) for _ in range(fate.copies)]
        arrived = sorted((one for one in self._under_way if one[0] <= number), key=_due)
        self._under_way = [one for one in self._under_way if one[0] > number]
        return parts + [self._receiver.push(start, packet) for _, start, packet in arrived]

    def state(self) -> State:
        """What `restore` takes."""
        under_way = join([packet for _, _, packet in self._under_way])
        return nest(receiver=self._receiver.state()) | {
            "counts": np.array([self.lost, self.duplicated, self.late, self._sent]),
            "partial": self._partial.microvolts.copy(),
            "partial_flags": self._partial.flags.copy(),
            "due": np.array([(due, start) for due, start, _ in self._under_way], np.int64).reshape(-1, 2),
            "under_way": under_way.microvolts.reshape(-1, self._packet).copy(),
            "under_way_flags": under_way.flags.reshape(-1, self._packet).copy(),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._receiver.restore(part(state, "receiver"))
        self.lost, self.duplicated, self.late, self._sent = (int(n) for n in saved(state, "counts", (4,)))
        self._partial = Samples(saved(state, "partial"), saved(state, "partial_flags"))
        packets = zip(saved(state, "under_way"), saved(state, "under_way_flags"), strict=True)
        due = saved(state, "due").tolist()
        self._under_way = [(at, start, Samples(*packet)) for (at, start), packet in zip(due, packets, strict=True)]


def _due(one: tuple[int, int, Samples]) -> tuple[int, int]:
    return one[0], one[1]


def _slice(samples: Samples, start: int, stop: int | None) -> Samples:
    return Samples(samples.microvolts[start:stop], samples.flags[start:stop])
