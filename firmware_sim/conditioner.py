"""The firmware's share: filters, resampling to the model's rate, and what a restart does to both."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from edgeguard.ecg.front_end import FrontEnd, design_resampling
from edgeguard.firmware_sim.faults import BrownOut
from edgeguard.firmware_sim.filters import SectionFilter
from edgeguard.firmware_sim.resampler import FlagResampler, Resampler
from edgeguard.firmware_sim.samples import Flag, Samples, State, join, nest, part, saved


class Conditioner:
    """Sensor samples in order to samples for the model.

    While the processor is down the last value is held, flagged, so that the clock goes on; then the filters
    restart from the state that was saved last. The filters start settled at the first sample.

    Attributes:
        delay: samples at the model's rate by which the resampling filter lags.
    """

    def __init__(
        self, front_end: FrontEnd, rate: float, model_rate: float, *, brown_outs: Sequence[BrownOut] = ()
    ) -> None:
        """
        Args:
            rate: hertz of the converter.
            model_rate: hertz of the model.

        Raises InputError for a filter that `rate` cannot carry.
        """
        design = design_resampling(rate, model_rate)
        self.delay = design.delay
        self._rate = rate
        self._filter = SectionFilter(front_end.firmware_sections(rate))
        self._resampler = Resampler(design)
        self._flags = FlagResampler(design)
        self._brown_outs = brown_outs
        self._taken = 0
        self._held = 0.0
        self._checkpoint = self._filter.state()

    def push(self, samples: Samples) -> Samples:
        """Float32 microvolts and flags at the model's rate, of what the samples complete."""
        if len(samples.flags) == 0:
            return Samples(np.empty(0, np.float32), np.empty(0, np.uint8))
        if self._taken == 0:
            self._filter.settle(float(samples.microvolts[0]))
        done = join(list(self._survive(samples)) if self._brown_outs else [self._process(samples)])
        return Samples(self._resampler.push(done.microvolts).astype(np.float32), self._flags.push(done.flags))

    def _process(self, samples: Samples) -> Samples:
        self._taken += len(samples.flags)
        return Samples(self._filter.push(samples.microvolts), samples.flags)

    def _survive(self, samples: Samples) -> Iterator[Samples]:
        """Process samples through the brown-outs that lie in them."""
        start, stop = self._taken, self._taken + len(samples.flags)
        spans = [span for fault in self._brown_outs for span in fault.spans(max(start - 1, 0), stop, self._rate)]
        saves = [max(round(fault.save * self._rate), 1) for fault in self._brown_outs]
        edges = {i for span in spans for i in span}
        edges |= {i for save in saves for i in range(-(-start // save) * save, stop, save)}
        cuts = [start, *sorted(i for i in edges if start < i < stop), stop]
        for begin, end in pairwise(cuts):
            if any(begin == last for _, last in spans):
                self._filter.restore(self._checkpoint)
            down = any(first <= begin < last for first, last in spans)
            if not down and any(begin % save == 0 for save in saves):
                self._checkpoint = self._filter.state()
            piece = Samples(samples.microvolts[begin - start : end - start], samples.flags[begin - start : end - start])
            if down:
                flags = piece.flags | np.uint8(Flag.BROWN_OUT)
                piece = Samples(np.full(len(flags), self._held), flags)
            else:
                self._held = float(piece.microvolts[-1])
            yield self._process(piece)

    def state(self) -> State:
        """What `restore` takes."""
        return nest(
            filter=self._filter.state(),
            checkpoint=self._checkpoint,
            resampler=self._resampler.state(),
            flags=self._flags.state(),
            own={"taken": np.array(self._taken), "held": np.array(self._held)},
        )

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken; InputError for the state of another front end."""
        self._filter.restore(part(state, "checkpoint"))
        self._checkpoint = self._filter.state()
        self._filter.restore(part(state, "filter"))
        self._resampler.restore(part(state, "resampler"))
        self._flags.restore(part(state, "flags"))
        own = part(state, "own")
        self._taken = int(saved(own, "taken", ()))
        self._held = float(saved(own, "held", ()))
