"""The decision loop: a stream of samples in, a decision every hop out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from time import perf_counter

import numpy as np

from edgeguard.errors import InputError
from edgeguard.firmware_sim.quality import QualityMeter
from edgeguard.firmware_sim.samples import GAP, Flag, State, nest, part, saved
from edgeguard.firmware_sim.scorers import StreamModel, WindowModel, hop_samples, make_scorer

__all__ = ["Decision", "Engine", "Status", "hop_samples"]


class Status(StrEnum):
    """Where a stream stands."""

    WARMING_UP = "warming_up"
    """Less than one window of samples since the start: nothing is scored."""

    INVALID = "invalid"
    """The newest window holds a gap: nothing is scored, and the clock goes on."""

    SCORING = "scoring"


@dataclass(frozen=True)
class Decision:
    """What the engine says at the end of a hop.

    Attributes:
        sample: samples of the stream so far, lost ones included; the window ends there.
        seconds: the same on the signal's clock.
        status: SCORING, or another one and then label, logits and latency are None.
        quality: of the window's signal, 0 to 1; while warming up of the hops so far.
        label: class of the largest logit, the first of equals.
        logits: one value a class.
        latency: seconds of processor time from the complete hop to the logits, measured.
    """

    sample: int
    seconds: float
    status: Status
    quality: float
    label: str | None = None
    logits: tuple[float, ...] | None = None
    latency: float | None = None


class Engine:
    """Scores the newest window once a hop. Decisions depend on the samples, not on the chunks that bring them."""

    def __init__(
        self,
        model: WindowModel | StreamModel,
        *,
        hop: float | None = None,
        rails: tuple[float, float] = (-np.inf, np.inf),
    ) -> None:
        """A fresh stream.

        Args:
            model: scores whole windows, or hop by hop.
            hop: seconds between decisions, a whole number of samples; None: 1 s, or what a streaming file was
                compiled for.
            rails: microvolts at and beyond which a sample is saturated.

        Raises InputError for a hop that does not fit.
        """
        self._model = model
        self._scorer = make_scorer(model, hop)
        self._quality = QualityMeter(
            sampling_rate=model.sampling_rate, window_hops=max(1, model.window // self._scorer.hop), rails=rails
        )
        self._hop_samples = np.zeros(self._scorer.hop, np.float32)
        self._hop_invalid = np.zeros(self._scorer.hop, bool)
        self.reset()

    @property
    def clock(self) -> int:
        """Samples of the stream so far, lost ones included."""
        return self._clock

    @property
    def hop(self) -> int:
        """Samples between two decisions."""
        return self._scorer.hop

    @property
    def to_hop(self) -> int:
        """Samples to the end of the hop, 1 to `hop`."""
        return (self._scorer.first - self._clock) % self._scorer.hop or self._scorer.hop

    def reset(self) -> None:
        """Begin a new stream."""
        self._scorer.reset()
        self._quality.reset()
        self._clock = 0
        self._real = 0
        self._in_hop = 0

    def push(self, samples: np.ndarray, flags: np.ndarray | None = None) -> list[Decision]:
        """Take samples [n] in microvolts; the decisions of the hops that end within them.

        Args:
            flags: uint8 [n] of `Flag` bits; lost samples keep the clock and void every window that holds one.

        Raises InputError when the model's logits are not numbers.
        """
        if flags is None or not flags.any():
            return self._take(samples, np.zeros(len(samples), bool), lost=False)
        lost = (flags & np.uint8(GAP)) != 0
        invalid = (flags & np.uint8(Flag.LEAD_OFF)) != 0
        cuts = np.flatnonzero(np.diff(lost)) + 1
        bounds = [0, *cuts.tolist(), len(samples)]
        decisions = []
        for start, stop in pairwise(bounds):
            if stop > start:
                decisions += self._take(samples[start:stop], invalid[start:stop], lost=bool(lost[start]))
        return decisions

    def skip(self, count: int) -> list[Decision]:
        """Pass over `count` lost samples: the clock goes on, and no window that holds one is scored."""
        return self._take(np.zeros(count, np.float32), np.zeros(count, bool), lost=True)

    def state(self) -> State:
        """Everything that later decisions depend on, but for the model's weights; copies."""
        own = {
            "counts": np.array([self._clock, self._real, self._in_hop]),
            "samples": self._hop_samples.copy(),
            "invalid": self._hop_invalid.copy(),
        }
        return nest(own=own, scorer=self._scorer.state(), quality=self._quality.state())

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken; InputError for the state of another model or hop."""
        own = part(state, "own")
        samples = saved(own, "samples", self._hop_samples.shape)
        self._scorer.restore(part(state, "scorer"))
        self._quality.restore(part(state, "quality"))
        self._clock, self._real, self._in_hop = (int(count) for count in saved(own, "counts", (3,)))
        self._hop_samples = samples
        self._hop_invalid = saved(own, "invalid", samples.shape)

    def _take(self, samples: np.ndarray, invalid: np.ndarray, *, lost: bool) -> list[Decision]:
        decisions = []
        for start, stop, ends_hop in self._hops(len(samples)):
            count = stop - start
            if lost:
                self._scorer.skip(count)
                self._real = 0
            else:
                self._scorer.push(samples[start:stop])
                self._real += count
            here = slice(self._in_hop, self._in_hop + count)
            self._hop_samples[here] = samples[start:stop]
            self._hop_invalid[here] = invalid[start:stop] | lost
            self._in_hop += count
            if ends_hop:
                decisions.append(self._decide())
        return decisions

    def _hops(self, count: int) -> Iterator[tuple[int, int, bool]]:
        """Cut `count` samples at the hops' ends: (start, stop, does a hop end at stop?); moves the clock."""
        start = 0
        while start < count:
            to_hop = self.to_hop
            stop = min(start + to_hop, count)
            self._clock += stop - start
            yield start, stop, stop - start == to_hop
            start = stop

    def _decide(self) -> Decision:
        seconds = self._clock / self._model.sampling_rate
        quality = self._quality.push(self._hop_samples[: self._in_hop], invalid=self._hop_invalid[: self._in_hop])
        self._in_hop = 0
        wanted = self._real >= self._scorer.window
        begin = perf_counter()
        logits = self._scorer.end_hop(wanted)
        latency = perf_counter() - begin
        if logits is None:
            status = Status.WARMING_UP if self._real == self._clock else Status.INVALID
            return Decision(self._clock, seconds, status, quality)
        if not np.isfinite(logits).all():
            raise InputError(f"model: logits {logits.tolist()} at {seconds:g} s are not all numbers; export it anew")
        label = self._model.classes[int(np.argmax(logits))]
        return Decision(self._clock, seconds, Status.SCORING, quality, label, tuple(logits.tolist()), latency)
