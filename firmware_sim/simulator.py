"""Recordings played through sensor, FIFO and model, as a watch would hear them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from time import perf_counter, sleep

import numpy as np

from edgeguard.ecg.front_end import FrontEnd
from edgeguard.ecg.record import Record
from edgeguard.ecg.stream import Stream, stream_record
from edgeguard.errors import InputError
from edgeguard.firmware_sim.decisions import EPISODE_END, Decider, DecisionRules, EpisodeEvent
from edgeguard.firmware_sim.engine import Decision, Engine, Status
from edgeguard.firmware_sim.events import SCHEMA, Emit
from edgeguard.firmware_sim.faults import BrownOut, Fault
from edgeguard.firmware_sim.fifo import DEPTH, THRESHOLD, Fifo
from edgeguard.firmware_sim.flag_log import FlagLog
from edgeguard.firmware_sim.resampled import resampled_stream
from edgeguard.firmware_sim.result import RecordResult, SimulationResult
from edgeguard.firmware_sim.samples import Samples, State, nest, part
from edgeguard.firmware_sim.scorers import StreamModel, WindowModel
from edgeguard.firmware_sim.sensor import SensorChain
from edgeguard.firmware_sim.signal import Signal
from edgeguard.runtime.system import peak_rss_bytes

_PIECE = 10.0
"""Seconds of signal that the sensor chain is given at a time."""


@dataclass(frozen=True)
class WatchOptions:
    """How the simulated watch is set up.

    Attributes:
        hop: seconds between decisions; None: 1 s, or what a streaming file was compiled for.
        chunk: samples at which the FIFO interrupts.
        fifo_depth: samples that the FIFO holds.
        busy: seconds of signal during which one inference keeps the processor from reading the FIFO.
        realtime: keep the pace of the signal, and let the measured time of inference block the FIFO.
        join: one stream over all recordings; otherwise each is its own, and starts anew.
        front_end: the sensor that takes the recordings as voltages at the electrode, at any sampling rate; None: the
            recordings are what its driver delivers.
        faults: that befall the sensor and its link; they need a front end.
        rules: of the episodes that are announced; None announces none.
        seed: of noise and faults.
    """

    hop: float | None = None
    chunk: int = THRESHOLD
    fifo_depth: int = DEPTH
    busy: float = 0.0
    realtime: bool = False
    join: bool = False
    front_end: FrontEnd | None = None
    faults: Sequence[Fault] = field(default_factory=tuple)
    rules: DecisionRules | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises InputError for settings that contradict each other."""
        if not 0 <= self.busy < inf:
            raise InputError(f"busy: {self.busy * 1e3:g} ms must be at least 0; mend --busy-ms or leave it out")
        if self.front_end is None and self.faults:
            raise InputError(f"--fault {self.faults[0].name}: needs a sensor to befall; add --front-end ideal")
        if self.front_end is not None and (self.busy or self.realtime):
            raise InputError("--front-end: has a FIFO of its own; leave out --busy-ms and --realtime, or the front end")


def simulate(
    model: WindowModel | StreamModel,
    records: Iterable[Record | Stream],
    emit: Emit,
    options: WatchOptions | None = None,
    *,
    deadline: float | None = None,
    state: Mapping[str, np.ndarray] | None = None,
    progress: Callable[[float], object] | None = None,
    hear: Callable[[np.ndarray], object] | None = None,
) -> SimulationResult:
    """Play recordings and score them as they come.

    Args:
        records: consumed one at a time, a stream a piece at a time.
        emit: gets every event (`edgeguard.firmware_sim.events`).
        deadline: seconds allowed to a decision; None: the hop.
        state: of an earlier simulation of the same watch, which goes on: `SimulationResult.state`.
        progress: gets the seconds of signal played since its last call.
        hear: gets the samples that the model is given, float32 [n] microvolts, NaN where they were lost.

    A recording at another sampling rate than the model's is resampled first, unless a front end samples it.

    Raises InputError for a bad setting, a model whose logits are not numbers, or the state of another watch.
    """
    options = options or WatchOptions()
    player = _Player(model, emit, options, progress, hear)
    deadline = player.hop_seconds if deadline is None else deadline
    if not deadline > 0:
        raise InputError(f"deadline: {deadline * 1e3:g} ms must be above 0; mend --deadline-ms or leave it out")
    player.header(deadline)
    if state is not None:
        player.restore(state)
    results = []
    seconds, wall = 0.0, 0.0
    for number, record in enumerate(records):
        stream = stream_record(record) if isinstance(record, Record) else record
        signal = Signal(stream if options.front_end else resampled_stream(stream, model.sampling_rate))
        if not options.join and (number or state is None):
            player.reset()
        begin = perf_counter()
        results.append(player.play(signal, last=not options.join))
        wall += perf_counter() - begin
        seconds += signal.taken / signal.sampling_rate
    final = player.state()
    player.finish()
    return SimulationResult(
        records=tuple(results),
        by_class=dict(player.by_class),
        warming_up=player.warming_up,
        invalid=player.invalid,
        latencies=tuple(player.latencies),
        deadline=deadline,
        signal_seconds=seconds,
        wall_seconds=wall,
        dropped_samples=player.dropped,
        overflows=player.fifo.overflows,
        episodes=tuple(player.episodes),
        peak_rss_bytes=peak_rss_bytes(),
        state=final,
    )


