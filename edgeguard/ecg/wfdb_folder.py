"""Reader of single-lead WFDB records of any storage format, through PhysioNet's `wfdb` package."""

import numpy as np

from edgeguard.ecg.tree import Tree, stems
from edgeguard.ecg.units import microvolts
from edgeguard.errors import InputError


def find_records(tree: Tree) -> dict[str, str]:
    """Record name -> path without suffix, of every header."""
    return stems(tree, ".hea")


def read_signal(tree: Tree, stem: str) -> tuple[np.ndarray, float]:
    """(float32 [L] microvolts, sampling rate in hertz) of one record; samples marked invalid are NaN.

    Raises InputError for a record in a zip, one that `wfdb` cannot read, several signals, an unknown unit.
    """
    if tree.folder is None:
        raise InputError(f"{tree.path}: WFDB records other than .mat are not read from a zip; unpack it")
    where = tree.where(f"{stem}.hea")
    import wfdb

    try:
        record = wfdb.rdrecord(str(tree.folder / stem))
    except Exception as error:  # wfdb lets through whatever its parsers meet: ValueError, IndexError, its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{where}: not a readable WFDB record ({reason}); restore its files") from error
    if record.n_sig != 1:
        raise InputError(f"{where}: {record.n_sig} signals, 1 needed; keep one lead")
    return (record.p_signal[:, 0] * microvolts(where, record.units[0])).astype(np.float32), float(record.fs)
