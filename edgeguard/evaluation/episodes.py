"""How well episodes are found: sensitivity, false alarms a day, delay and burden, against a reference time line.

Rules, in the manner of ANSI/AAMI EC38:2007, whose tallies of overlapping episodes `epicmp` of the WFDB software makes:

- Spans of one class that touch are one episode, in the reference and among the detections.
- A reference episode is found when a detection of its class overlaps it, by however little.
- A detection is a false alarm when it overlaps no reference episode of its class.
- Only time that the reference labels, with whichever class, is scored; detections outside of it are ignored.
- Reference episodes shorter than `shortest` are neither missed nor found, and nothing on them is a false alarm.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import chi2

from edgeguard.ecg.rhythm_annotations import Span, join_spans
from edgeguard.evaluation.intervals import rate
from edgeguard.firmware_sim.decisions import EPISODE_END, INCONCLUSIVE

DAY = 86_400.0
"""Seconds."""


@dataclass(frozen=True)
class Detection:
    """An episode that was announced.

    Attributes:
        span: where it lies, on the signal's clock.
        alarm: seconds at which it was announced, on the same clock.
    """

    span: Span
    alarm: float


@dataclass(frozen=True)
class EpisodeScore:
    """What was found in one stream, or in several.

    Attributes:
        label: the class of the episodes.
        episodes: reference episodes that count.
        found: of these, how many a detection overlaps.
        detections: announced episodes within scored time.
        false_alarms: of these, how many lie on no reference episode.
        delays: seconds from the onset of each found episode to its alarm; 0 where the alarm was on already.
        scored: seconds of labelled reference.
        reference: of these, how many are of the class.
        detected: of these, how many the detections cover.
        agreed: of these, how many both cover.
        inconclusive: of these, how many an episode of `inconclusive` covers.
    """

    label: str
    episodes: int
    found: int
    detections: int
    false_alarms: int
    delays: tuple[float, ...]
    scored: float
    reference: float
    detected: float
    agreed: float
    inconclusive: float

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; `burden` and `misplaced` are shares of the scored time, null where there is none."""
        return {
            "class": self.label,
            "sensitivity": rate(self.found, self.episodes),
            "false_alarms_per_day": events_per_day(self.false_alarms, self.scored),
            "detections": self.detections,
            "delay_s": _quartiles(self.delays),
            "burden": {
                "reference": self._share(self.reference),
                "detected": self._share(self.detected),
                "error": self._share(self.detected - self.reference),
                "misplaced": self._share(self.detected + self.reference - 2 * self.agreed),
            },
            "inconclusive": self._share(self.inconclusive),
            "scored_s": self.scored,
        }

    def _share(self, seconds: float) -> float | None:
        return seconds / self.scored if self.scored else None


def score_episodes(
    reference: Iterable[Span], detections: Iterable[Detection], *, label: str = "A", shortest: float = 0.0
) -> EpisodeScore:
    """Score the detections of one stream by the rules above; the order of either argument does not matter.

    Args:
        reference: the time line; spans of different classes do not overlap.
        detections: of any class; those of `label` are scored, those of `inconclusive` measured.
        shortest: seconds of the shortest reference episode that counts.
    """
    spans = join_spans(span for span in reference if span.end > span.start)
    scored = _union(spans)
    episodes = _pairs([span for span in spans if span.label == label])
    counted = episodes[np.ptp(episodes, axis=1) >= shortest]
    announced = list(detections)
    own, alarms = _joined_alarms([d for d in announced if d.span.label == label])
    unclear = _union(d.span for d in announced if d.span.label == INCONCLUSIVE)
    within = _overlaps(own, scored).any(axis=1)
    own, alarms = own[within], alarms[within]
    hits = _overlaps(counted, own)
    found = hits.any(axis=1)
    first = np.where(hits, alarms[None, :], np.inf)[found].min(axis=1, initial=np.inf)
    return EpisodeScore(
        label=label,
        episodes=len(counted),
        found=int(found.sum()),
        detections=len(own),
        false_alarms=int((~_overlaps(own, episodes).any(axis=1)).sum()),
        delays=tuple(np.maximum(first - counted[found, 0], 0.0).tolist()),
        scored=_seconds(scored),
        reference=_seconds(episodes),
        detected=_common(own, scored),
        agreed=_common(own, episodes),
        inconclusive=_common(unclear, scored),
    )


