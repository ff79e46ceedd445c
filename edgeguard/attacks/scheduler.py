"""Decision-based attacks in lock step: the requests of all live records are answered in common batches."""

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from time import monotonic

import numpy as np

from edgeguard.attacks.meter import MaskingMeter, fidelity
from edgeguard.attacks.oracle import LabelOracle, to_codes
from edgeguard.attacks.walk import Request, Walk

BATCH = 16
"""Rows that the model is asked at a time: more gain nothing."""
LANES = 32
"""Records that a worker attacks at a time."""
_SAVE_EVERY = 10.0
"""Seconds between two calls of `save`."""
_POLL = 0.1
"""Seconds for which an interrupt may go unheard: one that comes just as the wait begins does not end it."""


@dataclass
class Trace:
    """What an attack on one record found, query by query.

    Distances are in microvolts, float64, of points rounded to whole ADC codes.

    Attributes:
        queries: ledger of the record at each improvement, rising.
        l2: smallest L2 distance of an adversarial point so far.
        linf: smallest L-inf distance of an adversarial point so far.
        nearest_l2: float32 [1, T], the point of the smallest L2 distance; None while there is none.
        nearest_linf: the same for L-inf.
        ended: why the attack ended.
    """

    queries: list[int] = field(default_factory=list)
    l2: list[float] = field(default_factory=list)
    linf: list[float] = field(default_factory=list)
    nearest_l2: np.ndarray | None = None
    nearest_linf: np.ndarray | None = None
    ended: str = ""

    def at(self, queries: int) -> tuple[float, float]:
        """(L2, L-inf) reached within that many queries; infinite where no adversarial point was found."""
        index = int(np.searchsorted(self.queries, queries, side="right")) - 1
        return (np.inf, np.inf) if index < 0 else (self.l2[index], self.linf[index])

    def note(self, queries: int, point: np.ndarray, original: np.ndarray) -> None:
        """Take in an adversarial point, rounded to codes, that query number `queries` found."""
        difference = np.subtract(point, original, dtype=np.float64)
        l2, linf = float(np.linalg.norm(difference)), float(np.abs(difference).max())
        best_l2, best_linf = (self.l2[-1], self.linf[-1]) if self.l2 else (np.inf, np.inf)
        if l2 >= best_l2 and linf >= best_linf:
            return
        if l2 < best_l2:
            self.nearest_l2 = point.copy()
        if linf < best_linf:
            self.nearest_linf = point.copy()
        self.queries.append(queries)
        self.l2.append(min(l2, best_l2))
        self.linf.append(min(linf, best_linf))


