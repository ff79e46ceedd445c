"""Causal filters with state: second-order sections, and a high-pass whose corner rises at the rails."""

from collections.abc import Mapping

import numpy as np
from scipy.signal import sosfilt, sosfilt_zi

from edgeguard.ecg.front_end import high_pass_section
from edgeguard.firmware_sim.samples import State, saved

_STRETCH = 4096
"""Samples filtered at once while looking for the first at a rail."""


class SectionFilter:
    """Second-order sections in series, transposed direct form II, as a microcontroller runs them.

    The recursion runs sample by sample in float64, so that the chunks that bring the samples change no bit.
    """

    def __init__(self, sections: np.ndarray) -> None:
        """At rest.

        Args:
            sections: float64 [S, 6] of b0 b1 b2 1 a1 a2; S = 0 lets everything through.
        """
        self._sections = sections
        self._memory = np.zeros((len(sections), 2))

    def settle(self, level: float) -> None:
        """The state after a constant `level` for ever."""
        if len(self._sections):
            self._memory = sosfilt_zi(self._sections) * level

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Float64 [n] of [n]."""
        if len(samples) == 0 or len(self._sections) == 0:
            return samples
        filtered, self._memory = sosfilt(self._sections, samples, zi=self._memory)
        return filtered

    def state(self) -> State:
        """What `restore` takes."""
        return {"memory": self._memory.copy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken; InputError for the state of other sections."""
        self._memory = saved(state, "memory", self._memory.shape)


class RestoringHighPass:
    """First-order high-pass with fast restore (AD8232 and AD8233 data sheets).

    From the sample after one at the rail until `hold` samples after the last one there, the corner is the
    fast one. Input and output are continuous when it changes.
    """

    def __init__(self, corner: float, fast: float, rate: float, *, rail: float, hold: int) -> None:
        """At rest.

        Args:
            corner: hertz.
            fast: hertz while restoring.
            rate: hertz of the samples.
            rail: microvolts, either way.
            hold: samples, at least 1.
        """
        self._slow = high_pass_section(corner, rate)
        self._fast = high_pass_section(fast, rate)
        self._rail = rail
        self._hold = hold
        self._left = 0
        self._before = np.zeros(2)

    def settle(self, level: float) -> None:
        """The state after a constant `level` for ever."""
        self._left = 0
        self._before = np.array([level, 0.0])

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Float64 [n] of [n], before the rail cuts it."""
        filtered = np.empty(len(samples))
        start = 0
        while start < len(samples):
            count = min(len(samples) - start, self._left or _STRETCH)
            part = self._filter(samples[start : start + count])
            at_rail = np.flatnonzero(np.abs(part) >= self._rail)
            if self._left:
                self._left -= count
                if len(at_rail):
                    self._left = self._hold - (count - 1 - int(at_rail[-1]))
            elif len(at_rail):
                count = int(at_rail[0]) + 1
                self._left = self._hold
            filtered[start : start + count] = part[:count]
            self._before = np.array([samples[start + count - 1], part[count - 1]])
            start += count
        return filtered

    def _filter(self, samples: np.ndarray) -> np.ndarray:
        sections = self._fast if self._left else self._slow
        _, b1, _, _, a1, _ = sections[0]
        memory = np.array([[b1 * self._before[0] - a1 * self._before[1], 0.0]])
        return sosfilt(sections, samples, zi=memory)[0]

    def state(self) -> State:
        """What `restore` takes."""
        return {"before": self._before.copy(), "left": np.array(self._left)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._before = saved(state, "before", (2,))
        self._left = int(saved(state, "left", ()))
