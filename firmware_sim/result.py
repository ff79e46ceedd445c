"""What a simulation found."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeguard.firmware_sim.decisions import EpisodeEvent
from edgeguard.firmware_sim.samples import State


@dataclass(frozen=True)
class RecordResult:
    """One recording's share.

    Attributes:
        name: of the recording.
        label: its reference, or None.
        decisions: number of scored decisions by class, of windows that lie in this recording alone.
        seconds: its length.
    """

    name: str
    label: str | None
    decisions: dict[str, int]
    seconds: float = 0.0

    @property
    def majority(self) -> str | None:
        """The most frequent decision, the one seen earlier of equals; None without decisions."""
        return max(self.decisions, key=self.decisions.__getitem__) if self.decisions else None


@dataclass(frozen=True)
class SimulationResult:
    """Figures of a simulation.

    Attributes:
        records: one entry a recording, in order.
        by_class: number of scored decisions by class, every class named.
        warming_up: number of hops without a score, because the first window was not full.
        invalid: number of hops without a score, because the window held a gap.
        latencies: seconds of each scored decision.
        deadline: seconds allowed to a decision.
        signal_seconds: length of the signal.
        wall_seconds: time that playing it took.
        dropped_samples: samples lost by FIFO overflows.
        overflows: number of FIFO overflows.
        episodes: announced, in the order of their ends.
        peak_rss_bytes: largest resident memory of the process so far; None where it cannot be measured.
        state: what a later simulation of the same watch goes on from.
    """

    records: tuple[RecordResult, ...]
    by_class: dict[str, int]
    warming_up: int
    latencies: tuple[float, ...]
    deadline: float
    signal_seconds: float
    wall_seconds: float
    dropped_samples: int
    overflows: int
    peak_rss_bytes: int | None
    invalid: int = 0
    episodes: tuple[EpisodeEvent, ...] = ()
    state: State = field(default_factory=dict)

    @property
    def decisions(self) -> int:
        """Number of scored decisions."""
        return len(self.latencies)

    @property
    def deadline_misses(self) -> int:
        """Number of decisions that took longer than the deadline."""
        return sum(seconds > self.deadline for seconds in self.latencies)

    @property
    def unscored(self) -> tuple[str, ...]:
        """Recordings that ended before a window of their own was scored."""
        return tuple(record.name for record in self.records if not record.decisions)

    @property
    def agreement(self) -> tuple[int, int]:
        """(recordings whose majority decision is their label, recordings that have both)."""
        compared = [r.majority == r.label for r in self.records if r.label is not None and r.decisions]
        return sum(compared), len(compared)

    @property
    def processor_share(self) -> float:
        """Share of one core that the decisions took at the signal's own pace."""
        return sum(self.latencies) / self.signal_seconds if self.signal_seconds else 0.0

    def latency_ms(self) -> dict[str, float]:
        """Median, 99th percentile and maximum in milliseconds; NaN without decisions."""
        if not self.latencies:
            return dict.fromkeys(("p50", "p99", "max"), float("nan"))
        p50, p99, longest = np.percentile(self.latencies, (50, 99, 100)) * 1e3
        return {"p50": float(p50), "p99": float(p99), "max": float(longest)}

    def to_json(self) -> dict[str, Any]:
        """JSON-ready figures; agreement is left to those who can put an interval to it."""
        return {
            "decisions": self.decisions,
            "signal_seconds": self.signal_seconds,
            "wall_seconds": self.wall_seconds,
            "latency_ms": self.latency_ms(),
            "deadline_misses": self.deadline_misses,
            "dropped_samples": self.dropped_samples,
            "peak_rss_bytes": self.peak_rss_bytes,
            "deadline_ms": self.deadline * 1e3,
            "fifo_overflows": self.overflows,
            "warming_up": self.warming_up,
            "invalid": self.invalid,
            "episodes": [episode.to_json() for episode in self.episodes],
            "processor_share": self.processor_share,
            "by_class": self.by_class,
            "records": [
                {"name": r.name, "label": r.label, "majority": r.majority, "decisions": r.decisions}
                for r in self.records
            ],
        }