class _Player:
    """Carries one stream from the sensor to the event log, and counts."""

    def __init__(
        self,
        model: WindowModel | StreamModel,
        emit: Emit,
        options: WatchOptions,
        progress: Callable[[float], object] | None,
        hear: Callable[[np.ndarray], object] | None,
    ) -> None:
        self.fifo = Fifo(options.fifo_depth, threshold=options.chunk)
        self.by_class: Counter[str] = Counter(dict.fromkeys(model.classes, 0))
        self.warming_up = self.invalid = self.dropped = 0
        self.latencies: list[float] = []
        self.episodes: list[EpisodeEvent] = []
        self._model = model
        self._emit = emit
        self._options = options
        rail = options.front_end.full_scale if options.front_end is not None else inf
        self._engine = Engine(model, hop=options.hop, rails=(-rail, rail))
        self._decider = None if options.rules is None else Decider(model.classes, options.rules)
        brown_outs = [fault.save for fault in options.faults if isinstance(fault, BrownOut)]
        self._save_every = min(brown_outs, default=inf)
        self._checkpoint: State = {} if self._decider is None else self._decider.state()
        self._chain: SensorChain | None = None
        self._busy = round(options.busy * model.sampling_rate)
        self._progress = progress
        self._hear = hear
        self._blocked = 0
        self._status = Status.WARMING_UP
        self._flags = FlagLog()
        self._name = ""

    @property
    def hop_seconds(self) -> float:
        """Between two decisions."""
        return self._engine.hop / self._model.sampling_rate

    def header(self, deadline: float) -> None:
        """The log's first line."""
        front_end = self._options.front_end
        self._emit(
            {
                "event": "header",
                "schema": SCHEMA,
                "model": getattr(self._model, "sha256", None),
                "classes": list(self._model.classes),
                "sampling_rate": self._model.sampling_rate,
                "window": self._model.window,
                "hop": self._engine.hop,
                "front_end": None if front_end is None else front_end.name,
                "deadline_ms": deadline * 1e3,
            }
        )

    def reset(self) -> None:
        """Begin a new stream."""
        self.finish()
        self._engine.reset()
        self._flags.reset()
        self._checkpoint = {} if self._decider is None else self._decider.state()
        self._chain = None
        self._status = Status.WARMING_UP
        self._blocked = 0

    def finish(self) -> None:
        """End the stream: the episodes that are on end with it."""
        if self._decider is not None:
            self._announce(self._decider.finish(self._engine.clock / self._model.sampling_rate))

    def play(self, signal: Signal, *, last: bool) -> RecordResult:
        """All samples of one signal; where it is the `last` of its stream, those on their way included."""
        first, rate = self._engine.clock, self._model.sampling_rate
        self._name = signal.name
        start = {"event": "record", "t": first / rate, "record": signal.name, "label": signal.label}
        self._emit({**start, "samples": signal.samples})
        own: Counter[str] = Counter()
        for decisions in self._heard(signal, last=last):
            own.update(d.label for d in decisions if d.label and d.sample - self._model.window >= first)
        return RecordResult(signal.name, signal.label, dict(own), signal.taken / signal.sampling_rate)

    def state(self) -> State:
        """Everything that later events depend on."""
        states = {"engine": self._engine.state(), "flags": self._flags.state()}
        if self._decider is not None:
            states |= {"decider": self._decider.state(), "checkpoint": self._checkpoint}
        if self._chain is not None:
            states["chain"] = self._chain.state()
        return {**nest(**states), "status": np.array(str(self._status)), "rate": np.array(self._source_rate())}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken; InputError for the state of another watch."""
        try:
            self._engine.restore(part(state, "engine"))
            self._flags.restore(part(state, "flags"))
            if self._decider is not None:
                self._decider.restore(part(state, "checkpoint"))
                self._checkpoint = self._decider.state()
                self._decider.restore(part(state, "decider"))
            if self._options.front_end is not None and float(state["rate"]) > 0:
                self._sensor(float(state["rate"])).restore(part(state, "chain"))
            self._status = Status(str(state["status"]))
        except (KeyError, ValueError) as error:
            raise InputError(f"state: it is not of this watch ({error}); remove it to begin anew") from error

    def _source_rate(self) -> float:
        return 0.0 if self._chain is None else self._chain.source_rate

    def _sensor(self, source_rate: float) -> SensorChain:
        """The chain of this stream; a stream over recordings of several rates changes it at their borders."""
        assert self._options.front_end is not None
        if self._chain is None or self._chain.source_rate != source_rate:
            self._chain = SensorChain(
                self._options.front_end,
                source_rate,
                self._model.sampling_rate,
                faults=self._options.faults,
                seed=self._options.seed,
            )
        return self._chain

    def _heard(self, signal: Signal, *, last: bool) -> Iterator[list[Decision]]:
        """The decisions that fall while the signal is played, as they come."""
        if self._options.front_end is None:
            yield from self._from_driver(signal)
            return
        chain = self._sensor(signal.sampling_rate)
        # The chain packs samples into packets itself: the pieces that it is given change nothing but the speed.
        step = max(round(_PIECE * signal.sampling_rate), 1)
        while len(chunk := signal.take(step)):
            yield from self._take(chain.push(chunk))
            self._advance(len(chunk) / signal.sampling_rate)
        if last:
            yield from self._take(chain.finish())

    def _from_driver(self, signal: Signal) -> Iterator[list[Decision]]:
        """The signal is what the driver delivers: through the FIFO, which may overflow."""
        for chunk in self._arrivals(signal):
            self.fifo.write(chunk)
            samples, lost = self.fifo.read()
            if lost:
                seconds = self._engine.clock / self._model.sampling_rate
                self._emit({"event": "gap", "t": seconds, "record": self._name, "lost": lost})
                self.dropped += lost
            if self._hear is not None:
                self._hear(np.full(lost, np.nan, np.float32) if lost else samples)
            decisions = self._engine.skip(lost) if lost else self._engine.push(samples)
            self._report(decisions)
            self._blocked = sum(d.status is Status.SCORING for d in decisions) * self._busy
            yield decisions
            self._advance(len(chunk) / signal.sampling_rate)

    def _arrivals(self, signal: Signal) -> Iterator[np.ndarray]:
        """What the sensor has delivered each time that the processor comes to read the FIFO."""
        begin = perf_counter()
        while not signal.ended:
            count = max(self.fifo.threshold, self._blocked)
            if self._options.realtime:
                due = (signal.taken + count) / self._model.sampling_rate
                sleep(max(begin + due - perf_counter(), 0.0))
                count = max(count, int((perf_counter() - begin) * self._model.sampling_rate) - signal.taken)
            if len(chunk := signal.take(count)):
                yield chunk

    def _take(self, samples: Samples) -> Iterator[list[Decision]]:
        """Samples of the sensor chain, hop by hop: log what their flags say, and score."""
        begin = 0
        while begin < len(samples.flags):
            end = min(begin + self._engine.to_hop, len(samples.flags))
            piece = Samples(samples.microvolts[begin:end], samples.flags[begin:end])
            self._log_flags(piece)
            if self._hear is not None:
                self._hear(np.where(piece.valid, piece.microvolts, np.float32(np.nan)))
            decisions = self._engine.push(piece.microvolts, piece.flags)
            self._report(decisions)
            yield decisions
            begin = end

    def _log_flags(self, samples: Samples) -> None:
        """What begins and ends to be wrong; after a brown-out the rules restart from what they saved."""
        for place, flag, on in self._flags.push(samples, self._engine.clock):
            seconds = place / self._model.sampling_rate
            self._emit({"event": "signal", "t": seconds, "record": self._name, "flag": flag, "on": on})
            if flag == "brown_out" and not on and self._decider is not None:
                self._decider.restore(self._checkpoint)
        if samples.flags.any():
            self.dropped += int((~samples.valid).sum())

    def _advance(self, seconds: float) -> None:
        if self._progress is not None:
            self._progress(seconds)

    def _report(self, decisions: Sequence[Decision]) -> None:
        for decision in decisions:
            self._log(decision)
            if self._decider is not None:
                logits = None if decision.logits is None else np.array(decision.logits)
                self._announce(self._decider.push(logits, decision.seconds, decision.quality))
                if decision.seconds % self._save_every < self.hop_seconds and decision.status is not Status.INVALID:
                    self._checkpoint = self._decider.state()

    def _announce(self, events: Sequence[EpisodeEvent]) -> None:
        for event in events:
            self._emit({**event.to_json(), "record": self._name})
            if event.event == EPISODE_END:
                self.episodes.append(event)

    def _log(self, decision: Decision) -> None:
        where = {"t": decision.seconds, "record": self._name, "status": decision.status}
        if decision.status is not self._status:
            self._emit({"event": "state", **where})
            self._status = decision.status
        latency_ms = None if decision.latency is None else decision.latency * 1e3
        scores = {"label": decision.label, "logits": decision.logits, "quality": decision.quality}
        self._emit({"event": "decision", **where, **scores, "latency_ms": latency_ms})
        if decision.label is None or decision.latency is None:
            self.warming_up += decision.status is Status.WARMING_UP
            self.invalid += decision.status is Status.INVALID
        else:
            self.by_class[decision.label] += 1
            self.latencies.append(decision.latency)
