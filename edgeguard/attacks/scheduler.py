"""Decision-based attacks in lock step: each asks for one label at a time, all are answered in one batch."""

from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeguard.attacks.oracle import LabelOracle, to_codes

Walk = Generator[np.ndarray, bool, str]
"""An attack on one record: yields a point, float32 [1, T] microvolts, is sent whether it is adversarial, and
returns why it ended."""

LANES = 64
"""Records that are attacked at a time."""


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
        best_l2, best_linf = self.at(queries)
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
    walks: Mapping[int, Walk],
    originals: np.ndarray,
    *,
    lanes: int = LANES,
    progress: Callable[[int], object] | None = None,
) -> dict[int, Trace]:
    """Drive attacks until each has ended or has spent its record's budget.

    Args:
        oracle: that answers, and counts.
        walks: record -> its attack. An attack's course depends on its own answers only, not on its company.
        originals: float32 [N, 1, T], whole microvolts.
        lanes: attacks at a time; each tick asks one batch of at most this many rows.
        progress: called with the queries just spent; an attack that ends early counts what it leaves.
    """
    traces = {record: Trace() for record in walks}
    waiting = deque(walks)
    live: dict[int, np.ndarray] = {}
    advance = progress or (lambda queries: None)

    def step(record: int, answer: bool | None) -> None:
        """Send the answer (None: start) and keep the next point, or retire the record."""
        live.pop(record, None)
        walk, left = walks[record], oracle.remaining(record)
        try:
            point = next(walk) if answer is None else walk.send(answer)
        except StopIteration as end:
            traces[record].ended = end.value
            advance(left)
            return
        if left > 0:
            live[record] = point
        else:
            walk.close()
            traces[record].ended = "budget spent"

    while waiting or live:
        while waiting and len(live) < lanes:
            step(waiting.popleft(), None)
        if not live:
            continue
        records = np.fromiter(live, np.int64, len(live))
        points = to_codes(np.stack(list(live.values())))
        hits = oracle.is_adversarial(records, oracle.ask(records, points))
        advance(len(records))
        for record, point, hit in zip(records.tolist(), points, hits.tolist(), strict=True):
            if hit:
                traces[record].note(int(oracle.ledger[record]), point, originals[record])
            step(record, hit)
    return traces
