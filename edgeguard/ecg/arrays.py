"""Records that are numpy arrays already, or files, as a caller of the Python API has them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset, build, in_classes
from edgeguard.ecg.origin import Named, file_data, load_named, trained_on
from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, Record
from edgeguard.ecg.sources import is_unlabelled
from edgeguard.errors import InputError

Data = str | Path | Dataset
"""A source as `load_dataset` takes it, or a loaded one."""
Signals = np.ndarray | Sequence[np.ndarray]
"""[N, T], or N arrays [T_i] of lengths of their own; microvolts."""
Labels = str | Path | Sequence[str] | Sequence[int] | np.ndarray
"""A reference CSV of data, or of signals a class a record, by name or by place; `none` for records without labels."""


def records_of(
    data: Data | None = None,
    ecg: Signals | None = None,
    labels: Labels | None = None,
    *,
    run_options: Mapping[str, Any] | None = None,
    file: Path | None = None,
    window: int | None = None,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    ecg_rate: float | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
    seed: int = 0,
) -> Dataset:
    """The records of `data`, or of `ecg` with `labels`, as a model takes them.

    Args:
        data: of a loaded data set only the classes are those of the result.
        run_options: of the run whose data are meant where none are named.
        file: whose run's data are meant so, where the run lies in the file's folder.
        window, classes, sampling_rate, label_map: of the result, as in `edgeguard.ecg.dataset.build`.
        ecg_rate: hertz of `ecg`; None: `sampling_rate`.
        lead: of records that have several, as in `load_dataset`.
        seed: of synthetic records.

    Raises InputError for both or half of them, and as `load_dataset` and `dataset_of` do.
    """
    wanted: dict[str, Any] = dict(window=window, classes=classes, sampling_rate=sampling_rate, label_map=label_map)
    if ecg is not None:
        if data is not None:
            raise InputError("data and ecg: give one of the two")
        if (isinstance(labels, str | Path) and not is_unlabelled(Path(labels))) or labels is None:
            raise InputError("labels: the classes of ecg are needed, one a record, or labels='none'")
        return dataset_of(ecg, None if isinstance(labels, str | Path) else labels, ecg_rate=ecg_rate, **wanted)
    if isinstance(data, Dataset):
        return data if classes is None else in_classes(data, classes)
    if not (labels is None or isinstance(labels, str | Path)):
        raise InputError("labels: of data a reference CSV is needed; arrays of labels go with ecg")
    given = Named(None if data is None else str(data), None if labels is None else Path(labels), label_map, lead)
    named = trained_on(run_options or {}, given) if file is None else file_data(file, given)
    return load_named(named, seed=seed, **{key: value for key, value in wanted.items() if key != "label_map"})


def check_labelled(dataset: Dataset) -> None:
    """Raises InputError for records without labels, where a decision is right or wrong by them."""
    if len(dataset) and dataset.labels[0] < 0:
        raise InputError(f"{dataset.source}: has no labels, which tell right from wrong; name them with --labels FILE")


def dataset_of(
    ecg: Signals,
    labels: Sequence[str] | Sequence[int] | np.ndarray | None,
    *,
    window: int | None = None,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    ecg_rate: float | None = None,
    label_map: Mapping[str, str] | None = None,
) -> Dataset:
    """A data set in memory; every record becomes one window by the window rule.

    Args:
        ecg: microvolts; what is not a number is a gap.
        labels: N class names, or their places in `classes`; None for records without labels.
        window, classes, sampling_rate, label_map: of the result, as in `edgeguard.ecg.dataset.build`.
        ecg_rate: hertz of `ecg`; None: `sampling_rate`, or 300.

    Raises InputError for an array of another shape, or a label that is no class.
    """
    if labels is not None and len(ecg) != len(labels):
        raise InputError(f"arrays: {len(ecg)} records and {len(labels)} labels; give one label a record")
    rows = [np.asarray(row, np.float32) for row in ecg]
    for number, row in enumerate(rows):
        if row.ndim != 1:
            raise InputError(f"arrays: record {number} has the shape {list(row.shape)}; give samples [T] of one lead")
    rate = ecg_rate or sampling_rate or SAMPLING_RATE
    known = CLASSES if classes is None else classes
    names = [None] * len(rows) if labels is None else [_name(_plain(label), known) for label in labels]
    records = (
        Record(f"{number:05d}", row, rate, name) for number, (row, name) in enumerate(zip(rows, names, strict=True))
    )
    return build(
        "arrays",
        records,
        window=window,
        classes=classes,
        sampling_rate=sampling_rate,
        label_map=label_map,
        labelled=labels is not None,
    )


def _plain(label: Any) -> str | int:
    value: str | int = label.item() if isinstance(label, np.generic) else label
    return value


def _name(label: str | int, classes: Sequence[str]) -> str:
    if isinstance(label, str):
        return label
    if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(classes):
        return classes[label]
    places = f"0 to {len(classes) - 1}"
    raise InputError(
        f"arrays: label {label!r} is no class; give one of {', '.join(classes)}, or {places} in that order"
    )
