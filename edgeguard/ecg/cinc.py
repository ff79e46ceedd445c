"""Reader of PhysioNet/CinC Challenge 2017 records: a zip or a folder of `.hea` headers and `.mat` samples.

Source of the layout: https://physionet.org/content/challenge-2017/1.0.0/ and header(5) of the WFDB manual. A
`.mat` file is MATLAB level 4: 24 bytes (five int32: type 30 = little-endian int16, 1 row, L columns, no
imaginary part, 4 characters of name; then `val\\0`), then L int16 samples. With 1000 counts a millivolt, one
count is one microvolt.
"""

import re
import struct
from pathlib import PurePosixPath

import numpy as np

from edgeguard.ecg.record import SAMPLING_RATE
from edgeguard.ecg.tree import TEXT_BYTES, Tree, stems
from edgeguard.ecg.wfdb_header import header_lines
from edgeguard.errors import InputError

_MAT_HEADER = struct.Struct("<5i4s")
_HEADER = re.compile(
    r"\S++[ \t]++(?P<signals>\d++)[ \t]++(?P<rate>\d++(?:\.\d*+)?+)\S*+[ \t]++(?P<length>\d++)[^\n]*+\n"
    r"\S++[ \t]++(?P<storage>\S++)[ \t]++(?P<gain>\d++(?:\.\d*+)?+)(?:\((?P<baseline>-?\d++)\))?+(?:/(?P<unit>\S++))?+"
    r"(?:[ \t]++\d++[ \t]++(?P<zero>-?\d++))?+"
)
"""Record line and first signal line of header(5), without comments; no quantifier gives back what it took."""


def read_signal(tree: Tree, stem: str) -> tuple[np.ndarray, float]:
    """(float32 [L] microvolts, 300.0 Hz) of the record whose files are `stem`.hea and `stem`.mat.

    Raises InputError for a file that is missing, cut off, or at odds with its header, for more than one
    signal, a gain other than 1000 per mV, and another sampling rate.
    """
    return _samples(tree, stem, _header_length(tree, stem)), SAMPLING_RATE


def find_records(tree: Tree) -> dict[str, str]:
    """Record name -> path without suffix, of every record with a header, samples, or a line in RECORDS."""
    files = stems(tree, ".hea", ".mat")
    for file in map(PurePosixPath, tree.names):
        if file.name == "RECORDS":
            for line in tree.read(str(file), most=TEXT_BYTES).decode("utf-8", "replace").split():
                files.setdefault(PurePosixPath(line).name, str(file.parent / line))
    return files


def _header_length(tree: Tree, stem: str) -> int:
    """Samples that the header promises; InputError unless one int16 channel, 300 Hz, microvolts."""
    where = tree.where(f"{stem}.hea")
    match = _HEADER.match("\n".join(header_lines(where, tree.read(f"{stem}.hea", most=TEXT_BYTES))))
    if match is None:
        raise InputError(f"{where}: not a WFDB header of one signal; restore the file")
    if match["signals"] != "1":
        raise InputError(f"{where}: {match['signals']} signals, 1 needed; keep one lead")
    if float(match["rate"]) != SAMPLING_RATE:
        raise InputError(f"{where}: sampling rate {match['rate']} Hz, {SAMPLING_RATE:g} Hz needed; resample it")
    if match["storage"] != "16+24":
        raise InputError(
            f"{where}: storage format {match['storage']}, 16+24 (.mat) needed; unpack a zip of other formats"
        )
    baseline = match["baseline"] or match["zero"] or "0"
    if (float(match["gain"]), match["unit"] or "mV", int(baseline)) != (1000.0, "mV", 0):
        raise InputError(
            f"{where}: gain {match['gain']}/{match['unit'] or 'mV'}, baseline {baseline}; "
            "CinC-2017 has 1000/mV, baseline 0; restore the file"
        )
    return int(match["length"])


def _samples(tree: Tree, stem: str, expected: int) -> np.ndarray:
    """float32 [expected] microvolts."""
    where = tree.where(f"{stem}.mat")
    content = tree.read(f"{stem}.mat")
    if len(content) < _MAT_HEADER.size:
        raise InputError(f"{where}: {len(content)} bytes, cut off; restore the file")
    kind, rows, columns, imaginary, name_length, _ = _MAT_HEADER.unpack_from(content)
    if (kind, rows, imaginary, name_length) != (30, 1, 0, 4):
        raise InputError(f"{where}: not a MATLAB level 4 file of one int16 row; restore the file")
    stored = (len(content) - _MAT_HEADER.size) / 2
    if not expected == columns == stored:
        raise InputError(
            f"{where}: length disagrees: {expected} samples in the .hea, {columns} announced and "
            f"{stored:g} stored; restore both files"
        )
    return np.frombuffer(content, "<i2", offset=_MAT_HEADER.size).astype(np.float32)
