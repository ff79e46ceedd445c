"""Which rhythm holds when: reference time lines, from labelled recordings or from WFDB rhythm annotations.

A rhythm annotation of the WFDB library is an annotation (code `+`, on any other code too) whose auxiliary note
opens a parenthesis and names the rhythm that begins there: `(AFIB`, `(N`, `(VT`; `)` closes it without naming
another, as Icentia11k does. Source: the WFDB applications guide, annotation(5), and the tables of rhythms of the
MIT-BIH arrhythmia and atrial fibrillation databases, https://archive.physionet.org/physiobank/annotations.shtml.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgeguard.ecg.mit_annotations import Annotations, parse_annotations
from edgeguard.ecg.wfdb_header import header_lines
from edgeguard.errors import InputError

RHYTHM_CLASSES: Mapping[str, str] = MappingProxyType({"N": "N", "AFIB": "A", "NOISE": "~"})
"""Rhythm code -> class. Every other code (flutter `AFL`, bigeminy `B`, paced `P`, ...) is another rhythm, `O`."""

_OTHER = "O"


@dataclass(frozen=True, order=True)
class Span:
    """One class from `start` to `end`, seconds on the signal's clock; `end` is not part of it."""

    start: float
    end: float
    label: str

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def join_spans(spans: Iterable[Span]) -> list[Span]:
    """The same time line in order, spans of one class that touch or overlap made one."""
    joined: list[Span] = []
    last: dict[str, int] = {}
    for span in sorted(spans):
        at = last.get(span.label)
        if at is not None and span.start <= joined[at].end:
            joined[at] = Span(joined[at].start, max(joined[at].end, span.end), span.label)
        else:
            last[span.label] = len(joined)
            joined.append(span)
    return sorted(joined)


def labelled_spans(recordings: Iterable[tuple[str | None, float]]) -> list[Span]:
    """The time line of recordings played one after another.

    Args:
        recordings: (label, seconds) of each; the time of one without a label belongs to no span.
    """
    spans, clock = [], 0.0
    for label, seconds in recordings:
        if label is not None:
            spans.append(Span(clock, clock + seconds, label))
        clock += seconds
    return join_spans(spans)


def read_rhythms(
    annotations: Path, *, classes: Mapping[str, str] = RHYTHM_CLASSES, sampling_rate: float | None = None
) -> list[Span]:
    """The time line of a WFDB annotation file, from its first rhythm to the end of the record.

    Without a header beside it, the time line ends with the last annotation.

    Args:
        annotations: such as `04015.atr`; the suffix names the annotator.
        classes: rhythm code -> class; codes that it lacks are class `O`.
        sampling_rate: hertz of the annotations' clock; None: the file's own, else its header's.

    Raises InputError for a file that cannot be read, has no rhythms, or has no sampling rate.
    """
    if not annotations.is_file():
        raise InputError(f"{annotations}: no such file; name a WFDB annotation file such as 04015.atr")
    try:
        found = parse_annotations(annotations.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{annotations}: not a readable WFDB annotation file ({error}); restore it") from error
    header = _header(annotations.with_suffix(".hea"))
    rate = sampling_rate or found.rate or (header and header.fs)
    if not rate or not math.isfinite(rate):
        raise InputError(
            f"{annotations}: no sampling rate, nor a header beside it; put {annotations.with_suffix('.hea')} there"
        )
    spans = _spans(found, rate, classes, end=_end(found, header))
    if not spans:
        raise InputError(f"{annotations}: no rhythm annotation such as (AFIB or (N; name the annotator that has them")
    return spans


def _header(path: Path) -> Any:
    """The `wfdb` package's record of a header; None where there is none."""
    if not path.is_file():
        return None
    import wfdb

    try:
        header_lines(str(path), path.read_bytes())
        header = wfdb.rdheader(str(path.with_suffix("")))
        if (header.sig_len or 0) >= 2**63:
            raise ValueError("more than 2^63 samples")
        return header
    except InputError:
        raise
    except Exception as error:  # wfdb lets through whatever its parsers meet: ValueError, IndexError, its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a readable WFDB header ({reason}); restore it") from error


def _end(annotations: Annotations, header: Any) -> int:
    """The first sample after the record, or after its last annotation."""
    if header is not None and header.sig_len:
        return int(header.sig_len)
    return annotations.samples[-1] if annotations.samples else 0


def _spans(annotations: Annotations, rate: float, classes: Mapping[str, str], *, end: int) -> list[Span]:
    notes = (note.rstrip("\0 ") for note in annotations.notes)
    changes = [(s, note) for s, note in zip(annotations.samples, notes, strict=True) if note[:1] in ("(", ")")]
    return join_spans(
        Span(start / rate, stop / rate, classes.get(note[1:], _OTHER))
        for (start, note), (stop, _) in pairwise([*changes, (end, "")])
        if note[0] == "(" and stop > start
    )
