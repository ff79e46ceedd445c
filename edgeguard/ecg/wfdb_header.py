"""Lines of a WFDB header, bounded before any pattern sees them: those of the `wfdb` package backtrack.

Source: header(5) of the WFDB applications guide, https://physionet.org/physiotools/wag/header-5.htm
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgeguard.errors import InputError

LONGEST_LINE = 1000
"""Characters; header(5) allows 255."""


def header_lines(where: str, content: bytes) -> list[str]:
    """The lines of a header that hold fields: neither empty nor a comment, as the `wfdb` package takes them.

    Args:
        where: names the file in messages.

    Raises InputError for a line of more than `LONGEST_LINE` characters.
    """
    lines = [line.strip() for line in content.decode("ascii", "ignore").splitlines()]
    fields = [line for line in lines if line and not line.startswith("#")]
    longest = max(map(len, fields), default=0)
    if longest > LONGEST_LINE:
        raise InputError(f"{where}: a line of {longest} characters, header(5) allows 255; restore the file")
    return fields


@dataclass(frozen=True)
class Signal:
    """One signal line of a header.

    Attributes:
        file: that holds its samples, or of a segment's layout `~`.
        format: of its storage, such as `16` or `16+24`.
        gain: units of the converter for one physical unit; 200 where the header does not say.
        baseline: sample that stands for 0.
        unit: physical; mV where the header does not say.
        name: description, such as `MLII`; empty where there is none.
    """

    file: str
    format: str
    gain: float
    baseline: int
    unit: str
    name: str


@dataclass(frozen=True)
class Header:
    """What a header says of a record: hertz, samples (None where it does not say) and signals."""

    rate: float
    length: int | None
    signals: tuple[Signal, ...]


_NUMBER = r"[+-]?\d{1,18}(?:\.\d{0,18})?(?:[eE][+-]?\d{1,3})?"
_GAIN = re.compile(rf"({_NUMBER})(?:\(([+-]?\d{{1,9}})\))?(?:/(\S{{1,20}}))?")
_RATE = re.compile(rf"({_NUMBER})(?:[/(].*)?")
_DEFAULT_RATE, _DEFAULT_GAIN = 250.0, 200.0
"""Of header(5)."""


def parse_header(where: str, content: bytes) -> Header:
    """The record line and signal lines of an ordinary record, one that is not made of segments.

    Raises InputError for lines of another form.
    """
    lines = header_lines(where, content)
    fields = lines[0].split() if lines else []
    if len(fields) < 2 or not fields[1].isdecimal() or len(fields[1]) > 4 or "/" in fields[0]:
        raise InputError(f"{where}: not the header of a WFDB record of signals; restore the file")
    rate = _RATE.fullmatch(fields[2]) if len(fields) > 2 else None
    if len(fields) > 2 and rate is None:
        raise InputError(f"{where}: sampling rate {fields[2]} is no number; restore the file")
    hertz = float(rate[1]) if rate else _DEFAULT_RATE
    if not 0 < hertz < float("inf"):
        raise InputError(f"{where}: sampling rate {hertz:g} Hz; above 0 needed, restore the file")
    length = int(fields[3]) if len(fields) > 3 and fields[3].isdecimal() and len(fields[3]) < 19 else None
    number = int(fields[1])
    if len(lines) < 1 + number:
        raise InputError(f"{where}: {len(lines) - 1} signal lines, {number} announced; restore the file")
    return Header(hertz, length or None, tuple(_signal(where, line) for line in lines[1 : 1 + number]))


def _signal(where: str, line: str) -> Signal:
    fields = line.split(None, 8)
    if len(fields) < 2:
        raise InputError(f"{where}: signal line {line[:40]!r} lacks its storage format; restore the file")
    gain = _GAIN.fullmatch(fields[2]) if len(fields) > 2 else None
    if len(fields) > 2 and gain is None:
        raise InputError(f"{where}: gain {fields[2]} is none of header(5); restore the file")
    zero = fields[4] if len(fields) > 4 and re.fullmatch(r"[+-]?\d{1,9}", fields[4]) else "0"
    baseline = int((gain and gain[2]) or zero)
    units_per = float(gain[1]) if gain and float(gain[1]) else _DEFAULT_GAIN
    unit = (gain and gain[3]) or "mV"
    return Signal(fields[0], fields[1], units_per, baseline, unit, fields[8] if len(fields) > 8 else "")


def find_lead(where: str, names: Sequence[str], lead: str | int | None) -> int:
    """Number of the signal that is meant.

    Args:
        names: of the record's signals, in their order.
        lead: a name, whatever its case, or a number from 0; None: the only signal.

    Raises InputError for a record of several signals where none is named, and for one that it lacks.
    """
    known = ", ".join(name or str(place) for place, name in enumerate(names))
    if lead is None:
        if len(names) != 1:
            raise InputError(f"{where}: {len(names)} signals ({known}); name one with --lead")
        return 0
    folded = [name.casefold() for name in names]
    if str(lead).casefold() in folded:
        return folded.index(str(lead).casefold())
    if str(lead).isdecimal() and int(lead) < len(names):
        return int(lead)
    raise InputError(f"{where}: no lead {lead}; its signals are {known}; name one with --lead")