def run(
    oracle: LabelOracle,
    records: Sequence[int],
    walk_on: Callable[[int], Walk],
    originals: np.ndarray,
    *,
    batch: int = BATCH,
    lanes: int = LANES,
    workers: int = 1,
    codes: Callable[[np.ndarray], np.ndarray] | None = None,
    meter: MaskingMeter | None = None,
    progress: Callable[[int], object] | None = None,
    save: Callable[[], object] | None = None,
) -> dict[int, Trace]:
    """Drive an attack on each record until it has ended or has spent the record's budget.

    What an attack finds depends neither on its company nor on batch, lanes or workers, where the model's logits do not.

    Args:
        oracle: that answers, and counts.
        records: to attack.
        walk_on: the attack on a record, begun when its turn comes.
        originals: float32 [N, 1, T], whole microvolts.
        batch: rows asked at a time.
        lanes: records that a worker attacks at a time.
        workers: threads, each with a batch of its own.
        codes: of a model's input, [B, 1, T]; needed by the meter.
        meter: that the probes are shown to.
        progress: called with the queries just spent; an attack that ends early counts what it leaves.
        save: called now and then, and before an interrupt is passed on; the oracle's journal is all there is to keep.
    """
    share = max(1, min(lanes, -(-len(records) // workers)))
    job = _Job(oracle, walk_on, originals, deque(records), batch, share, codes, meter, progress)
    futures: list[Future[None]] = []
    with ThreadPoolExecutor(workers) as pool:
        try:
            futures += [pool.submit(_Worker(job).drive) for _ in range(workers)]
            saved = monotonic()
            while wait(futures, timeout=_POLL, return_when=FIRST_EXCEPTION).not_done:
                if any(future.done() and future.exception() for future in futures):
                    break
                if save is not None and monotonic() - saved >= _SAVE_EVERY:
                    save()
                    saved = monotonic()
        except KeyboardInterrupt:
            job.stop.set()
            pool.shutdown()
            if save is not None:
                save()
            raise
        finally:
            job.stop.set()
    for future in futures:
        future.result()
    return {record: job.traces[record] for record in records}


@dataclass
class _Job:
    """What the workers share."""

    oracle: LabelOracle
    walk_on: Callable[[int], Walk]
    originals: np.ndarray
    waiting: deque[int]
    batch: int
    lanes: int
    codes: Callable[[np.ndarray], np.ndarray] | None
    meter: MaskingMeter | None
    progress: Callable[[int], object] | None
    traces: dict[int, Trace] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def advance(self, queries: int) -> None:
        if self.progress is not None:
            with self.lock:
                self.progress(queries)


@dataclass
class _Lane:
    """A live attack: its open request, and the answers to it so far."""

    record: int
    walk: Walk
    request: Request
    told: list[bool] = field(default_factory=list)
    repeated: list[bool] = field(default_factory=list)

    @property
    def open(self) -> int:
        """Points not answered yet."""
        return len(self.request.points) - len(self.told)


class _Worker:
    """One thread: fills a batch from its lanes, asks it, and hands the answers back."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._lanes: deque[_Lane] = deque()

    def drive(self) -> None:
        """Until no record waits and none is live, or the job is stopped."""
        while not self._job.stop.is_set():
            self._admit()
            if not self._lanes:
                return
            self._ask()

    def _admit(self) -> None:
        while len(self._lanes) < self._job.lanes:
            try:
                record = self._job.waiting.popleft()
            except IndexError:
                return
            self._job.traces[record] = Trace()
            self._step(record, self._job.walk_on(record), None)

    def _ask(self) -> None:
        """One batch: the lanes in turn, each with what its request still asks for and its budget covers."""
        taken: list[tuple[_Lane, np.ndarray]] = []
        records: list[int] = []
        while self._lanes and len(records) < self._job.batch:
            lane = self._lanes.popleft()
            count = min(lane.open, self._job.batch - len(records), self._job.oracle.remaining(lane.record))
            begin = len(lane.told)
            taken.append((lane, lane.request.points[begin : begin + count]))
            records += [lane.record] * count
        asked = np.array(records, np.int64)
        parts = [points for _, points in taken]
        answer = self._job.oracle.ask(asked, parts[0] if len(parts) == 1 else np.concatenate(parts))
        hits = self._job.oracle.is_adversarial(asked, answer.labels)
        self._job.advance(len(records))
        row = 0
        for lane, points in taken:
            count = len(points)
            rows = slice(row, row + count)
            self._note(lane, points, hits[rows])
            lane.told += hits[rows].tolist()
            lane.repeated += answer.repeated[rows].tolist()
            row += count
            self._go_on(lane)

    def _note(self, lane: _Lane, points: np.ndarray, hits: np.ndarray) -> None:
        """Take in the adversarial points among a lane's rows of this batch; probes are not candidates."""
        if lane.request.centre is not None:
            return
        record = lane.record
        first = int(self._job.oracle.ledger[record]) - len(points) + 1
        for row in np.flatnonzero(hits):
            self._job.traces[record].note(first + int(row), to_codes(points[row]), self._job.originals[record])

    def _go_on(self, lane: _Lane) -> None:
        """Back into the lanes, on to the next request, or out of budget."""
        if not lane.open:
            self._weigh(lane)
            self._step(lane.record, lane.walk, np.array(lane.told, bool))
        elif self._job.oracle.remaining(lane.record):
            self._lanes.appendleft(lane)
        else:
            self._retire(lane.record, lane.walk, "budget spent")

    def _weigh(self, lane: _Lane) -> None:
        """Show a block of probes to the meter."""
        job, centre = self._job, lane.request.centre
        if centre is None or job.meter is None or job.codes is None or not job.meter.wants(lane.record):
            return
        meant = lane.request.points[0] - centre
        both = job.codes(np.rint(np.stack([lane.request.points[0], centre]))).astype(np.int32)
        rms = float(np.linalg.norm(meant)) / math.sqrt(max(int(np.count_nonzero(meant)), 1))
        job.meter.note(rms, np.array(lane.repeated), fidelity(meant, both[0] - both[1]))

    def _step(self, record: int, walk: Walk, told: np.ndarray | None) -> None:
        """Send the answers (None: start) and keep the next request, or retire the record."""
        try:
            request = next(walk) if told is None else walk.send(told)
        except StopIteration as end:
            self._retire(record, walk, end.value)
            return
        if self._job.oracle.remaining(record):
            self._lanes.appendleft(_Lane(record, walk, request))
        else:
            self._retire(record, walk, "budget spent")

    def _retire(self, record: int, walk: Walk, why: str) -> None:
        walk.close()
        self._job.traces[record].ended = why
        self._job.advance(self._job.oracle.remaining(record))
        self._job.oracle.forget(record)
