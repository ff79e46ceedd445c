"""Causal rational resampling with state, of samples and of their flags."""

from collections.abc import Mapping

import numpy as np
from scipy.signal import upfirdn

from edgeguard.ecg.front_end import Resampling
from edgeguard.firmware_sim.samples import State, saved


class Resampler:
    """Polyphase resampling: every output is the same sum in the same order, whatever chunks bring the input.

    Attributes:
        delay: output samples by which the output lags; 0 when aligned.
    """

    def __init__(self, design: Resampling, *, aligned: bool = False) -> None:
        """At rest: zeros before the first sample.

        Args:
            aligned: leave out the first outputs, those that only the filter's lag makes, so that output 0 lies
                at input 0. It is for what is no part of the watch; the watch cannot look ahead.
        """
        self.delay = 0 if aligned else design.delay
        self._design = design
        self._made = design.delay if aligned else 0
        self._kept = np.zeros(0)
        self._first = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Float64 [m]: the outputs that samples [n] complete."""
        design = self._design
        if design.up == design.down or len(samples) == 0:
            return samples
        buffer = np.concatenate([self._kept, samples])
        end = self._first + len(buffer)
        ready = max(-(-end * design.up // design.down), self._made)
        base = self._first // design.down * design.up
        out = upfirdn(design.taps, buffer, design.up, design.down)[self._made - base : ready - base]
        self._made = ready
        needed = max(-(-(ready * design.down - len(design.taps) + 1) // design.up), 0)
        first = max(min(needed, end) // design.down * design.down, self._first)
        self._kept = buffer[first - self._first :].copy()
        self._first = first
        return out

    def state(self) -> State:
        """What `restore` takes."""
        return {"kept": self._kept.copy(), "count": np.array([self._first, self._made])}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._kept = saved(state, "kept")
        self._first, self._made = (int(count) for count in saved(state, "count", (2,)))


class FlagResampler:
    """Flags at the output's rate: an output has every flag of the inputs that its filter reaches."""

    def __init__(self, design: Resampling) -> None:
        self._design = design
        self._made = 0
        self._kept = np.zeros(0, np.uint8)
        self._first = 0

    def push(self, flags: np.ndarray) -> np.ndarray:
        """Uint8 [m] of uint8 [n], in step with a `Resampler` that is not aligned."""
        design = self._design
        if design.up == design.down or len(flags) == 0:
            return flags
        buffer = np.concatenate([self._kept, flags])
        end = self._first + len(buffer)
        outputs = np.arange(self._made, -(-end * design.up // design.down))
        last = outputs * design.down // design.up
        first = np.maximum(-(-(outputs * design.down - len(design.taps) + 1) // design.up), 0)
        out = np.zeros(len(outputs), np.uint8)
        for bit in np.flatnonzero(np.unpackbits(np.bitwise_or.reduce(buffer, keepdims=True), bitorder="little")):
            counts = np.concatenate([[0], np.cumsum(buffer >> bit & 1, dtype=np.int64)])
            reached = counts[last + 1 - self._first] > counts[first - self._first]
            out |= reached.astype(np.uint8) << np.uint8(bit)
        self._made += len(outputs)
        needed = max(-(-(self._made * design.down - len(design.taps) + 1) // design.up), 0)
        self._kept = buffer[max(needed - self._first, 0) :].copy()
        self._first = end - len(self._kept)
        return out

    def state(self) -> State:
        """What `restore` takes."""
        return {"kept": self._kept.copy(), "count": np.array([self._first, self._made])}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._kept = saved(state, "kept")
        self._first, self._made = (int(count) for count in saved(state, "count", (2,)))
