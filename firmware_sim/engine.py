"""The decision loop: a stream of samples in, a decision every hop out."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from time import perf_counter
from typing import Protocol

import numpy as np

from edgeguard.errors import InputError
from edgeguard.firmware_sim.ring import Ring


class Model(Protocol):
    """What the engine needs of a model; `edgeguard.runtime.session.OnnxModel` has it."""

    @property
    def window(self) -> int:
        """Samples of one input."""

    @property
    def sampling_rate(self) -> float:
        """Hertz."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the logits."""

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        """Float32 [B, C] from float32 [B, 1, T] in microvolts."""


class Status(StrEnum):
    """Where a stream stands."""

    WARMING_UP = "warming_up"
    """Less than one window of samples since the start or the last gap: nothing is scored."""

    SCORING = "scoring"


@dataclass(frozen=True)
class Decision:
    """What the engine says at the end of a hop.

    Attributes:
        sample: samples of the stream so far, lost ones included; the window ends there.
        seconds: the same on the signal's clock.
        status: SCORING, or WARMING_UP and then the fields below are None.
        label: class of the largest logit, the first of equals.
        logits: one value a class.
        latency: seconds of processor time from the complete window to the logits, measured.
    """

    sample: int
    seconds: float
    status: Status
    label: str | None = None
    logits: tuple[float, ...] | None = None
    latency: float | None = None


class Engine:
    """Scores the newest window once a hop.

    Hops are counted so that one ends exactly where the first window does; for a hop that divides the window
    these are the multiples of the hop. Decisions depend on the samples, not on the chunks that bring them.
    """

    def __init__(self, model: Model, *, hop: float = 1.0) -> None:
        """A fresh stream.

        Args:
            hop: seconds between decisions; a whole number of samples.

        Raises InputError for a hop that is not a whole number of samples.
        """
        self._model = model
        self._hop = hop_samples(hop, model.sampling_rate)
        self._ring = Ring(model.window)
        self._clock = 0

    @property
    def clock(self) -> int:
        """Samples of the stream so far, lost ones included."""
        return self._clock

    def reset(self) -> None:
        """Begin a new stream."""
        self._ring.clear()
        self._clock = 0

    def push(self, samples: np.ndarray) -> list[Decision]:
        """Take samples [n] in microvolts; the decisions of the hops that end within them.

        Raises InputError when the model's logits are not numbers.
        """
        decisions = []
        for start, stop, ends_hop in self._hops(len(samples)):
            self._ring.push(samples[start:stop])
            if ends_hop:
                decisions.append(self._decide())
        return decisions

    def skip(self, count: int) -> list[Decision]:
        """Pass over `count` lost samples: the clock goes on and the stream warms up anew."""
        self._ring.clear()
        return [self._decide() for _, _, ends_hop in self._hops(count) if ends_hop]

    def _hops(self, count: int) -> Iterator[tuple[int, int, bool]]:
        """Cut `count` samples at the hops' ends: (start, stop, does a hop end at stop?); moves the clock."""
        start = 0
        while start < count:
            to_hop = (self._ring.window - self._clock) % self._hop or self._hop
            stop = min(start + to_hop, count)
            self._clock += stop - start
            yield start, stop, stop - start == to_hop
            start = stop

    def _decide(self) -> Decision:
        seconds = self._clock / self._model.sampling_rate
        if not self._ring.full:
            return Decision(self._clock, seconds, Status.WARMING_UP)
        begin = perf_counter()
        logits = self._model.logits(self._ring.latest()[None, None])[0]
        latency = perf_counter() - begin
        if not np.isfinite(logits).all():
            raise InputError(f"model: logits {logits.tolist()} at {seconds:g} s are not all numbers; export it anew")
        label = self._model.classes[int(np.argmax(logits))]
        return Decision(self._clock, seconds, Status.SCORING, label, tuple(logits.tolist()), latency)


def hop_samples(hop: float, sampling_rate: float) -> int:
    """Samples of a hop of `hop` seconds; InputError unless it is a whole number, at least 1."""
    exact = hop * sampling_rate
    samples = round(exact) if 0 < exact < inf else 0
    if samples < 1 or abs(samples - exact) > 1e-6 * samples:
        raise InputError(
            f"hop: {hop:g} s is {exact:g} samples at {sampling_rate:g} Hz; "
            f"choose a multiple of 1/{sampling_rate:g} s with --hop"
        )
    return samples
