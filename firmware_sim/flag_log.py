"""Why the signal cannot be used, as events: a flag's first and last sample."""

from collections.abc import Iterator, Mapping

import numpy as np

from edgeguard.firmware_sim.samples import Flag, Samples, State, saved

FLAGS = {flag: flag.name.lower() for flag in Flag if flag.name}


class FlagLog:
    """Follows the flags of one stream and tells where one begins and ends."""

    def __init__(self) -> None:
        self._on = np.uint8(0)

    def push(self, samples: Samples, clock: int) -> Iterator[tuple[int, str, bool]]:
        """(sample, flag, whether it is on from there) of every change, in order.

        Args:
            clock: samples of the stream before these.
        """
        before = np.concatenate([[self._on], samples.flags[:-1]]) if len(samples.flags) else samples.flags
        for place in np.flatnonzero(before != samples.flags):
            changed = before[place] ^ samples.flags[place]
            for flag, name in FLAGS.items():
                if changed & np.uint8(flag):
                    yield clock + int(place), name, bool(samples.flags[place] & np.uint8(flag))
        if len(samples.flags):
            self._on = samples.flags[-1]

    def reset(self) -> None:
        """Begin a new stream."""
        self._on = np.uint8(0)

    def state(self) -> State:
        """The flags that are on."""
        return {"on": np.array(self._on)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._on = np.uint8(saved(state, "on", ()))
