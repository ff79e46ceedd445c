"""Records that are numpy arrays already, or files, as a caller of the Python API has them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.origin import trained_on
from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, WINDOW, Record
from edgeguard.ecg.sources import load_dataset
from edgeguard.errors import InputError

Data = str | Path | Dataset
"""A source as `load_dataset` takes it, or a loaded one."""
Signals = np.ndarray | Sequence[np.ndarray]
"""[N, T], or N arrays [T_i] of lengths of their own; microvolts."""
Labels = str | Path | Sequence[str] | Sequence[int] | np.ndarray
"""A reference CSV of data, or of signals a class a record, by name or by place."""


def records_of(
    data: Data | None = None,
    ecg: Signals | None = None,
    labels: Labels | None = None,
    *,
    run_options: dict[str, Any] | None = None,
    window: int = WINDOW,
    classes: Sequence[str] = CLASSES,
    sampling_rate: float = SAMPLING_RATE,
) -> Dataset:
    """The records of `data`, or of `ecg` with `labels`.

    Args:
        run_options: of the run whose data are meant where none are named.
        window, classes, sampling_rate: of `ecg`, as `dataset_of` takes them.

    Raises InputError for both or half of them, and as `load_dataset` and `dataset_of` do.
    """
    if ecg is not None:
        if data is not None:
            raise InputError("data and ecg: give one of the two")
        if labels is None or isinstance(labels, str | Path):
            raise InputError("labels: the classes of ecg are needed, one a record")
        return dataset_of(ecg, labels, window=window, classes=classes, sampling_rate=sampling_rate)
    if isinstance(data, Dataset):
        return data
    if not (labels is None or isinstance(labels, str | Path)):
        raise InputError("labels: of data a reference CSV is needed; arrays of labels go with ecg")
    named = None if data is None else str(data), None if labels is None else Path(labels)
    spec, reference = trained_on(run_options or {}, *named)
    return load_dataset(spec, labels=reference)


def dataset_of(
    ecg: Signals,
    labels: Sequence[str] | Sequence[int] | np.ndarray,
    *,
    window: int,
    classes: Sequence[str] = CLASSES,
    sampling_rate: float = SAMPLING_RATE,
) -> Dataset:
    """A data set in memory; every record becomes one window by the window rule.

    Args:
        ecg: microvolts.
        labels: N class names, or their places in `classes`.
        window: samples.
        sampling_rate: of all records, hertz.

    Raises InputError for an array of another shape, a NaN, or a label that is no class.
    """
    if len(ecg) != len(labels):
        raise InputError(f"arrays: {len(ecg)} records and {len(labels)} labels; give one label a record")
    rows = [np.asarray(row, np.float32) for row in ecg]
    for number, row in enumerate(rows):
        if row.ndim != 1:
            raise InputError(f"arrays: record {number} has the shape {list(row.shape)}; give samples [T] of one lead")
    names = [_name(label.item() if isinstance(label, np.generic) else label, classes) for label in labels]
    records = (
        Record(f"{number:05d}", row, sampling_rate, name)
        for number, (row, name) in enumerate(zip(rows, names, strict=True))
    )
    return build("arrays", records, window=window, classes=tuple(classes), sampling_rate=sampling_rate)


def _name(label: str | int, classes: Sequence[str]) -> str:
    if isinstance(label, str) and label in classes:
        return label
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(classes):
        return classes[label]
    places = f"0 to {len(classes) - 1}"
    raise InputError(
        f"arrays: label {label!r} is no class; give one of {', '.join(classes)}, or {places} in that order"
    )