def pool(scores: Sequence[EpisodeScore]) -> EpisodeScore:
    """The score of several streams together: counts and times add up.

    Raises ValueError for no scores, or scores of different classes.
    """
    labels = {score.label for score in scores}
    if len(labels) != 1:
        raise ValueError(f"scores of one class needed, given {sorted(labels)}")
    return EpisodeScore(
        label=labels.pop(),
        episodes=sum(s.episodes for s in scores),
        found=sum(s.found for s in scores),
        detections=sum(s.detections for s in scores),
        false_alarms=sum(s.false_alarms for s in scores),
        delays=tuple(delay for s in scores for delay in s.delays),
        scored=sum(s.scored for s in scores),
        reference=sum(s.reference for s in scores),
        detected=sum(s.detected for s in scores),
        agreed=sum(s.agreed for s in scores),
        inconclusive=sum(s.inconclusive for s in scores),
    )


def detections_of(events: Iterable[Mapping[str, Any]]) -> list[Detection]:
    """The episodes in the event log of one stream: its `episode_end` events, each of which tells all of one."""
    return [
        Detection(Span(event["start"], event["end"], event["class"]), event["announced"])
        for event in events
        if event["event"] == EPISODE_END
    ]


def events_per_day(count: int, seconds: float, level: float = 0.95) -> dict[str, Any]:
    """{"value", "low", "high", "n"} of a rate a day, n the count, with its exact Poisson interval.

    Source: Garwood 1936 (Biometrika 28:437-442). Without time nothing is known: value NaN, from 0 to infinity.
    """
    if seconds <= 0:
        return {"value": float("nan"), "low": 0.0, "high": float("inf"), "n": count}
    days, tail = seconds / DAY, (1 - level) / 2
    low = chi2.ppf(tail, 2 * count) / 2 if count else 0.0
    high = chi2.isf(tail, 2 * count + 2) / 2
    return {"value": count / days, "low": float(low / days), "high": float(high / days), "n": count}


def _quartiles(delays: Sequence[float]) -> dict[str, float | int | None]:
    quartiles = np.percentile(delays, [50, 25, 75]).tolist() if delays else [None] * 3
    return {**dict(zip(("median", "q1", "q3"), quartiles, strict=True)), "n": len(delays)}


def _joined_alarms(detections: Sequence[Detection]) -> tuple[np.ndarray, np.ndarray]:
    """(float [D, 2] disjoint spans in order, float [D] the first alarm of each) of detections of one class."""
    spans = _union(d.span for d in detections)
    alarms = np.full(len(spans), np.inf)
    at = np.searchsorted(spans[:, 0], [d.span.start for d in detections], side="right") - 1
    np.minimum.at(alarms, at, [d.alarm for d in detections])
    return spans, alarms


def _pairs(spans: Sequence[Span]) -> np.ndarray:
    """Float [K, 2]: start and end."""
    return np.array([(span.start, span.end) for span in spans], float).reshape(-1, 2)


def _union(spans: Iterable[Span]) -> np.ndarray:
    """Float [K, 2]: disjoint, in order, whatever the classes."""
    return _pairs(join_spans(Span(span.start, span.end, "") for span in spans))


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Bool [len(a), len(b)]: do the interiors meet?"""
    return (a[:, None, 0] < b[None, :, 1]) & (b[None, :, 0] < a[:, None, 1])


def _common(a: np.ndarray, b: np.ndarray) -> float:
    """Seconds that lie in both; each is disjoint in itself."""
    ends = np.minimum(a[:, None, 1], b[None, :, 1])
    starts = np.maximum(a[:, None, 0], b[None, :, 0])
    return float(np.maximum(ends - starts, 0.0).sum())


def _seconds(pairs: np.ndarray) -> float:
    return float((pairs[:, 1] - pairs[:, 0]).sum())
