"""From a score every hop to the episodes that a watch would announce.

One score is not an alarm: neighbouring windows share most of their samples, and a single one is wrong too often for a
whole day of them. A class is announced when enough of the latest hops vote for it, over long enough; the episode
ends when enough of them vote against it; between the two thresholds a hop votes for neither. Hops whose signal or
score is not good enough abstain, and too many of those are an episode of their own, `inconclusive`.

Everything depends on the hops alone: no clock is read, nothing is drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any

import numpy as np

from edgeguard.errors import InputError, unknown

INCONCLUSIVE = "inconclusive"
"""What stands for a class in an episode of signal or scores that cannot be used."""

EPISODE_START = "episode_start"
EPISODE_END = "episode_end"


class Reason(StrEnum):
    """Why an episode ended."""

    OVER = "over"
    """Enough hops voted against it."""

    INCONCLUSIVE = "inconclusive"
    """The signal could not be used for too long."""

    STREAM_ENDED = "stream_ended"


@dataclass(frozen=True)
class DecisionRules:
    """When an episode is announced, and when it ends. `docs/decisions.md` has the reasons for the defaults.

    Attributes:
        watch: the classes whose episodes are announced.
        enter: a hop votes for a class from this probability up.
        leave: a hop votes against a class below this probability.
        votes: how many of the latest `of` hops must agree, for and against; more than half.
        of: hops that have a vote.
        min_duration: seconds from the first vote for an episode to the last one not against it, at least, before it
            is announced.
        refractory: seconds from the end of an announced episode to the next announcement of its class, at least.
        min_quality: a hop of lower quality, 0 to 1, abstains.
        min_confidence: a hop abstains when no class is at least as probable.
        noise: a hop abstains when one of these classes is the most probable.
        look_back: seconds by which the middle of a window lies before its end; start and end are moved by it.
    """

    watch: tuple[str, ...] = ("A",)
    enter: float = 0.6
    leave: float = 0.4
    votes: int = 25
    of: int = 30
    min_duration: float = 60.0
    refractory: float = 60.0
    min_quality: float = 0.8
    min_confidence: float = 0.5
    noise: tuple[str, ...] = ("~",)
    look_back: float = 15.0

    def __post_init__(self) -> None:
        """InputError for a setting that contradicts another one, or that no hop could meet."""
        if not 0 < self.leave <= self.enter <= 1:
            raise InputError(
                f"decisions: enter {self.enter:g}, leave {self.leave:g}; needed: 0 < leave <= enter <= 1; "
                "mend --enter or --leave"
            )
        if not self.of / 2 < self.votes <= self.of:
            raise InputError(
                f"decisions: {self.votes} of {self.of} votes; more than half of them, and no more than all, "
                "can decide; mend --votes"
            )
        for name in ("min_quality", "min_confidence"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise InputError(f"decisions: {name} {value:g} must lie in 0 to 1; mend {_option(name)}")
        for name in ("min_duration", "refractory", "look_back"):
            if not 0 <= (value := getattr(self, name)) < inf:
                raise InputError(f"decisions: {name} {value:g} s must be at least 0; mend {_option(name)}")


@dataclass(frozen=True)
class EpisodeEvent:
    """An announcement, or its end, which tells all of the episode once more.

    Attributes:
        event: EPISODE_START or EPISODE_END.
        t: seconds of the hop that brings the event.
        label: the class, or INCONCLUSIVE.
        start: seconds, the middle of the first window that voted for it.
        end: seconds, the middle of the last window that did not vote against it; None at the start.
        announced: seconds of the hop that announced it.
        confidence: mean probability of the class over the hops that did not vote against it; 1 for an
            inconclusive episode.
        quality: mean quality, 0 to 1, of the same hops.
        reason: why it ended; None at the start.
    """

    event: str
    t: float
    label: str
    start: float
    end: float | None
    announced: float
    confidence: float
    quality: float
    reason: Reason | None = None

    def to_json(self) -> dict[str, Any]:
        """A line of the event log, without the recording's name."""
        return {
            "event": self.event,
            "t": self.t,
            "class": self.label,
            "start": self.start,
            "end": self.end,
            "announced": self.announced,
            "confidence": self.confidence,
            "quality": self.quality,
            "reason": self.reason,
        }


