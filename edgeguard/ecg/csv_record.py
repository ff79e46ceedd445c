"""Reader of plain CSV: one record a file, one sample a line.

    # sampling_rate: 300
    # unit: uV
    ecg
    -127
    -162

The comments are optional: without them a file is 300 Hz and in microvolts. So is the line of column names
where there is one column; of several, the column `ecg` is read (`ecg_uv`, `ecg_mv`, `ecg_v` state the unit).
A file with the header of an Apple Watch goes to `edgeguard.ecg.apple_watch`.
"""

import math
import re
from array import array
from collections.abc import Iterator
from itertools import chain, islice

import numpy as np

from edgeguard.ecg import apple_watch
from edgeguard.ecg.labels import FILE_NAMES
from edgeguard.ecg.record import SAMPLING_RATE
from edgeguard.ecg.tree import Tree, stems
from edgeguard.ecg.units import microvolts
from edgeguard.ecg.wfdb_header import find_lead
from edgeguard.errors import InputError

_COMMENT = re.compile(r"#\s*(sampling_rate|unit)\s*[:=]\s*(\S+)\s*")
_COLUMN = re.compile(r"ecg(?:_(uv|mv|v))?", re.IGNORECASE)
_NAMED = re.compile(r"(.*?)(?:_(uv|mv|v))?", re.IGNORECASE)
_LONGEST_LINE = 10_000
"""Characters."""

_LEAST_PEAK = 20.0
"""Microvolts: a recording that stays below is taken to be in another unit, unless it states its unit."""


def find_records(tree: Tree) -> dict[str, str]:
    """Record name -> path without suffix, of every CSV file but the labels."""
    return {name: stem for name, stem in stems(tree, ".csv").items() if f"{name}.csv" not in FILE_NAMES}


def read_signal(tree: Tree, stem: str, *, lead: str | int | None = None) -> tuple[np.ndarray, float]:
    """(float32 [L] microvolts, sampling rate in hertz) of one file; empty cells and `nan` are gaps, NaN.

    Args:
        lead: name of the column to take, or its number from 0; None: `ecg`, or the only one.

    Raises InputError for a line that is no number or of more than 10,000 characters, a missing `ecg` column or lead,
    a sampling rate that is no number, an unknown unit, and samples that look like millivolts in a file that states
    no unit.
    """
    where = tree.where(f"{stem}.csv")
    try:
        text = apple_watch.decode(tree.read(f"{stem}.csv"))
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not a text file; a CSV record has one sample a line") from error
    if apple_watch.is_export(_lines(where, text)):
        return apple_watch.parse(where, _lines(where, text))
    stated = {match[1]: match[2] for match in map(_COMMENT.fullmatch, _lines(where, text)) if match}
    rows = (
        (number, [cell.strip() for cell in line.split(",")])
        for number, line in enumerate(_lines(where, text), 1)
        if line.strip() and not line.startswith("#")
    )
    first = list(islice(rows, 1))
    column, unit, has_names = _column(where, first[0][1], lead) if first else (0, None, False)
    unit = stated.get("unit", unit)
    samples = array("d", (_number(where, *row, column) for row in chain(first[has_names:], rows)))
    ecg = np.asarray(samples, np.float32) * np.float32(microvolts(where, unit or "uV"))
    if unit is None and 0 < np.nanmax(np.abs(ecg), initial=0) < _LEAST_PEAK:
        raise InputError(f"{where}: no sample reaches {_LEAST_PEAK:g} microvolts; state the unit, as in `# unit: mV`")
    return ecg, _rate(where, stated.get("sampling_rate", f"{SAMPLING_RATE}"))


def _lines(where: str, text: str) -> Iterator[str]:
    """The lines of `str.splitlines`, one at a time: a list of them takes twenty times the memory of the text.

    Raises InputError for a longer line than a row of samples is.
    """
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        for line in text[start:end].splitlines():
            if len(line) > _LONGEST_LINE:
                raise InputError(f"{where}: a line of {len(line)} characters; a CSV record has one sample a line")
            yield line
        start = end


def _column(where: str, first: list[str], lead: str | int | None) -> tuple[int, str | None, bool]:
    """(index of the samples' column, unit that its name states, whether `first` is a line of names)."""
    has_names = not any(map(_is_number, first))
    if lead is not None:
        named = [_NAMED.fullmatch(cell) for cell in first] if has_names else []
        names = [match[1] if match else "" for match in named] or [""] * len(first)
        at = find_lead(where, names, lead)
        return at, (match[2] if named and (match := named[at]) else None), has_names
    for index, cell in enumerate(first):
        if match := _COLUMN.fullmatch(cell):
            return index, match[1], True
    if len(first) > 1:
        raise InputError(f"{where}: {len(first)} columns, none called ecg; name the samples' column with --lead")
    return 0, None, not _is_number(first[0])


def _number(where: str, line: int, cells: list[str], column: int) -> float:
    cell = cells[column] if column < len(cells) else None
    if cell is None or not (_is_number(cell) or cell == "") or (cell and math.isinf(float(cell))):
        raise InputError(f"{where}: line {line}: {cell or 'nothing'!r} is not a number; write nan where one is missing")
    return float(cell or "nan")


def _rate(where: str, text: str) -> float:
    if not (_is_number(text) and 0 < float(text) < math.inf):
        raise InputError(f"{where}: sampling_rate {text!r} is no number above 0; write `# sampling_rate: 300`")
    return float(text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
