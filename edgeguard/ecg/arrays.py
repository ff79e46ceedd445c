"""Records that are numpy arrays already."""

from collections.abc import Sequence

import numpy as np

from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, Record
from edgeguard.errors import InputError

Signals = np.ndarray | Sequence[np.ndarray]
"""[N, T], or N arrays [T_i] of lengths of their own; microvolts."""


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