class Decider:
    """Turns the hops of one stream into episodes."""

    def __init__(self, classes: Sequence[str], rules: DecisionRules | None = None) -> None:
        """A fresh stream.

        Args:
            classes: names in the order of the logits.
            rules: None: the defaults.

        Raises InputError when a class to watch is none of the model's.
        """
        self.rules = rules or DecisionRules()
        for label in self.rules.watch:
            if label not in classes:
                raise unknown("--watch", label, classes, problem="no class of the model")
        self._classes = tuple(classes)
        self._unclear = _Track(INCONCLUSIVE, self.rules, enter=1.0, leave=1.0)
        self._watched = [
            _Track(label, self.rules, enter=self.rules.enter, leave=self.rules.leave) for label in self.rules.watch
        ]

    @property
    def announced(self) -> tuple[str, ...]:
        """The episodes that are on: classes, INCONCLUSIVE, or none."""
        return tuple(track.label for track in self._tracks if track.announced is not None)

    def push(self, logits: np.ndarray | None, seconds: float, quality: float = 1.0) -> list[EpisodeEvent]:
        """Take one hop; what it starts and ends.

        Args:
            logits: float [C]; None where there is no score: warming up, or a window with a gap.
            seconds: the hop's end on the signal's clock; rises from hop to hop.
            quality: of the window's signal, 0 to 1.
        """
        probabilities = self._probabilities(logits, quality)
        unclear = self._unclear.push(1.0 if probabilities is None else 0.0, seconds, quality)
        events = []
        if any(event.event == EPISODE_START for event in unclear):
            for track in self._watched:
                events += track.close(seconds, Reason.INCONCLUSIVE)
        events += unclear
        for track in self._watched:
            vote = np.nan if probabilities is None else probabilities[self._classes.index(track.label)]
            events += track.push(vote, seconds, quality)
        return events

    def finish(self, seconds: float) -> list[EpisodeEvent]:
        """The stream ends at `seconds`: ends the episodes that are on, and begins anew."""
        events = [event for track in self._tracks for event in track.close(seconds, Reason.STREAM_ENDED)]
        self.reset()
        return events

    def reset(self) -> None:
        """Begin a new stream."""
        for track in self._tracks:
            track.reset()

    def state(self) -> dict[str, np.ndarray]:
        """Everything that later events depend on, float64; copies."""
        return {track.label: track.state() for track in self._tracks}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from a saved state.

        Raises InputError for a state of other classes or another number of votes.
        """
        for track in self._tracks:
            if track.label not in state or state[track.label].shape != track.state().shape:
                raise InputError(
                    f"decisions: the saved state has no {self.rules.of} hops of class {track.label!r}; restart with "
                    "the rules that it was saved under, or without it"
                )
        for track in self._tracks:
            track.restore(state[track.label])

    @property
    def _tracks(self) -> list["_Track"]:
        return [self._unclear, *self._watched]

    def _probabilities(self, logits: np.ndarray | None, quality: float) -> np.ndarray | None:
        """Softmax of a hop that can be used, else None."""
        if logits is None or not quality >= self.rules.min_quality:
            return None
        probabilities = softmax(logits)
        top = int(np.argmax(probabilities))
        if self._classes[top] in self.rules.noise or not probabilities[top] >= self.rules.min_confidence:
            return None
        return probabilities


def softmax(logits: np.ndarray) -> np.ndarray:
    """Float64 [C] of logits [C]."""
    shifted = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    return np.asarray(shifted / shifted.sum())


class _Track:
    """Votes for one class, and its episode.

    An episode is open from the hop that completes the votes for it. It stays silent until it has lasted, and
    one that ends before that is never heard of.
    """

    def __init__(self, label: str, rules: DecisionRules, *, enter: float, leave: float) -> None:
        self.label = label
        self.announced: float | None = None
        """Seconds of the announcement of the episode that is on."""
        self._rules = rules
        self._enter = enter
        self._leave = leave
        self.reset()

    def reset(self) -> None:
        self.announced = None
        self._hops = np.full((self._rules.of, 3), np.nan)
        """Seconds, probability (NaN: abstains) and quality of the latest hops, oldest first."""
        self._open = False
        self._ended = -inf
        self._first = self._last = np.nan
        self._sums = np.zeros(3)
        """Probability, quality and number of the episode's hops that did not vote against it."""

    def push(self, probability: float, seconds: float, quality: float) -> list[EpisodeEvent]:
        """One hop; NaN abstains."""
        self._hops[:-1] = self._hops[1:]
        self._hops[-1] = seconds, probability, quality
        if self._open:
            self._take(self._hops[-1:])
            if np.count_nonzero(self._hops[:, 1] < self._leave) >= self._rules.votes:
                return self.close(seconds, Reason.OVER)
        if np.count_nonzero(self._hops[:, 1] >= self._enter) < self._rules.votes:
            return []
        if not self._open:
            self._begin()
        return self._announce(seconds)

    def close(self, seconds: float, reason: Reason) -> list[EpisodeEvent]:
        """End the episode, if there is one. Its votes are spent, so that the next one begins after it."""
        self._hops[:, 1] = np.nan
        self._open = False
        if self.announced is None:
            return []
        event = self._event(EPISODE_END, seconds, self.announced, reason)
        self.announced, self._ended = None, seconds
        return [event]

    def state(self) -> np.ndarray:
        """Float64 [3 of + 8]."""
        announced = np.nan if self.announced is None else self.announced
        scalars = [announced, self._open, self._ended, self._first, self._last, *self._sums]
        return np.concatenate([self._hops.ravel(), scalars])

    def restore(self, state: np.ndarray) -> None:
        self._hops = np.array(state[:-8], np.float64).reshape(-1, 3)
        announced, is_open, self._ended, self._first, self._last = (float(value) for value in state[-8:-3])
        self.announced = None if np.isnan(announced) else announced
        self._open = bool(is_open)
        self._sums = np.array(state[-3:], np.float64)

    def _begin(self) -> None:
        """Open an episode at the oldest vote for it."""
        voting = self._hops[np.argmax(self._hops[:, 1] >= self._enter) :]
        self._open = True
        self._first = float(voting[0, 0])
        self._sums = np.zeros(3)
        self._take(voting)

    def _take(self, hops: np.ndarray) -> None:
        """Add hops [K, 3] to the episode."""
        kept = hops[hops[:, 1] >= self._leave]
        if len(kept):
            self._last = float(kept[-1, 0])
            self._sums += [kept[:, 1].sum(), kept[:, 2].sum(), len(kept)]

    def _announce(self, seconds: float) -> list[EpisodeEvent]:
        lasted = self._last - self._first >= self._rules.min_duration
        if self.announced is not None or not lasted or seconds - self._ended < self._rules.refractory:
            return []
        self.announced = seconds
        return [self._event(EPISODE_START, seconds, seconds)]

    def _event(self, event: str, seconds: float, announced: float, reason: Reason | None = None) -> EpisodeEvent:
        confidence, quality = self._sums[:2] / self._sums[2]
        return EpisodeEvent(
            event=event,
            t=seconds,
            label=self.label,
            start=self._on_signal(self._first),
            end=self._on_signal(self._last) if event == EPISODE_END else None,
            announced=announced,
            confidence=float(confidence),
            quality=float(quality),
            reason=reason,
        )

    def _on_signal(self, seconds: float) -> float:
        """The middle of the window that ends at `seconds`; no earlier than the stream."""
        return max(seconds - self._rules.look_back, 0.0)


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
