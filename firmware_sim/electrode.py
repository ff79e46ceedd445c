"""From the skin to the amplifier's input: what the contact adds, and what an open contact leaves."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from edgeguard.ecg.front_end import FrontEnd
from edgeguard.firmware_sim.faults import ElectrodeFault, Fault, LeadOff
from edgeguard.firmware_sim.indexed import drift, sine, steps, white
from edgeguard.firmware_sim.samples import Flag, State, saved

_PULL = 1.5e6
"""Microvolts to which a DC lead-off current pulls an open input: beyond every amplifier's range."""

_MAINS = 50.0


class ElectrodeModel:
    """Adds offset, drift, noise, steps and faults; replaces the signal while the contact is open."""

    def __init__(self, front_end: FrontEnd, rate: float, *, faults: Sequence[Fault] = (), seed: int = 0) -> None:
        """`rate`: hertz of the samples, the converter's."""
        electrode = front_end.electrode
        self._offset = electrode.offset
        self._rails = front_end.lead_off_rails
        self._rate = rate
        self._added = [
            make
            for level, make in (
                (electrode.noise, white(seed, 1, electrode.noise)),
                (electrode.drift, drift(seed, 2, rate, electrode.drift)),
                (
                    electrode.step * electrode.steps_per_hour,
                    steps(seed, 3, rate, electrode.step, electrode.steps_per_hour or 1.0),
                ),
            )
            if level
        ]
        self._hum = sine(_MAINS, rate, electrode.open_hum)
        self._faults = [fault for fault in faults if isinstance(fault, ElectrodeFault)]
        self._openings = [fault for fault in faults if isinstance(fault, LeadOff)]

    def push(self, ecg: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
        """(microvolts [n] at the amplifier's input, bool [n]: is the contact open?) of samples from `start` on."""
        volts = ecg + self._offset
        for added in self._added:
            volts = volts + added.take(start, len(ecg))
        for fault in self._faults:
            volts = fault.disturb(volts, start, self._rate)
        is_open = np.zeros(len(ecg), bool)
        for opening in self._openings:
            for begin, end in opening.spans(start, start + len(ecg), self._rate):
                is_open[max(begin - start, 0) : end - start] = True
        if is_open.any():
            left = _PULL if self._rails else self._offset + self._hum.take(start, len(ecg))
            volts = np.where(is_open, left, volts)
        return volts, is_open


class LeadOffDetector:
    """A flag that follows the contact once it has stayed as it is for longer than the latency, either way."""

    def __init__(self, latency: int) -> None:
        """`latency`: samples."""
        self._latency = latency
        self._flag = False
        self._run = 0

    def push(self, is_open: np.ndarray) -> np.ndarray:
        """Uint8 [n], Flag.LEAD_OFF or 0, of bool [n]."""
        flags = np.zeros(len(is_open), np.uint8)
        edges = [0, *(np.flatnonzero(np.diff(is_open)) + 1).tolist(), len(is_open)]
        for start, stop in pairwise(edges):
            if stop == start:
                continue
            wait = stop - start
            if bool(is_open[start]) == self._flag:
                self._run = 0
            else:
                wait = min(self._latency - self._run, stop - start)
                self._run += stop - start
            flags[start : start + wait] = Flag.LEAD_OFF if self._flag else 0
            if wait < stop - start:
                self._flag, self._run = not self._flag, 0
                flags[start + wait : stop] = Flag.LEAD_OFF if self._flag else 0
        return flags

    def state(self) -> State:
        """What `restore` takes."""
        return {"flag": np.array(self._flag), "run": np.array(self._run)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._flag = bool(saved(state, "flag", ()))
        self._run = int(saved(state, "run", ()))
