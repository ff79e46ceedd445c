"""Input range, high-pass, noise, rails and the converter's codes."""

from collections.abc import Mapping
from math import isinf

import numpy as np

from edgeguard.ecg.front_end import FrontEnd
from edgeguard.firmware_sim.filters import RestoringHighPass, SectionFilter
from edgeguard.firmware_sim.indexed import white
from edgeguard.firmware_sim.samples import Flag, Samples, State


class Amplifier:
    """Amplifier and converter of one front end; starts settled at the electrode's offset."""

    def __init__(self, front_end: FrontEnd, rate: float, *, seed: int = 0) -> None:
        """`rate`: hertz of the converter."""
        self._front_end = front_end
        self._noise = white(seed, 4, front_end.noise) if front_end.noise else None
        self._high_pass: SectionFilter | RestoringHighPass
        if front_end.high_pass and front_end.restore:
            self._high_pass = RestoringHighPass(
                front_end.high_pass,
                front_end.restore,
                rate,
                rail=front_end.full_scale,
                hold=max(round(front_end.restore_hold * rate), 1),
            )
        else:
            self._high_pass = SectionFilter(front_end.analogue_sections(rate))
        self._high_pass.settle(front_end.electrode.offset)

    def push(self, volts: np.ndarray, start: int) -> Samples:
        """Converted microvolts (code * step) and Flag.SATURATED of volts [n] in microvolts, from sample `start` on."""
        part, limit = self._front_end, self._front_end.input_range
        flags = np.zeros(len(volts), np.uint8)
        if not isinf(limit):
            flags[np.abs(volts) >= limit] = Flag.SATURATED
            volts = np.clip(volts, -limit, limit)
        volts = self._high_pass.push(volts)
        if self._noise is not None:
            volts = volts + self._noise.take(start, len(volts))
        if not part.bits:
            return Samples(volts, flags)
        lowest, highest = -(2 ** (part.bits - 1)), 2 ** (part.bits - 1) - 1
        codes = np.clip(np.rint(volts / part.step), lowest, highest)
        flags[(codes == lowest) | (codes == highest)] = Flag.SATURATED
        return Samples(codes * part.step, flags)

    def state(self) -> State:
        """What `restore` takes."""
        return self._high_pass.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._high_pass.restore(state)
