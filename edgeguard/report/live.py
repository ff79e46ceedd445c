"""The watch's face in a terminal: signal, state, probabilities, events and bill, drawn anew with every frame."""

import shutil
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from time import monotonic
from types import TracebackType
from typing import Self, TextIO

import numpy as np

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[2J"
_LEAVE = "\x1b[?25h\x1b[?1049l"
_BEGIN, _END = "\x1b[?2026h\x1b[H", "\x1b[J\x1b[?2026l"
"""Around a frame: terminals that know synchronised output show it at once, others overwrite the last one in place."""

_BRAILLE = 0x2800
_DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bits of a Braille cell, by row and column of its dots."""

_FULL_SCALES = (250, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 400_000)
"""Microvolts at the edge of the picture; few, so that it does not breathe with the signal."""

_EVENTS = 6


@dataclass(frozen=True)
class Frame:
    """What is on the face at one moment.

    Attributes:
        seconds: of the signal so far.
        samples: the newest ones, float [n] in microvolts; not a number where samples were lost.
        sampling_rate: hertz.
        status: of the engine: warming_up, scoring, ...
        label: class that is decided for, or None.
        probabilities: class -> 0 to 1; empty without a score.
        note: why there is no score, or what else the state needs to be understood.
        events: texts of what happened since the last frame.
        bill: lines of text.
    """

    seconds: float
    samples: np.ndarray
    sampling_rate: float
    status: str
    label: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    events: Sequence[str] = ()
    bill: Sequence[str] = ()


class LiveView:
    """Shows frames on a stream: over each other on a terminal, as a line for each change elsewhere.

    A context manager: the terminal is as it was when the block ends, by Ctrl-C too.
    """

    def __init__(self, stream: TextIO, *, frames_per_second: float = 15.0, size: tuple[int, int] | None = None) -> None:
        """A view that has not begun.

        Args:
            frames_per_second: at most; frames that come sooner are left out.
            size: columns and lines; None: those of the terminal, asked with every frame.
        """
        self._stream = stream
        self._pause = 1 / frames_per_second
        self._size = size
        self._terminal = stream.isatty()
        self._drawn = -float("inf")
        self._left_out: Frame | None = None
        self._said: tuple[object, ...] = ()
        self._recent: deque[str] = deque(maxlen=_EVENTS)

    def __enter__(self) -> Self:
        if self._terminal:
            self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._terminal:
            return
        try:
            if self._left_out is not None and kind is None:
                self._draw(self._left_out)
        finally:
            self._write(_LEAVE)

    def show(self, frame: Frame) -> None:
        """Draw a frame, or leave it out, but for its events, when the last one is too recent."""
        if not self._terminal:
            self._say(frame)
            return
        self._recent.extend(frame.events)
        if monotonic() - self._drawn >= self._pause:
            self._draw(frame)
        else:
            self._left_out = frame

    def _draw(self, frame: Frame) -> None:
        columns, lines = self._size or shutil.get_terminal_size()
        text = render(replace(frame, events=tuple(self._recent)), columns, lines, braille=_is_unicode(self._stream))
        # One write, and no line feed after the last line, which would scroll a full screen.
        self._write(_BEGIN + "\r\n".join(line + "\x1b[K" for line in text) + _END)
        self._drawn, self._left_out = monotonic(), None

    def _say(self, frame: Frame) -> None:
        """A line for each event; without any, one when the state changes."""
        for event in frame.events:
            self._write(f"{frame.seconds:10.1f} s  {_printable(event)}\n")
        state = frame.status, frame.label, frame.note
        if state != self._said and not frame.events:
            self._write(f"{frame.seconds:10.1f} s  {_state(frame)}\n")
        self._said = state

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def render(frame: Frame, columns: int, lines: int, *, braille: bool = True) -> list[str]:
    """A frame as text: at most `lines` lines of at most `columns` characters, control characters taken out.

    Args:
        braille: eight dots a character; otherwise one asterisk.
    """
    below = ["", *_bars(frame.probabilities, frame.label, columns)]
    if frame.events:
        below += ["", *(f"* {event}" for event in frame.events)]
    if frame.bill:
        below += ["", *frame.bill]
    height = max(min(lines - 2 - len(below), 12), 3)
    head = f"{_clock(frame.seconds)}  {_state(frame)}"
    seconds = len(frame.samples) / frame.sampling_rate
    scale = full_scale(frame.samples)
    axis = f"+-{scale:,} uV, newest {seconds:.3g} s"
    picture = trace(frame.samples, columns, height, scale, braille=braille)
    return [_printable(line)[:columns] for line in (head, axis, *picture, *below)][:lines]


def full_scale(samples: np.ndarray) -> int:
    """Microvolts of the picture's edge: the least of a few round numbers that all samples fit in, or the largest."""
    largest = np.abs(samples[np.isfinite(samples)]).max(initial=0)
    return next((scale for scale in _FULL_SCALES if largest <= scale), _FULL_SCALES[-1])


def trace(samples: np.ndarray, columns: int, lines: int, scale: float, *, braille: bool = True) -> list[str]:
    """A curve of samples [n] in microvolts as `lines` lines of `columns` characters.

    A column of dots spans all that its samples do, so that no R peak is lost; lost samples leave it empty.
    """
    across, down = (2, 4) if braille else (1, 1)
    dots = np.zeros((down * lines, across * columns), bool)
    edges = np.linspace(0, len(samples), dots.shape[1] + 1).astype(int)
    last: int | None = None
    for column, (start, stop) in enumerate(pairwise(edges.tolist())):
        part = samples[start : max(stop, start + 1)]
        part = part[np.isfinite(part)]
        if not len(part):
            last = None
            continue
        rows = np.clip(np.rint((1 - part / scale) / 2 * (len(dots) - 1)), 0, len(dots) - 1).astype(int)
        joined = rows if last is None else np.append(rows, last)
        dots[joined.min() : joined.max() + 1, column] = True
        last = int(rows[-1])
    if not braille:
        return ["".join("*" if dot else " " for dot in row).rstrip() for row in dots]
    cells = dots.reshape(lines, 4, columns, 2).transpose(0, 2, 1, 3)
    codes = (cells * _DOTS).sum(axis=(2, 3))
    return ["".join(chr(_BRAILLE + code) if code else " " for code in row).rstrip() for row in codes]


def _bars(probabilities: Mapping[str, float], label: str | None, columns: int) -> list[str]:
    room = max(columns - 14, 1)
    return [
        f"{'>' if name == label else ' '} {name:<4}{'#' * round(room * share):<{room}} {100 * share:5.1f} %"
        for name, share in probabilities.items()
    ]


def _state(frame: Frame) -> str:
    parts = [frame.status.replace("_", " ")]
    if frame.label is not None:
        share = frame.probabilities.get(frame.label)
        parts.append(frame.label if share is None else f"{frame.label} {share:.2f}")
    if frame.note:
        parts.append(frame.note)
    return _printable("  ".join(parts))


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{int(seconds * 10) % 10}"


def _printable(text: str) -> str:
    """Text of files, such as a recording's name, must not steer the terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _is_unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "").startswith("utf")
