"""A data set ready for networks: windows, validity, labels, and a cache for an immediate second start."""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, WINDOW, Record
from edgeguard.ecg.windows import to_window, validity_mask
from edgeguard.errors import InputError

_CACHE_VERSION = 1


@dataclass(frozen=True)
class Dataset:
    """Windows of every record of one source.

    Attributes:
        source: what the user named, for messages.
        names: N record names.
        windows: [N, T] microvolts, int16 where all samples are whole and fit, else float32; memory-mapped.
        labels: int64 [N], indices into `classes`.
        left: int64 [N], samples of left padding.
        length: int64 [N], real samples in the window.
        record_length: int64 [N], samples of the whole recording.
        content: N hex digests of the windows; equal digests are duplicates.
        fingerprint: hex digest over names, labels and content, the same for a zip and its unpacked folder.
    """

    source: str
    names: tuple[str, ...]
    windows: np.ndarray
    labels: np.ndarray
    left: np.ndarray
    length: np.ndarray
    record_length: np.ndarray
    content: tuple[str, ...]
    fingerprint: str
    classes: tuple[str, ...] = CLASSES
    sampling_rate: float = SAMPLING_RATE

    def __len__(self) -> int:
        return len(self.names)

    @property
    def window(self) -> int:
        """Samples of one window."""
        return self.windows.shape[1]

    def batch(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ecg float32 [B, 1, T] in microvolts, mask bool [B, 1, T], labels int64 [B]) of given records."""
        index = np.asarray(index)
        ecg = self.windows[index].astype(np.float32)[:, None, :]
        return ecg, self.mask(index), self.labels[index]

    def mask(self, index: np.ndarray) -> np.ndarray:
        """Bool [B, 1, T]: False on padding."""
        return validity_mask(self.left[index], self.length[index], self.window)


def cache_root() -> Path:
    """EDGEGUARD_CACHE, else the user's cache folder (XDG_CACHE_HOME or ~/.cache) with `edgeguard` in it."""
    if own := os.environ.get("EDGEGUARD_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeguard"


def build(
    source: str,
    records: Iterable[Record],
    *,
    window: int = WINDOW,
    classes: tuple[str, ...] = CLASSES,
    sampling_rate: float = SAMPLING_RATE,
) -> Dataset:
    """Prepare labelled records to a Dataset in memory.

    Raises InputError for no records, or one without samples or label, with a NaN or another sampling rate.
    """
    names, rows, labels, left, length, total = [], [], [], [], [], []
    for record in records:
        _check(source, record, classes, sampling_rate)
        row, padding, real = to_window(_compact(record.ecg), window)
        names.append(record.name)
        rows.append(row)
        labels.append(classes.index(record.label or ""))
        left.append(padding)
        length.append(real)
        total.append(len(record.ecg))
    if not names:
        raise InputError(f"{source}: holds no records; name a CinC-2017 zip or folder, a WFDB folder, or synthetic")
    whole = all(row.dtype == np.int16 for row in rows)
    windows = np.stack(rows) if whole else np.stack(rows).astype(np.float32)
    content = tuple(hashlib.sha256(row.astype("<f4").tobytes()).hexdigest() for row in windows)
    summary = [[n, int(c), h] for n, c, h in sorted(zip(names, labels, content, strict=True))]
    fingerprint = hashlib.sha256(json.dumps(summary).encode()).hexdigest()
    return Dataset(
        source,
        tuple(names),
        windows,
        np.asarray(labels, np.int64),
        np.asarray(left, np.int64),
        np.asarray(length, np.int64),
        np.asarray(total, np.int64),
        content,
        fingerprint,
        classes,
        sampling_rate,
    )


def cached(source: str, key: str, records: Iterable[Record], *, window: int = WINDOW) -> Dataset:
    """`build`, or the memory-mapped result of an earlier one with the same content key.

    Args:
        key: hex digest of everything that the result depends on (the source's bytes, labels, settings).
        records: consumed only where the cache has no entry yet.
    """
    digest = hashlib.sha256(f"{_CACHE_VERSION}:{window}:{key}".encode()).hexdigest()[:32]
    folder = cache_root() / "windows" / digest
    if not folder.exists():
        _store(build(source, records, window=window), folder)
    return _load(source, folder)


def _store(dataset: Dataset, folder: Path) -> None:
    staging: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".staging-"))
        np.save(staging / "windows.npy", dataset.windows)
        np.savez(
            staging / "index.npz",
            names=np.asarray(dataset.names),
            labels=dataset.labels,
            left=dataset.left,
            length=dataset.length,
            record_length=dataset.record_length,
            content=np.asarray(dataset.content),
            fingerprint=np.asarray(dataset.fingerprint),
        )
        try:
            staging.rename(folder)
        except OSError:
            if not folder.exists():
                raise
    except OSError as error:
        raise InputError(
            f"{folder.parent}: cannot hold the window cache ({error.strerror or error}); "
            "free space or set EDGEGUARD_CACHE to another folder"
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _load(source: str, folder: Path) -> Dataset:
    try:
        windows = np.load(folder / "windows.npy", mmap_mode="r", allow_pickle=False)
        with np.load(folder / "index.npz", allow_pickle=False) as index:
            dataset = Dataset(
                source,
                tuple(index["names"].tolist()),
                windows,
                index["labels"],
                index["left"],
                index["length"],
                index["record_length"],
                tuple(index["content"].tolist()),
                str(index["fingerprint"]),
            )
        if windows.ndim != 2 or len(windows) != len(dataset):
            raise ValueError(f"{windows.shape} windows of {len(dataset)} records")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder}: damaged window cache ({error}); delete that folder and start again") from error
    return dataset


def _check(source: str, record: Record, classes: tuple[str, ...], sampling_rate: float) -> None:
    where = f"{source}: record {record.name}"
    if len(record.ecg) == 0:
        raise InputError(f"{where}: has no samples; remove it or restore its file")
    if not np.isfinite(record.ecg).all():
        at = int(np.flatnonzero(~np.isfinite(record.ecg))[0])
        raise InputError(f"{where}: sample {at} is not a number; remove the record or fill the gap")
    if record.sampling_rate != sampling_rate:
        raise InputError(
            f"{where}: sampling rate {record.sampling_rate:g} Hz, {sampling_rate:g} Hz needed; resample it"
        )
    if record.label is None:
        raise InputError(f"{where}: has no label; add it to the reference CSV, or pass --labels FILE")
    if record.label not in classes:
        raise InputError(f"{where}: label {record.label!r} is none of {', '.join(classes)}; mend the reference")


def _compact(ecg: np.ndarray) -> np.ndarray:
    """int16 where nothing is lost by it, else float32."""
    if len(ecg) and np.abs(ecg).max() <= 32767:
        whole = ecg.astype(np.int16)
        if np.array_equal(whole, ecg):
            return whole
    return ecg.astype(np.float32)
