"""A day of one synthetic heart, with episodes of atrial fibrillation at known times.

The day is drawn span by span: sinus rhythm or another rhythm in the background, in it episodes of fibrillation and
spells of noise. A span's beats follow one rhythm and go on from the last beat before it; its signal is made in
segments that are added up where they meet, so that memory does not depend on the length of the day.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, exp, inf, log

import numpy as np

from edgeguard.ecg import synthetic_noise as noise
from edgeguard.ecg import synthetic_rhythms as rhythms
from edgeguard.ecg.record import SAMPLING_RATE
from edgeguard.ecg.rhythm_annotations import Span, join_spans
from edgeguard.ecg.synthetic_beats import Morphology, beats, draw_morphology, fibrillatory_wave
from edgeguard.ecg.synthetic_rhythms import Rhythm
from edgeguard.errors import InputError

_RHYTHMS = {
    "N": rhythms.normal,
    "A": rhythms.atrial_fibrillation,
    "O": rhythms.other,
    "~": rhythms.normal,
}
_RANGE = 10_000
"""Microvolts at which the recorder's converter saturates."""

_LONGEST = 1200.0
"""Seconds of the longest background span: a resting rate holds for minutes, not for hours."""

_SEGMENT = 60.0
"""Seconds of signal made at a time, about."""

_BEFORE, _AFTER = 2.0, 4.0
"""Seconds by which a segment's waves reach beyond it; what is left of them then is below half a microvolt."""

_FADE = 1.0
"""Seconds before and after the meeting point of two segments in which one's noise gives way to the other's."""


@dataclass(frozen=True)
class SyntheticDay:
    """A recording of any length; with equal settings a shorter one is the beginning of a longer one.

    Attributes:
        seconds: its length.
        seed: of everything that is drawn.
        sampling_rate: hertz, at least 100.
        gap: mean seconds of background between two episodes of fibrillation, exponential; 60 are added to each.
        episode: shortest and longest episode in seconds; log-uniform between them.
        other_share: probability that a background span is another rhythm than sinus.
        noise_share: probability that a spell of noise, 20 to 120 s long, follows a background span.
    """

    seconds: float = 86_400.0
    seed: int = 0
    sampling_rate: float = SAMPLING_RATE
    gap: float = 3600.0
    episode: tuple[float, float] = (60.0, 1200.0)
    other_share: float = 0.15
    noise_share: float = 0.15

    def __post_init__(self) -> None:
        """InputError for settings that make no day."""
        if not (self.seconds > 0 and self.sampling_rate >= 100):
            raise InputError(
                f"synthetic day: {self.seconds:g} s at {self.sampling_rate:g} Hz; ask for more than 0 s and at "
                "least 100 Hz"
            )
        if not (self.gap > 0 and 10 <= self.episode[0] <= self.episode[1]):
            raise InputError(
                f"synthetic day: gap {self.gap:g} s, episodes of {self.episode[0]:g} to {self.episode[1]:g} s; "
                "ask for a gap above 0 and episodes of at least 10 s, the shorter first"
            )

    @property
    def samples(self) -> int:
        """Its length."""
        return round(self.seconds * self.sampling_rate)

    def time_line(self) -> list[Span]:
        """Which class holds when, without gaps from 0 to the end: N, A, O, and ~ where noise hides the rhythm."""
        spans = []
        for span in self._plan():
            if span.start >= self.seconds:
                break
            spans.append(replace(span, end=min(span.end, self.seconds)))
        return join_spans(spans)

    def blocks(self) -> Iterator[np.ndarray]:
        """The signal from its start: float32 [n], whole microvolts, n at most about a minute's."""
        left = self.samples
        for block in self._endless():
            yield np.rint(np.clip(block[:left], -_RANGE, _RANGE)).astype(np.float32)
            left -= len(block)
            if left <= 0:
                return

    def _plan(self) -> Iterator[Span]:
        """Spans without end, and without regard to the day's length."""
        rng = np.random.default_rng([self.seed, 0])
        start = 0.0
        while True:
            for seconds, label in self._between_episodes(rng):
                yield Span(start, start + seconds, label)
                start += seconds

    def _between_episodes(self, rng: np.random.Generator) -> Iterator[tuple[int, str]]:
        """The background of one gap, then an episode: (whole seconds, class)."""
        left = 60 + rng.exponential(self.gap)
        while left > 0:
            seconds = ceil(min(left, rng.uniform(60, _LONGEST)))
            left -= seconds
            yield max(seconds, 20), "O" if rng.random() < self.other_share else "N"
            if rng.random() < self.noise_share:
                yield ceil(rng.uniform(20, 120)), "~"
        shortest, longest = map(log, self.episode)
        yield ceil(exp(rng.uniform(shortest, longest))), "A"

    def _endless(self) -> Iterator[np.ndarray]:
        """The signal, float64, segment by segment, added up where they overlap."""
        before, after = self._margins
        pending = np.zeros(before + after)
        for number, segment in enumerate(self._segments()):
            segment[: len(pending)] += pending
            ready, pending = np.split(segment, [len(segment) - len(pending)])
            yield ready if number else ready[before:]

    def _segments(self) -> Iterator[np.ndarray]:
        """One segment after another, each with its margins: [before + n + after]."""
        heart = _Heart.draw(np.random.default_rng([self.seed, 1]))
        beat = -inf
        for number, span in enumerate(self._plan()):
            rng = np.random.default_rng([self.seed, 2, number])
            rhythm = _following(_RHYTHMS[span.label](rng, span.seconds + _BEFORE + _AFTER), span.start - beat)
            beat = span.start + rhythm.qrs[rhythm.qrs < span.seconds][-1]
            edges = np.linspace(0, span.seconds, ceil(span.seconds / _SEGMENT) + 1)
            for start, stop in pairwise(edges):
                first, end = (round((span.start + edge) * self.sampling_rate) for edge in (start, stop))
                part = _part(rhythm, start, stop)
                yield self._segment(rng, heart, part, end - first, stormy=span.label == "~")

    def _segment(
        self, rng: np.random.Generator, heart: "_Heart", rhythm: Rhythm, samples: int, *, stormy: bool
    ) -> np.ndarray:
        """The signal that the beats, the atria and the noise of one segment contribute."""
        before, after = self._margins
        length, rate = before + samples + after, self.sampling_rate
        morphology = heart.wide if rhythm.wide else heart.narrow
        late = replace(rhythm, qrs=rhythm.qrs + before / rate, p=rhythm.p + before / rate, fibrillating=False)
        lasting = noise.baseline_wander(rng, length, rate, heart.wander) + noise.muscle(rng, length, rate, heart.muscle)
        if rhythm.fibrillating:
            lasting += fibrillatory_wave(rng, morphology.fibrillation, length, rate)
        if stormy:
            lasting += _storm(rng, length, rate)
        ecg = beats(rng, late, morphology, length, rate) + lasting * _fade(samples, before, after, rate)
        return noise.front_end(ecg, rate)

    @property
    def _margins(self) -> tuple[int, int]:
        """Samples of _BEFORE and _AFTER."""
        return round(_BEFORE * self.sampling_rate), round(_AFTER * self.sampling_rate)


