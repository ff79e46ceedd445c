"""The newest window of a stream, in a buffer of fixed size."""

from collections.abc import Mapping

import numpy as np

from edgeguard.firmware_sim.samples import State, saved


class Ring:
    """The last `window` samples, always readable as one contiguous array.

    Every sample is stored twice, `window` apart, so that the newest window is a view at any moment and
    nothing is allocated or moved when a chunk arrives.

    Attributes:
        window: samples of the window.
        filled: valid samples, at most `window`.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self.filled = 0
        self._samples = np.zeros(2 * window, np.float32)
        self._next = 0

    @property
    def full(self) -> bool:
        """Is every sample of the window a real one?"""
        return self.filled == self.window

    def push(self, samples: np.ndarray) -> None:
        """Append samples [n] in microvolts, n >= 0; the oldest leave."""
        samples = samples[-self.window :]
        room = min(len(samples), self.window - self._next)
        rest = len(samples) - room
        for copy in (0, self.window):
            self._samples[copy + self._next : copy + self._next + room] = samples[:room]
            self._samples[copy : copy + rest] = samples[room:]
        self._next = (self._next + len(samples)) % self.window
        self.filled = min(self.filled + len(samples), self.window)

    def clear(self) -> None:
        """Forget all samples."""
        self.filled = 0

    def state(self) -> State:
        """What `restore` takes; a copy."""
        return {"samples": self._samples.copy(), "counts": np.array([self._next, self.filled])}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken; InputError for the state of a ring of another size."""
        self._samples = saved(state, "samples", self._samples.shape)
        self._next, self.filled = (int(count) for count in saved(state, "counts", (2,)))

    def latest(self) -> np.ndarray:
        """Float32 [window], oldest sample first; a view, valid until the next push.

        Raises RuntimeError while the ring is not full: padding is never handed out as signal.
        """
        if not self.full:
            raise RuntimeError(f"the ring holds {self.filled} of {self.window} samples")
        return self._samples[self._next : self._next + self.window]
