"""Recordings played through FIFO, ring and model, as a watch would hear them."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from math import inf
from time import perf_counter, sleep

import numpy as np

from edgeguard.ecg.record import Record
from edgeguard.errors import InputError
from edgeguard.firmware_sim.engine import Decision, Engine, Model, Status, hop_samples
from edgeguard.firmware_sim.events import SCHEMA, Emit
from edgeguard.firmware_sim.fifo import DEPTH, THRESHOLD, Fifo
from edgeguard.firmware_sim.result import RecordResult, SimulationResult, peak_rss_bytes


def simulate(
    model: Model,
    records: Iterable[Record],
    emit: Emit,
    *,
    hop: float = 1.0,
    chunk: int = THRESHOLD,
    fifo_depth: int = DEPTH,
    deadline: float | None = None,
    busy: float = 0.0,
    realtime: bool = False,
    join: bool = False,
    progress: Callable[[float], object] | None = None,
) -> SimulationResult:
    """Play recordings and score them as they come.

    Args:
        records: consumed one at a time, each checked before it is played.
        emit: gets every event (`edgeguard.firmware_sim.events`).
        hop: seconds between decisions.
        chunk: samples at which the FIFO interrupts.
        fifo_depth: samples that the FIFO holds.
        deadline: seconds allowed to a decision; None: the hop.
        busy: seconds of signal during which one inference keeps the processor from reading the FIFO.
        realtime: keep the pace of the signal, and let the measured time of inference block the FIFO.
        join: one stream over all recordings; otherwise each is its own, and the ring starts empty.
        progress: gets the seconds of signal played since its last call.

    Raises InputError for a bad setting, a recording at another sampling rate or with samples that are not
    numbers, or a model whose logits are not numbers.
    """
    if not 0 <= busy < inf:
        raise InputError(f"busy: {busy * 1e3:g} ms must be at least 0; mend --busy-ms or leave it out")
    player = _Player(model, emit, Fifo(fifo_depth, threshold=chunk), hop, busy, realtime, progress)
    deadline = hop if deadline is None else deadline
    if not deadline > 0:
        raise InputError(f"deadline: {deadline * 1e3:g} ms must be above 0; mend --deadline-ms or leave it out")
    player.header(deadline)
    results = []
    samples, wall = 0, 0.0
    for record in records:
        check_record(record, model)
        if not join:
            player.reset()
        begin = perf_counter()
        results.append(player.play(record))
        wall += perf_counter() - begin
        samples += len(record.ecg)
    return SimulationResult(
        records=tuple(results),
        by_class=dict(player.by_class),
        warming_up=player.warming_up,
        latencies=tuple(player.latencies),
        deadline=deadline,
        signal_seconds=samples / model.sampling_rate,
        wall_seconds=wall,
        dropped_samples=player.fifo.lost,
        overflows=player.fifo.overflows,
        peak_rss_bytes=peak_rss_bytes(),
    )


def check_record(record: Record, model: Model) -> None:
    """InputError unless the recording has the model's sampling rate and finite samples."""
    if record.sampling_rate != model.sampling_rate:
        raise InputError(
            f"record {record.name}: sampling rate {record.sampling_rate:g} Hz, the model needs "
            f"{model.sampling_rate:g} Hz; resample the recording first"
        )
    if len(bad := np.flatnonzero(~np.isfinite(record.ecg))):
        raise InputError(f"record {record.name}: sample {bad[0]} is not a number; fill the gap or leave the record out")


class _Player:
    """Carries one stream from the sensor to the event log, and counts."""

    def __init__(
        self,
        model: Model,
        emit: Emit,
        fifo: Fifo,
        hop: float,
        busy: float,
        realtime: bool,
        progress: Callable[[float], object] | None,
    ) -> None:
        self.fifo = fifo
        self.by_class: Counter[str] = Counter(dict.fromkeys(model.classes, 0))
        self.warming_up = 0
        self.latencies: list[float] = []
        self._model = model
        self._emit = emit
        self._engine = Engine(model, hop=hop)
        self._hop = hop_samples(hop, model.sampling_rate)
        self._busy = round(busy * model.sampling_rate)
        self._realtime = realtime
        self._progress = progress
        self._blocked = 0
        self._status = Status.WARMING_UP

    def header(self, deadline: float) -> None:
        """The log's first line."""
        self._emit(
            {
                "event": "header",
                "schema": SCHEMA,
                "model": getattr(self._model, "sha256", None),
                "classes": list(self._model.classes),
                "sampling_rate": self._model.sampling_rate,
                "window": self._model.window,
                "hop": self._hop,
                "deadline_ms": deadline * 1e3,
            }
        )

    def reset(self) -> None:
        """Begin a new stream."""
        self._engine.reset()
        self._status = Status.WARMING_UP
        self._blocked = 0

    def play(self, record: Record) -> RecordResult:
        """All samples of one recording, the last, partly filled FIFO included."""
        first, rate = self._engine.clock, self._model.sampling_rate
        start = {"event": "record", "t": first / rate, "record": record.name, "label": record.label}
        self._emit({**start, "samples": len(record.ecg)})
        own: Counter[str] = Counter()
        for chunk in self._arrivals(record.ecg):
            self.fifo.write(chunk)
            scored = [d for d in self._process(record.name) if d.status is Status.SCORING]
            self._blocked = len(scored) * self._busy
            own.update(d.label for d in scored if d.label and d.sample - self._model.window >= first)
            if self._progress is not None:
                self._progress(len(chunk) / rate)
        return RecordResult(record.name, record.label, dict(own))

    def _arrivals(self, ecg: np.ndarray) -> Iterator[np.ndarray]:
        """What the sensor has delivered each time that the processor comes to read the FIFO."""
        begin, acquired = perf_counter(), 0
        while acquired < len(ecg):
            count = max(self.fifo.threshold, self._blocked)
            if self._realtime:
                due = min(acquired + count, len(ecg)) / self._model.sampling_rate
                sleep(max(begin + due - perf_counter(), 0.0))
                count = max(count, int((perf_counter() - begin) * self._model.sampling_rate) - acquired)
            yield ecg[acquired : acquired + count]
            acquired += count

    def _process(self, name: str) -> list[Decision]:
        """Read the FIFO, pass its samples or their loss to the engine, log and count what comes out."""
        samples, lost = self.fifo.read()
        if lost:
            seconds = self._engine.clock / self._model.sampling_rate
            self._emit({"event": "gap", "t": seconds, "record": name, "lost": lost})
        decisions = self._engine.skip(lost) if lost else self._engine.push(samples)
        for decision in decisions:
            self._report(decision, name)
        return decisions

    def _report(self, decision: Decision, name: str) -> None:
        where = {"t": decision.seconds, "record": name, "status": decision.status}
        if decision.status is not self._status:
            self._emit({"event": "state", **where})
            self._status = decision.status
        latency_ms = None if decision.latency is None else decision.latency * 1e3
        scores = {"label": decision.label, "logits": decision.logits}
        self._emit({"event": "decision", **where, **scores, "latency_ms": latency_ms})
        if decision.label is None or decision.latency is None:
            self.warming_up += 1
        else:
            self.by_class[decision.label] += 1
            self.latencies.append(decision.latency)
