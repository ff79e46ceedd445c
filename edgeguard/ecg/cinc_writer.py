"""Writer of records in the layout of PhysioNet/CinC Challenge 2017, which any WFDB tool reads."""

import re
import shutil
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgeguard.ecg.record import SAMPLING_RATE, Record
from edgeguard.errors import InputError

_NAME = re.compile(r"[A-Za-z0-9_-]+")


def write_cinc(folder: Path, records: Iterable[Record]) -> list[str]:
    """Write `.hea` and `.mat` files, RECORDS and REFERENCE-v3.csv to a new or empty folder, all or nothing.

    Returns the records' names.
    Raises InputError for a folder that holds files, a disk that refuses, a record without label, at another
    rate than 300 Hz, or with samples that are not whole microvolts of 16 bit.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder}: is there already and not an empty folder; name a new one")
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        labels = {record.name: _write(staging, record) for record in records}
        (staging / "RECORDS").write_text("".join(f"{name}\n" for name in labels))
        (staging / "REFERENCE-v3.csv").write_text("".join(f"{name},{label}\n" for name, label in labels.items()))
        staging.chmod(0o755)
        staging.replace(folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror or error}); name another folder") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return list(labels)


def _write(folder: Path, record: Record) -> str:
    """Write one record's two files; returns its label."""
    samples = record.ecg.astype("<i2")
    if not _NAME.fullmatch(record.name):
        raise InputError(f"record {record.name!r}: not a WFDB name; use letters, digits, - and _")
    if record.label is None or record.sampling_rate != SAMPLING_RATE or len(samples) == 0:
        raise InputError(f"record {record.name}: needs samples, a label and {SAMPLING_RATE:g} Hz to be written")
    if not np.array_equal(samples, record.ecg):
        raise InputError(f"record {record.name}: samples are not whole microvolts within 16 bit; round them first")
    header = struct.pack("<5i4s", 30, 1, len(samples), 0, 4, b"val\0")
    (folder / f"{record.name}.mat").write_bytes(header + samples.tobytes())
    checksum = int(samples.astype(np.int64).sum()) & 0xFFFF
    checksum -= (checksum & 0x8000) << 1
    (folder / f"{record.name}.hea").write_text(
        f"{record.name} 1 {SAMPLING_RATE:g} {len(samples)}\n"
        f"{record.name}.mat 16+24 1000/mV 16 0 {samples[0]} {checksum} 0 ECG\n"
    )
    return record.label
