"""A data set ready for networks: windows, validity, labels, and a cache for an immediate second start."""

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from edgeguard.ecg.label_map import check_label_map
from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, Record
from edgeguard.ecg.resampling import resample
from edgeguard.ecg.windows import to_window, validity_mask
from edgeguard.errors import InputError

WINDOW_SECONDS = 30.0
"""Length of a window that nobody names."""
_MOST_GAP = 0.5
"""Largest share of a window's samples that may be missing."""
_CACHE_VERSION = 2


@dataclass(frozen=True)
class Dataset:
    """Windows of every record of one source.

    Attributes:
        source: what the user named, for messages.
        names: N record names.
        windows: [N, T] microvolts, int16 where all samples are whole and fit, else float32; memory-mapped.
        labels: int64 [N], indices into `classes`; -1 throughout for records without labels.
        left: int64 [N], samples of left padding.
        length: int64 [N], real samples in the window.
        record_length: int64 [N], samples of the whole recording.
        content: N hex digests of the windows; equal digests are duplicates.
        fingerprint: hex digest over names, labels and content, the same for a zip and its unpacked folder.
        gaps: int64 [G, 3]: record, first sample and end of each gap in a window, by record.
        left_out: label -> records of it that are none of the classes asked for.
        notes: what was done to the records, a line each.
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
    gaps: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), np.int64))
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        classes = ",".join(self.classes) or "no labels"
        return (
            f"Dataset({self.source}: {len(self)} records of {classes}, {self.sampling_rate:g} Hz, "
            f"windows of {self.window:,} samples)"
        )

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
        """Bool [B, 1, T]: False on padding and in gaps."""
        index = np.asarray(index)
        mask = validity_mask(self.left[index], self.length[index], self.window)
        if len(self.gaps):
            for row, record in enumerate(index):
                first, last = np.searchsorted(self.gaps[:, 0], (record, record + 1))
                for _, start, end in self.gaps[first:last]:
                    mask[row, 0, start:end] = False
        return mask


def cache_root() -> Path:
    """EDGEGUARD_CACHE, else the user's cache folder (XDG_CACHE_HOME or ~/.cache) with `edgeguard` in it."""
    if own := os.environ.get("EDGEGUARD_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgeguard"


def build(
    source: str,
    records: Iterable[Record],
    *,
    window: int | None = None,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    label_map: Mapping[str, str] | None = None,
    labelled: bool = True,
) -> Dataset:
    """Prepare recordings to a Dataset in memory: one sampling rate, one list of classes, one window each.

    Samples that are not numbers are gaps: zero in the window, and no part of its mask.

    Args:
        window: samples; None: 30 s.
        classes: of the result, in this order; records of other labels are left out and counted. None: those of the
            records, the classes of CinC 2017 first and in its order.
        sampling_rate: hertz; records of another rate are resampled. None: that of the records, which must be one.
        label_map: label of a record -> class that stands for it.
        labelled: whether every record needs a label.

    Raises InputError for no records or none of the classes, a record without samples or label, records of several
    rates where none is asked for, and a label map to a class that there is not.
    """
    label_map = dict(label_map or {})
    if classes is not None:
        check_label_map(label_map, classes)
    asked, known = sampling_rate, None if classes is None else set(classes)
    names: list[str] = []
    labels: list[str] = []
    rows, left, length, total = [], [], [], []
    gaps: list[tuple[int, int, int]] = []
    rates, left_out, lost = Counter[float](), Counter[str](), 0
    for record in records:
        if len(record.ecg) == 0:
            raise InputError(f"{source}: record {record.name}: has no samples; remove it or restore its file")
        label = _label(source, record, label_map) if labelled else ""
        if labelled and known is not None and label not in known:
            left_out[label] += 1
            continue
        if sampling_rate is None:
            sampling_rate = record.sampling_rate
        if asked is None and record.sampling_rate != sampling_rate:
            raise InputError(
                f"{source}: record {record.name}: sampling rate {record.sampling_rate:g} Hz, others have "
                f"{sampling_rate:g} Hz; name the rate that all are to have with --sampling-rate"
            )
        window = window or round(WINDOW_SECONDS * sampling_rate)
        ecg = resample(record.ecg, record.sampling_rate, sampling_rate)
        row, padding, real = to_window(_compact(ecg), window)
        missing = _gaps(row)
        if sum(end - start for start, end in missing) > _MOST_GAP * real:
            lost += 1
            continue
        for start, end in missing:
            row[start:end] = 0
            gaps.append((len(names), start, end))
        rates[record.sampling_rate] += 1
        names.append(record.name)
        rows.append(_compact(row) if missing else row)
        labels.append(label)
        left.append(padding)
        length.append(real)
        total.append(len(ecg))
    if not names and left_out:
        raise InputError(_none_left(source, left_out, classes or ()))
    if not names:
        raise InputError(f"{source}: holds no records; name a CinC-2017 zip or folder, a WFDB folder, or synthetic")
    assert sampling_rate is not None
    if classes is None:
        classes = ordered_classes(set(labels)) if labelled else ()
    place = {name: number for number, name in enumerate(classes)} if labelled else {"": -1}
    whole = all(row.dtype == np.int16 for row in rows)
    windows = np.stack(rows) if whole else np.stack(rows).astype(np.float32)
    content = tuple(hashlib.sha256(row.astype("<f4").tobytes()).hexdigest() for row in windows)
    numbers = np.array([place[label] for label in labels], np.int64)
    summary = [[n, int(c), h] for n, c, h in sorted(zip(names, numbers, content, strict=True))]
    fingerprint = hashlib.sha256(json.dumps(summary).encode()).hexdigest()
    dataset = Dataset(
        source,
        tuple(names),
        windows,
        numbers,
        np.asarray(left, np.int64),
        np.asarray(length, np.int64),
        np.asarray(total, np.int64),
        content,
        fingerprint,
        tuple(classes),
        sampling_rate,
        np.asarray(gaps, np.int64).reshape(-1, 3),
        dict(left_out),
    )
    return replace(dataset, notes=tuple(_notes(dataset, rates, lost, label_map)))


def in_classes(dataset: Dataset, classes: Sequence[str]) -> Dataset:
    """The records of a data set whose class is among those named, with these for their classes.

    Raises InputError where none is left.
    """
    if dataset.classes == tuple(classes):
        return dataset
    place = np.array([classes.index(name) if name in classes else -1 for name in dataset.classes] or [-1])
    labels = np.where(dataset.labels < 0, -1, place[dataset.labels])
    kept = np.flatnonzero((labels >= 0) | (dataset.labels < 0))
    lost = Counter(dataset.classes[label] for label in dataset.labels[labels < 0] if label >= 0)
    if not len(kept):
        raise InputError(_none_left(dataset.source, lost, classes))
    if len(kept) == len(dataset):
        return replace(dataset, labels=labels, classes=tuple(classes))
    moved = {int(old): new for new, old in enumerate(kept)}
    gaps = [(moved[record], start, end) for record, start, end in dataset.gaps.tolist() if record in moved]
    part = replace(
        dataset,
        names=tuple(dataset.names[i] for i in kept),
        windows=dataset.windows[kept],
        labels=labels[kept],
        left=dataset.left[kept],
        length=dataset.length[kept],
        record_length=dataset.record_length[kept],
        content=tuple(dataset.content[i] for i in kept),
        classes=tuple(classes),
        gaps=np.asarray(gaps, np.int64).reshape(-1, 3),
        left_out=dict(lost),
    )
    return replace(part, notes=(*dataset.notes, *_notes(part, {}, 0, {})))


def ordered_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """The classes of CinC 2017 in their order, then others by name."""
    found = set(labels)
    return (*(name for name in CLASSES if name in found), *sorted(found - set(CLASSES)))


def _notes(dataset: Dataset, rates: Mapping[float, int], lost: int, label_map: Mapping[str, str]) -> Iterator[str]:
    """What was done to the records, a line each; nothing where they are as they were."""
    other = {rate: count for rate, count in rates.items() if rate != dataset.sampling_rate}
    for rate, count in sorted(other.items()):
        yield f"{count} records resampled from {rate:g} to {dataset.sampling_rate:g} Hz (polyphase, zero phase)"
    if label_map:
        yield f"labels mapped: {', '.join(f'{label} is {name}' for label, name in label_map.items())}"
    if dataset.left_out:
        counted = ", ".join(f"{count} of class {label}" for label, count in sorted(dataset.left_out.items()))
        yield f"left out: {counted}; the classes are {','.join(dataset.classes)}"
    for label in dataset.left_out:
        for name in dataset.classes:
            if label.casefold() == name.casefold():
                yield f"label {label} and class {name} differ in case alone; join them with --label-map {label}={name}"
    if lacking := [name for place, name in enumerate(dataset.classes) if place not in dataset.labels]:
        yield f"no record of class {', '.join(lacking)}"
    if lost:
        yield f"left out: {lost} records of which more than half of the window is missing"
    if len(dataset.gaps):
        seconds = (dataset.gaps[:, 2] - dataset.gaps[:, 1]).sum() / dataset.sampling_rate
        number = len(set(dataset.gaps[:, 0].tolist()))
        yield f"gaps in {number} records, {seconds:.1f} s in all, which no attack touches"


def _none_left(source: str, left_out: Mapping[str, int], classes: Sequence[str]) -> str:
    found, cased = ",".join(sorted(left_out)), {name.casefold(): name for name in classes}
    joined = ",".join(f"{label}={cased[label.casefold()]}" for label in left_out if label.casefold() in cased)
    mend = joined or f"{next(iter(left_out))}={classes[0]}"
    return (
        f"{source}: its labels {found} are none of the classes {','.join(classes)}; "
        f"say which stands for which, as in --label-map {mend}"
    )


def cached(
    source: str,
    key: str,
    records: Iterable[Record],
    *,
    window: int | None = None,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    label_map: Mapping[str, str] | None = None,
    labelled: bool = True,
) -> Dataset:
    """`build`, or the memory-mapped result of an earlier one with the same content key and settings.

    Args:
        key: hex digest of everything that the records depend on (the source's bytes, labels, lead).
        records: consumed only where the cache has no entry yet.
    """
    settings = {
        "window": window,
        "classes": None if classes is None else tuple(classes),
        "sampling_rate": sampling_rate,
        "label_map": dict(label_map or {}),
        "labelled": labelled,
    }
    told = json.dumps([_CACHE_VERSION, key, settings], sort_keys=True)
    folder = cache_root() / "windows" / hashlib.sha256(told.encode()).hexdigest()[:32]
    if not folder.exists():
        _store(build(source, records, **settings), folder)  # type: ignore[arg-type]
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
            classes=np.asarray(dataset.classes, np.str_),
            sampling_rate=np.asarray(dataset.sampling_rate),
            gaps=dataset.gaps,
            left_out=np.asarray(json.dumps(dict(dataset.left_out))),
            notes=np.asarray(dataset.notes, np.str_),
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
                tuple(index["classes"].tolist()),
                float(index["sampling_rate"]),
                index["gaps"],
                json.loads(str(index["left_out"])),
                tuple(index["notes"].tolist()),
            )
        if windows.ndim != 2 or len(windows) != len(dataset):
            raise ValueError(f"{windows.shape} windows of {len(dataset)} records")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{folder}: damaged window cache ({error}); delete that folder and start again") from error
    return dataset


def _label(source: str, record: Record, label_map: Mapping[str, str]) -> str:
    """The class of a record; InputError for one without a label."""
    if record.label is None:
        raise InputError(
            f"{source}: record {record.name}: has no label; add it to the reference CSV, or pass --labels FILE"
        )
    return label_map.get(record.label, record.label)


def _gaps(row: np.ndarray) -> list[tuple[int, int]]:
    """(first sample, end) of each run of samples that are not numbers."""
    if row.dtype == np.int16:
        return []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ~np.isfinite(row), [False]]).astype(np.int8)))
    return [(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def _compact(ecg: np.ndarray) -> np.ndarray:
    """int16 where nothing is lost by it, else float32."""
    if len(ecg) and np.abs(ecg).max() <= 32767:
        whole = ecg.astype(np.int16)
        if np.array_equal(whole, ecg):
            return whole
    return ecg.astype(np.float32)
