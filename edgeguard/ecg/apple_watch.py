"""Reader of the ECG export of the Apple Watch, in any language and number format that it comes in.

    Name,Jo                                     Name;Jo
    Classification,Sinus Rhythm                 Klassifizierung;Sinusrhythmus
    Device,"Watch6,7"                           Gerät;"Watch6,7"
    Sample Rate,512 hertz                       Messrate;511,562 Hertz

    Lead,Lead I                                 Ableitung;Ableitung I
    Unit,µV                                     Einheit;µV

    -265.868                                    -265,868

The keys are translated and the format is nowhere documented, so that the header is known by its values: one is a
number of hertz, a later one a unit of voltage. Behind them each line is one sample. After the header a comma is
never a separator. The rate is what the file says (511.562 is as common as 512), the length what it holds.
"""

import re
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain, islice

import numpy as np

from edgeguard.ecg.units import microvolts
from edgeguard.errors import InputError

# No quantifier gives back what it took (`*+`, `++`, `?+`), so that a line takes time in proportion to its length. A tab
# is both blank and separator; hence the cases: a key, a blank one, a blank one and a lone quote; then the separator.
_HERTZ = r"hz|hertz\w*+|herc\w*+|гц|герц\w*+|ヘルツ|赫兹|赫茲|헤르츠|هرتز|הרץ"
_DECIMAL = r"\d++(?:[.,٫]\d++)?+"
_SEPARATOR = r"[^\S\t]*+(?:\t\s*+[,;]?+|[,;])\s*+"
_KEY = rf"(?:\s*+\"?+[^\",;\t]++\"?+|\t*+[^\S\t]|\s*+(?<=[^\S\t])\"){_SEPARATOR}"
_END = r"\s*+\"?+[\s,;]*+"
_RATE = re.compile(rf"{_KEY}\"?+\s*+({_DECIMAL})\s*+(?:{_HERTZ})\.?+{_END}", re.IGNORECASE)
_UNIT = re.compile(rf"{_KEY}\"?+\s*+([mu\N{{MICRO SIGN}}\N{{GREEK SMALL LETTER MU}}]?+v){_END}", re.IGNORECASE)
_SAMPLE = re.compile(rf"\s*+\"?+\s*+([+-]?+{_DECIMAL}(?:e[+-]?+\d++)?+){_END}", re.IGNORECASE)
_LONGEST_HEADER = 40
"""Lines."""

_PLAUSIBLE = (50.0, 5000.0)
"""Hertz."""


def decode(content: bytes) -> str:
    """Text of UTF-8 or UTF-16 with or without a byte-order mark, or of what a spreadsheet made of it (CP1252).

    Raises UnicodeDecodeError for bytes that are none of these.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252")


def is_export(lines: Iterable[str]) -> bool:
    """Does a header of the Apple Watch begin these lines?"""
    return any(_RATE.fullmatch(line) for line in islice(lines, _LONGEST_HEADER))


def parse(where: str, lines: Iterable[str]) -> tuple[np.ndarray, float]:
    """(float32 [L] microvolts, sampling rate in hertz) of an export's lines.

    Raises InputError, naming `where` and the line, for a header without rate or unit, a rate that no watch has,
    a line that is no single number, digits in groups or two decimal marks (1.234,5), and no samples at all.
    """
    rest = iter(lines)
    header = list(islice(rest, _LONGEST_HEADER))
    rate_at, rate = _find(header, _RATE)
    unit_at, unit = _find(header, _UNIT)
    if rate is None:
        raise InputError(f"{where}: no line states the sampling rate, as in `Sample Rate,512 hertz`; export it again")
    if unit is None:
        raise InputError(f"{where}: no line states the unit, as in `Unit,µV`; export it again")
    sampling_rate = float(_with_point(rate))
    if not _PLAUSIBLE[0] <= sampling_rate <= _PLAUSIBLE[1]:
        raise InputError(f"{where}: line {rate_at + 1}: {rate} Hz is no sampling rate of an ECG; mend the line")
    first = max(rate_at, unit_at) + 1
    samples, marks = array("d"), set()
    for number, line in enumerate(chain(header[first:], rest), first + 1):
        text = line.replace("\N{MINUS SIGN}", "-")
        if not text.strip(' \t",;'):
            continue
        match = _SAMPLE.fullmatch(text)
        if match is None:
            raise InputError(f"{where}: line {number}: {line.strip()!r} is not one number; export the recording again")
        marks |= set(match[1]) & set(".,٫")
        samples.append(float(_with_point(match[1])))
    if len(marks) > 1:
        raise InputError(f"{where}: decimal points and decimal commas in one file; export the recording again")
    if not samples:
        raise InputError(f"{where}: holds no samples; export the recording again")
    return np.asarray(samples, np.float64).astype(np.float32) * np.float32(microvolts(where, unit)), sampling_rate


def _find(header: Sequence[str], pattern: re.Pattern[str]) -> tuple[int, str | None]:
    """(index of the first line of the header that the pattern takes, what it found)."""
    for index, line in enumerate(header):
        if match := pattern.fullmatch(line):
            return index, match[1]
    return -1, None


def _with_point(number: str) -> str:
    return number.replace(",", ".").replace("٫", ".")
