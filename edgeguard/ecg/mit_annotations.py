"""Reader of WFDB annotation files in MIT format.

Our own, because `wfdb.rdann` never returns from some files: it waits for ever at a note at sample 0 that begins with
`## ` and is neither the first time resolution nor a table of types. Source: annot(5) of the WFDB applications guide,
https://physionet.org/physiotools/wag/annot-5.htm
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_NOTE, _SKIP, _AUX = 22, 59, 63
"""Codes: of a comment, of a longer interval, of an auxiliary note. 60 to 62 say nothing about rhythms."""

_RESOLUTION = re.compile(r"## time resolution: (\d+\.?\d*)")


@dataclass(frozen=True)
class Annotations:
    """What rhythms are read from.

    Attributes:
        samples: of each annotation, from the beginning of the record.
        notes: auxiliary note of each, empty where it has none.
        rate: ticks a second that the file states; None where it does not.
    """

    samples: list[int]
    notes: list[str]
    rate: float | None


def parse_annotations(content: bytes) -> Annotations:
    """The annotations in the bytes of a file, without those about the file itself (comments at sample 0).

    Raises ValueError for bytes that are no such file, or are cut off before the mark of its end.
    """
    samples, notes, rate = [], [], None
    for sample, code, note in _decode(content):
        if sample == 0 and code == _NOTE:
            stated = _RESOLUTION.match(note)
            rate = float(stated[1]) if stated and rate is None else rate
        elif code:
            samples.append(sample)
            notes.append(note)
    return Annotations(samples, notes, rate)


def _decode(content: bytes) -> Iterator[tuple[int, int, str]]:
    """(sample, code, auxiliary note) of each annotation; every step moves on by a word at least."""
    words = np.frombuffer(content, "<u2", len(content) // 2).astype(np.uint16).data
    at = sample = 0
    try:
        while words[at]:
            while words[at] >> 10 == _SKIP:
                interval = words[at + 1] << 16 | words[at + 2]
                sample += interval - (interval >> 31 << 32)
                at += 3
            code, note = words[at] >> 10, ""
            if code > _SKIP:
                raise ValueError("it begins with more about an annotation that is not there")
            sample += words[at] & 0x3FF
            at += 1
            while (more := words[at] >> 10) > _SKIP:
                length = words[at] & 0xFF if more == _AUX else 0
                at += 1
                if length:
                    note = content[2 * at : 2 * at + length].decode("latin-1")
                    at += (length + 1) // 2
            yield sample, code, note
    except IndexError as error:
        raise ValueError("it is cut off") from error