@dataclass(frozen=True)
class _Heart:
    """What stays the same all day: two ways of conduction, and levels of noise in microvolts."""

    narrow: Morphology
    wide: Morphology
    wander: float
    muscle: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "_Heart":
        narrow, wide = draw_morphology(rng), draw_morphology(rng, wide=True)
        return cls(narrow, wide, wander=rng.uniform(30, 90), muscle=rng.uniform(2, 10))


def _following(rhythm: Rhythm, since: float) -> Rhythm:
    """The rhythm moved in time: its first beat comes one interval after the last one, which was `since` seconds ago."""
    first = int(np.argmax(rhythm.qrs >= 0))
    shift = max(rhythm.rr[first] - since, 0.0) - rhythm.qrs[first]
    return replace(rhythm, qrs=rhythm.qrs + shift, p=rhythm.p + shift)


def _part(rhythm: Rhythm, start: float, stop: float) -> Rhythm:
    """The beats with R in [start, stop), on a clock that begins at `start`; a P wave belongs to the R after it."""
    own = (rhythm.qrs >= start) & (rhythm.qrs < stop)
    own_p = np.append(own, False)[np.searchsorted(rhythm.qrs, rhythm.p)]
    return replace(
        rhythm,
        qrs=rhythm.qrs[own] - start,
        rr=rhythm.rr[own],
        ventricular=rhythm.ventricular[own],
        p=rhythm.p[own_p] - start,
    )


def _fade(samples: int, before: int, after: int, sampling_rate: float) -> np.ndarray:
    """Gain [before + samples + after] that keeps the power of unlike noises where two segments meet."""
    at = np.arange(-before, samples + after) / sampling_rate
    rise = np.clip((at + _FADE) / (2 * _FADE), 0, 1)
    fall = np.clip((at - samples / sampling_rate + _FADE) / (2 * _FADE), 0, 1)
    return np.sin(np.pi / 2 * rise) * np.cos(np.pi / 2 * fall)


def _storm(rng: np.random.Generator, samples: int, sampling_rate: float) -> np.ndarray:
    """Muscle, motion and contact noise that hides any rhythm."""
    return (
        noise.muscle(rng, samples, sampling_rate, 250)
        + noise.motion(rng, samples, sampling_rate, 900, 3)
        + noise.contact_steps(rng, samples, sampling_rate, 1500, 0.5)
    )
