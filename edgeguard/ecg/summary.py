"""What a data set holds: counts, lengths, padding, amplitude, duplicates."""

from dataclasses import dataclass

import numpy as np

from edgeguard.ecg.dataset import Dataset

_CHUNK = 256


@dataclass(frozen=True)
class Range:
    """Smallest, median and largest value."""

    low: float
    median: float
    high: float


@dataclass(frozen=True)
class ClassSummary:
    """The records of one class, or of all.

    Attributes:
        name: of the class.
        records: how many there are.
        seconds: lengths of the whole recordings.
        padded: how many are shorter than the window.
        cut: how many are longer than the window.
        rms: standard deviation of a record's samples, microvolts.
        peak: largest distance of a record's sample from zero, microvolts.
    """

    name: str
    records: int
    seconds: Range
    padded: int
    cut: int
    rms: Range
    peak: Range


@dataclass(frozen=True)
class Summary:
    """What a data set holds.

    Attributes:
        classes: one entry a class that has records.
        total: all records together.
        padding: share of the windows' samples that is padding.
        duplicates: names of records with equal windows, one tuple a group.
        conflicts: groups of `duplicates` whose records have different labels.
        typical: class -> index of the record whose RMS is the median of its class.
    """

    classes: list[ClassSummary]
    total: ClassSummary
    padding: float
    duplicates: list[tuple[str, ...]]
    conflicts: list[tuple[str, ...]]
    typical: dict[str, int]


def summarise(dataset: Dataset) -> Summary:
    """Read all windows once and count."""
    rms, peak = _amplitudes(dataset)
    members = {
        name: np.flatnonzero(dataset.labels == label)
        for label, name in enumerate(dataset.classes)
        if (dataset.labels == label).any()
    }
    groups: dict[str, list[int]] = {}
    for i, digest in enumerate(dataset.content):
        groups.setdefault(digest, []).append(i)
    equal = [group for group in groups.values() if len(group) > 1]
    return Summary(
        classes=[_class_summary(dataset, name, index, rms, peak) for name, index in members.items()],
        total=_class_summary(dataset, "all", np.arange(len(dataset)), rms, peak),
        padding=1 - float(dataset.length.sum()) / (len(dataset) * dataset.window),
        duplicates=[_names(dataset, group) for group in equal],
        conflicts=[_names(dataset, group) for group in equal if len(set(dataset.labels[group])) > 1],
        typical={name: int(index[np.argsort(rms[index])[len(index) // 2]]) for name, index in members.items()},
    )


def _amplitudes(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """(standard deviation, largest distance from zero) of each record's real samples, float64 [N] each."""
    rms, peak = np.empty(len(dataset)), np.empty(len(dataset))
    for start in range(0, len(dataset), _CHUNK):
        index = np.arange(start, min(start + _CHUNK, len(dataset)))
        ecg = dataset.windows[index].astype(np.float32)
        rms[index] = ecg.std(axis=1, where=dataset.mask(index)[:, 0], dtype=np.float64)
        peak[index] = np.abs(ecg).max(axis=1)
    return rms, peak


def _class_summary(dataset: Dataset, name: str, index: np.ndarray, rms: np.ndarray, peak: np.ndarray) -> ClassSummary:
    samples = dataset.record_length[index]
    return ClassSummary(
        name=name,
        records=len(index),
        seconds=_range(samples / dataset.sampling_rate),
        padded=int((samples < dataset.window).sum()),
        cut=int((samples > dataset.window).sum()),
        rms=_range(rms[index]),
        peak=_range(peak[index]),
    )


def _range(values: np.ndarray) -> Range:
    return Range(float(values.min()), float(np.median(values)), float(values.max()))


def _names(dataset: Dataset, index: list[int]) -> tuple[str, ...]:
    return tuple(dataset.names[i] for i in index)
