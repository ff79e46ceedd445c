"""Reader of WFDB records of any storage format, through PhysioNet's `wfdb` package."""

from pathlib import PurePosixPath

import numpy as np

from edgeguard.ecg.tree import Tree, stems
from edgeguard.ecg.units import microvolts
from edgeguard.ecg.wfdb_header import find_lead, header_lines
from edgeguard.errors import InputError


def find_records(tree: Tree) -> dict[str, str]:
    """Record name -> path without suffix, of every header."""
    return stems(tree, ".hea")


def read_signal(tree: Tree, stem: str, *, lead: str | int | None = None) -> tuple[np.ndarray, float]:
    """(float32 [L] microvolts, sampling rate in hertz) of one record; samples marked invalid are NaN.

    Args:
        lead: name of the signal to take, or its number from 0; None: the only one.

    Raises InputError for a record in a zip, one that `wfdb` cannot read, a lead that is not there, an unknown unit,
    segments that are made of segments.
    """
    if tree.folder is None:
        raise InputError(f"{tree.path}: WFDB records other than .mat are not read from a zip; unpack it")
    where = tree.where(f"{stem}.hea")
    check_headers(tree, stem)
    import wfdb

    try:
        record = wfdb.rdrecord(str(tree.folder / stem))
    except Exception as error:  # wfdb lets through whatever its parsers meet: ValueError, IndexError, its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{where}: not a readable WFDB record ({reason}); restore its files") from error
    place = find_lead(where, record.sig_name or [""] * record.n_sig, lead)
    scale = microvolts(where, record.units[place])
    return (record.p_signal[:, place] * scale).astype(np.float32), float(record.fs)


def check_headers(tree: Tree, stem: str) -> None:
    """InputError for a header that `wfdb` would not get through in time: the record's own, or one of its segments'."""
    for segment in _segments(tree, stem):
        if segment != "~" and _segments(tree, str(PurePosixPath(stem).parent / segment)):
            raise InputError(f"{tree.where(f'{stem}.hea')}: segment {segment} is made of segments; store it as one")


def _segments(tree: Tree, stem: str) -> list[str]:
    """Names of the segments that a record is made of, `~` for a gap; none for an ordinary record."""
    lines = header_lines(tree.where(f"{stem}.hea"), tree.read(f"{stem}.hea"))
    return [line.split()[0] for line in lines[1:]] if lines and "/" in lines[0].split()[0] else []
