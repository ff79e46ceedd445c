"""A stream that is read by the sample, whatever pieces it comes in."""

import numpy as np

from edgeguard.ecg.stream import Stream
from edgeguard.errors import InputError


class Signal:
    """A stream, taken from its beginning on.

    Attributes:
        name, sampling_rate, label: of the stream.
        samples: of all of it, None where only the end will tell.
        taken: samples so far.
    """

    def __init__(self, stream: Stream) -> None:
        self.name = stream.name
        self.sampling_rate = stream.sampling_rate
        self.label = stream.label
        self.samples = None if stream.seconds is None else round(stream.seconds * stream.sampling_rate)
        self.taken = 0
        self._pieces = iter(stream)
        self._rest = np.empty(0, np.float32)
        self._over = False

    @property
    def ended(self) -> bool:
        """Nothing is left."""
        self._read(1)
        return self._over and not len(self._rest)

    def take(self, count: int) -> np.ndarray:
        """The next `count` samples, float32 microvolts; fewer, or none, at the end.

        Raises InputError for a sample that is not a number.
        """
        self._read(count)
        taken, self._rest = self._rest[:count], self._rest[count:]
        self.taken += len(taken)
        return taken

    def _read(self, count: int) -> None:
        """Have `count` samples at hand, or all that are left."""
        parts = [self._rest]
        have = len(self._rest)
        while have < count and not self._over:
            piece = next(self._pieces, None)
            if piece is None:
                self._over = True
                break
            if len(bad := np.flatnonzero(~np.isfinite(piece))):
                raise InputError(
                    f"record {self.name}: sample {self.taken + have + bad[0]} is not a number; fill the gap or leave "
                    "the record out"
                )
            parts.append(piece)
            have += len(piece)
        if len(parts) > 1:
            self._rest = np.concatenate(parts)
