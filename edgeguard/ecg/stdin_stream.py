"""Raw samples from a pipe: little-endian int16 or float32, or one number a line."""

from collections.abc import Iterator
from math import inf, isfinite
from typing import BinaryIO

import numpy as np

from edgeguard.ecg.stream import Stream
from edgeguard.errors import InputError, unknown

FORMATS = ("int16", "float32", "text")
_BYTES = 8192
_LONGEST_LINE = 1000


def raw_stream(file: BinaryIO, kind: str, sampling_rate: float, *, step: float = 1.0, name: str = "stdin") -> Stream:
    """The samples of an open binary file, as they come.

    Args:
        kind: one of FORMATS; text may have blank lines and `#` comments.
        sampling_rate: hertz.
        step: microvolts of one unit.

    Raises InputError for an unknown kind or a rate or step that is no number above 0; while reading, for a sample
    that is not a finite number, and for a pipe that ends within one.
    """
    if kind not in FORMATS:
        raise unknown(f"{name}: --format", kind, FORMATS)
    if not 0 < sampling_rate < inf:
        raise InputError(f"{name}: sampling rate {sampling_rate:g} Hz must be above 0; mend --rate")
    if not 0 < step < inf:
        raise InputError(f"{name}: {step:g} microvolts a unit must be above 0; mend --step")
    samples = _text(file, name) if kind == "text" else _binary(file, name, np.dtype(kind).newbyteorder("<"))
    return Stream(name, sampling_rate, ((chunk * step).astype(np.float32) for chunk in samples))


def _binary(file: BinaryIO, name: str, word: np.dtype) -> Iterator[np.ndarray]:
    rest, count = b"", 0
    while block := _read(file):
        block = rest + block
        whole = len(block) // word.itemsize * word.itemsize
        chunk = np.frombuffer(block[:whole], word).astype(np.float64)
        if len(bad := np.flatnonzero(~np.isfinite(chunk))):
            raise InputError(f"{name}: sample {count + bad[0]} is not a number; check --format")
        rest, count = block[whole:], count + len(chunk)
        if len(chunk):
            yield chunk
    if rest:
        raise InputError(f"{name}: ends within a sample ({len(rest)} bytes left over); check --format")


def _text(file: BinaryIO, name: str) -> Iterator[np.ndarray]:
    rest, number = b"", 0
    while block := _read(file):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            raise InputError(f"{name}: line {number + len(lines) + 1} is no number; check --format")
        chunk = [_number(line, name, number + i) for i, line in enumerate(lines, 1)]
        number += len(lines)
        if samples := [sample for sample in chunk if sample is not None]:
            yield np.asarray(samples)
    if (last := _number(rest, name, number + 1)) is not None:
        yield np.asarray([last])


def _number(line: bytes, name: str, number: int) -> float | None:
    """The sample of a line, None for a blank one or a comment."""
    text = line.strip()
    if not text or text.startswith(b"#"):
        return None
    try:
        sample = float(text)
    except ValueError:
        sample = inf
    if not isfinite(sample):
        shown = text[:40].decode("utf-8", "replace")
        raise InputError(f"{name}: line {number}: {shown!r} is not a finite number; check --format")
    return sample


def _read(file: BinaryIO) -> bytes:
    """What is there, at least one byte; nothing at the end."""
    return file.read1(_BYTES) if hasattr(file, "read1") else file.read(_BYTES)
