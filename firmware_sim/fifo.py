"""The sensor's FIFO: it interrupts at a threshold, and loses everything when it overflows."""

import numpy as np

from edgeguard.errors import InputError

DEPTH = 32
"""Words of the MAX30003's ECG FIFO."""

THRESHOLD = 16


class Fifo:
    """Holds samples between the analogue front end and the processor.

    A front end such as the MAX30003 tags an overflow and its drivers answer with a FIFO reset, so an overflow
    costs all samples since the last read, not only those that found no room.

    Attributes:
        threshold: samples at which the interrupt is raised.
        lost: samples lost so far.
        overflows: resets so far.
    """

    def __init__(self, depth: int = DEPTH, *, threshold: int = THRESHOLD) -> None:
        """InputError unless 1 <= threshold <= depth."""
        if not 1 <= threshold <= depth:
            raise InputError(f"chunk: {threshold} samples, 1 to {depth} fit the FIFO; raise --fifo-depth")
        self.threshold = threshold
        self.lost = 0
        self.overflows = 0
        self._words = np.zeros(depth, np.float32)
        self._written = 0

    @property
    def ready(self) -> bool:
        """Is the interrupt line raised?"""
        return self._written >= self.threshold

    def write(self, samples: np.ndarray) -> None:
        """Take samples [n] in microvolts from the front end."""
        kept = samples[: max(len(self._words) - self._written, 0)]
        self._words[self._written : self._written + len(kept)] = kept
        self._written += len(samples)

    def read(self) -> tuple[np.ndarray, int]:
        """Empty the FIFO: (samples [n], samples lost). One of the two is always empty.

        The samples are a view, valid until the next write.
        """
        written, self._written = self._written, 0
        if written <= len(self._words):
            return self._words[:written], 0
        self.lost += written
        self.overflows += 1
        return self._words[:0], written
