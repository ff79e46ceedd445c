"""The sensor chain: voltage at the electrode in, samples for the model out.

electrode -> clock -> amplifier and converter -> packets of the FIFO -> firmware filters -> the model's rate

Every stage is causal and carries its state from chunk to chunk; noise and faults are functions of the absolute
sample index. So the output depends on the signal, the settings and the seed, bit for bit, and neither on the
chunks that bring the signal nor on a restart from saved state.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from edgeguard.ecg.front_end import FrontEnd, design_resampling, find_front_end
from edgeguard.errors import InputError
from edgeguard.firmware_sim.amplifier import Amplifier
from edgeguard.firmware_sim.clock import ClockSampler
from edgeguard.firmware_sim.conditioner import Conditioner
from edgeguard.firmware_sim.electrode import ElectrodeModel, LeadOffDetector
from edgeguard.firmware_sim.faults import BrownOut, Fault, LinkFault, bind, clock
from edgeguard.firmware_sim.link import Link
from edgeguard.firmware_sim.resampler import Resampler
from edgeguard.firmware_sim.samples import Samples, State, nest, part, saved


class Sensor:
    """Electrode, clock, amplifier, converter and lead-off comparator: what fills the FIFO.

    Attributes:
        rate: hertz of the converter, as the firmware believes.
        taken: samples converted so far.
    """

    def __init__(
        self, front_end: FrontEnd, source_rate: float, rate: float, *, faults: Sequence[Fault] = (), seed: int = 0
    ) -> None:
        """
        Args:
            source_rate: hertz of the signal that is pushed.
            rate: hertz of the converter.
            faults: bound to the stream's seed (`faults.bind`); those of later stages are left alone.
            seed: of noise, drift and steps.
        """
        sampling = clock(tuple(faults), front_end.clock_error)
        design = design_resampling(source_rate, rate)
        self.rate = rate
        self.taken = 0
        self._expected = rate / source_rate * (1 + sampling.error * 1e-6)
        self._lookahead = design.delay * design.down // design.up + 8
        self._received = 0
        self._last = 0.0
        self._source = Resampler(design, aligned=True)
        self._clock = ClockSampler(sampling, rate)
        self._electrode = ElectrodeModel(front_end, rate, faults=faults, seed=seed)
        self._detector = LeadOffDetector(round(front_end.lead_off_latency * rate))
        self._amplifier = Amplifier(front_end, rate, seed=seed)

    def push(self, microvolts: np.ndarray) -> Samples:
        """Converted samples of a signal [n] in microvolts at the skin, referred to the electrode, at `rate`.

        Raises InputError for a sample that is not a number.
        """
        if len(bad := np.flatnonzero(~np.isfinite(microvolts))):
            raise InputError(
                f"signal: sample {self._received + bad[0]} is not a number; fill the gap or leave the record out"
            )
        if len(microvolts):
            self._received += len(microvolts)
            self._last = float(microvolts[-1])
        return self._convert(self._clock.push(self._source.push(np.asarray(microvolts, np.float64))))

    def finish(self) -> Samples:
        """The last samples, that wait for the signal's continuation: its last value is held."""
        held = np.full(self._lookahead, self._last)
        rest = max(round(self._received * self._expected) - self.taken, 0)
        return self._convert(self._clock.push(self._source.push(held))[:rest])

    def _convert(self, ecg: np.ndarray) -> Samples:
        volts, is_open = self._electrode.push(ecg, self.taken)
        samples = self._amplifier.push(volts, self.taken)
        self.taken += len(ecg)
        return Samples(samples.microvolts, samples.flags | self._detector.push(is_open))

    def state(self) -> State:
        """What `restore` takes."""
        return nest(
            source=self._source.state(),
            clock=self._clock.state(),
            detector=self._detector.state(),
            amplifier=self._amplifier.state(),
            own={"counts": np.array([self.taken, self._received]), "last": np.array(self._last)},
        )

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken; InputError for the state of another front end."""
        self._source.restore(part(state, "source"))
        self._clock.restore(part(state, "clock"))
        self._detector.restore(part(state, "detector"))
        self._amplifier.restore(part(state, "amplifier"))
        own = part(state, "own")
        self.taken, self._received = (int(count) for count in saved(own, "counts", (2,)))
        self._last = float(saved(own, "last", ()))


class SensorChain:
    """Sensor, link and firmware filters in a row.

    Attributes:
        front_end: its numbers.
        source_rate: hertz of the signal that is pushed.
        rate: hertz of the converter.
        model_rate: hertz of what comes out.
        faults: bound to the seed.
        delay: samples at `model_rate` by which the firmware's resampling filter lags.
        link: its counters of lost, duplicated and late packets.
    """

    def __init__(
        self,
        front_end: FrontEnd | str,
        source_rate: float,
        model_rate: float,
        *,
        faults: Sequence[Fault] = (),
        seed: int = 0,
    ) -> None:
        """
        Args:
            front_end: a preset's name, or numbers of one's own.
            source_rate: hertz of the signal that is pushed.
            model_rate: hertz of the model.
            faults: in any combination (`edgeguard.firmware_sim.faults.parse_fault`).
            seed: of all noise and faults.

        Raises InputError for an unknown preset, a rate that is no number above 0, or a filter that the
        converter's rate cannot carry.
        """
        self.front_end = find_front_end(front_end) if isinstance(front_end, str) else front_end
        self.source_rate = source_rate
        self.model_rate = model_rate
        self.rate = self.front_end.rate(model_rate)
        self.faults = bind(faults, seed)
        self._sensor = Sensor(self.front_end, source_rate, self.rate, faults=self.faults, seed=seed)
        self.link = Link(
            [fault for fault in self.faults if isinstance(fault, LinkFault)],
            self.rate,
            packet=self.front_end.fifo_threshold,
        )
        self._conditioner = Conditioner(
            self.front_end,
            self.rate,
            model_rate,
            brown_outs=[fault for fault in self.faults if isinstance(fault, BrownOut)],
        )
        self.delay = self._conditioner.delay

    def push(self, microvolts: np.ndarray) -> Samples:
        """Samples for the model (float32 microvolts [m], flags uint8 [m]) of a signal [n] at the electrode.

        Raises InputError for a sample that is not a number.
        """
        return self._conditioner.push(self.link.push(self._sensor.push(microvolts)))

    def finish(self) -> Samples:
        """The rest at the end of the signal; the stream then has as many seconds as the signal."""
        first = self._conditioner.push(self.link.push(self._sensor.finish()))
        last = self._conditioner.push(self.link.finish())
        return Samples(*(np.concatenate(both) for both in zip(first, last, strict=True)))

    def state(self) -> State:
        """What `restore` takes: arrays by name."""
        return nest(sensor=self._sensor.state(), link=self.link.state(), conditioner=self._conditioner.state())

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken, in a chain of the same settings; InputError for another's state."""
        self._sensor.restore(part(state, "sensor"))
        self.link.restore(part(state, "link"))
        self._conditioner.restore(part(state, "conditioner"))
