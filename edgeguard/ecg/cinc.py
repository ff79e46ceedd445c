"""Reader of WFDB records whose samples lie in `.mat` files, as the PhysioNet/CinC Challenges store them.

Any sampling rate, gain, unit and number of signals; a zip or a folder. Source of the layout:
https://physionet.org/content/challenge-2017/1.0.0/ and header(5) of the WFDB manual. A `.mat` file is MATLAB level 4:
24 bytes (five int32: type 30 = little-endian int16, number of signals, number of samples, no imaginary part, 4
characters of name; then `val\\0`), then int16 samples, the signals of one instant side by side.
"""

import struct
from pathlib import PurePosixPath

import numpy as np

from edgeguard.ecg.tree import TEXT_BYTES, Tree, stems
from edgeguard.ecg.units import microvolts
from edgeguard.ecg.wfdb_header import find_lead, parse_header
from edgeguard.errors import InputError

_MAT_HEADER = struct.Struct("<5i4s")
_FORMATS = ("16+24", "16x1+24")


def read_signal(tree: Tree, stem: str, *, lead: str | int | None = None) -> tuple[np.ndarray, float]:
    """(float32 [L] microvolts, sampling rate in hertz) of the record whose files are `stem`.hea and `stem`.mat.

    Args:
        lead: name of the signal to take, or its number from 0; None: the only one.

    Raises InputError for a file that is missing, cut off, or at odds with its header, and for a lead that is not there.
    """
    where = tree.where(f"{stem}.hea")
    header = parse_header(where, tree.read(f"{stem}.hea", most=TEXT_BYTES))
    place = find_lead(where, [signal.name for signal in header.signals], lead)
    signal = header.signals[place]
    if signal.format not in _FORMATS:
        raise InputError(f"{where}: storage format {signal.format}, 16+24 (.mat) needed; unpack a zip of other formats")
    stored = _samples(tree, stem, len(header.signals), header.length)[place]
    scale = microvolts(where, signal.unit) / signal.gain
    return ((stored.astype(np.float64) - signal.baseline) * scale).astype(np.float32), header.rate


def find_records(tree: Tree) -> dict[str, str]:
    """Record name -> path without suffix, of every record with a header, samples, or a line in RECORDS."""
    files = stems(tree, ".hea", ".mat")
    for file in map(PurePosixPath, tree.names):
        if file.name == "RECORDS":
            for line in tree.read(str(file), most=TEXT_BYTES).decode("utf-8", "replace").split():
                files.setdefault(PurePosixPath(line).name, str(file.parent / line))
    return files


def _samples(tree: Tree, stem: str, signals: int, expected: int | None) -> np.ndarray:
    """int16 [signals, L] as the converter gave them.

    Args:
        expected: samples that the header promises; None where it does not say.
    """
    where = tree.where(f"{stem}.mat")
    content = tree.read(f"{stem}.mat")
    if len(content) < _MAT_HEADER.size:
        raise InputError(f"{where}: {len(content)} bytes, cut off; restore the file")
    kind, rows, columns, imaginary, name_length, _ = _MAT_HEADER.unpack_from(content)
    if (kind, rows, imaginary, name_length) != (30, signals, 0, 4):
        raise InputError(f"{where}: not a MATLAB level 4 file of {signals} int16 rows; restore the file")
    stored = (len(content) - _MAT_HEADER.size) / 2 / signals
    if not (columns if expected is None else expected) == columns == stored:
        raise InputError(
            f"{where}: length disagrees: {expected} samples in the .hea, {columns} announced and "
            f"{stored:g} stored; restore both files"
        )
    return np.frombuffer(content, "<i2", offset=_MAT_HEADER.size).reshape(columns, signals).T
