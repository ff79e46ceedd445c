"""Which records a model may be judged on: those that it was neither trained nor chosen on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split_from
from edgeguard.errors import InputError
from edgeguard.runtime.files import read_json
from edgeguard.runtime.run_files import SPLIT, holds_parent
from edgeguard.runtime.session import OnnxModel
from edgeguard.runtime.zoo import own_or_shared


@dataclass(frozen=True)
class Training:
    """What is known of the records that a model was trained on.

    Attributes:
        data: {fingerprint, source} of their data set.
        split: {seed, fractions, test_records} of its parts.
        names: of the records of its training and validation parts.
    Each is None where it is not known, as for a file that says nothing of itself.
    """

    data: dict[str, Any] | None = None
    split: dict[str, Any] | None = None
    names: frozenset[str] | None = None

    def is_of(self, dataset: Dataset) -> bool:
        """Whether the model was trained on this very data set, in parts that are known."""
        return self.split is not None and self.data is not None and self.data.get("fingerprint") == dataset.fingerprint


@dataclass(frozen=True)
class UnseenRecords:
    """Records to judge a model on.

    Attributes:
        index: int64 [N], indices into the data set.
        line: which records they are, for people.
        known: whether it is known which records the model was trained on.
    """

    index: np.ndarray
    line: str
    known: bool


def file_training(model: OnnxModel) -> Training:
    """What is known of the records that a file's network was trained on: by its metadata, and its run beside it."""
    about, folder = model.metadata, model.path.parent
    return Training(about.data, about.split, names_seen(folder) if holds_parent(folder, about.parent_sha256) else None)


def names_seen(run: Path) -> frozenset[str] | None:
    """Names of the records that a run folder's network was trained or chosen on; None where it does not say.

    Raises InputError for a file of other content.
    """
    path = own_or_shared(run, SPLIT)
    if not path.is_file():
        return None
    parts = read_json(path)
    try:
        return frozenset([*parts["train"], *parts["validation"]])
    except (TypeError, KeyError) as error:
        raise InputError(f"{path}: lists of names train and validation needed; restore the file") from error


def unseen_records(dataset: Dataset, training: Training, *, part: str) -> UnseenRecords:
    """The records that a model may be judged on.

    On the data that it was trained on: the test part. On other data: every record whose name it was not trained or
    chosen on; where that is not known, every record, and the line says so.

    Args:
        part: `test`, or `all`: every record, the line says how many were seen.

    Raises InputError where nothing is left.
    """
    everything = np.arange(len(dataset))
    if training.is_of(dataset):
        assert training.split is not None
        parts = split_from(dataset, training.split)
        seen, fresh, kind = np.concatenate([parts.train, parts.validation]), parts.test, "test"
    elif training.names is not None:
        seen = np.array([i for i, name in enumerate(dataset.names) if name in training.names], np.int64)
        fresh, kind = np.setdiff1d(everything, seen), "unseen"
    else:
        every = "all " if part == "all" else ""
        line = f"{every}{len(everything)} records; which of them the model was trained on is unknown"
        return UnseenRecords(everything, line, known=False)
    if part == "all":
        line = f"all {len(everything)} records, {len(seen)} of them seen in training or validation"
        return UnseenRecords(everything, line, known=True)
    if len(fresh) == 0:
        raise InputError(f"{dataset.source}: the model has seen every record; give other data, or --split all")
    left_out = f", {len(seen)} seen ones left out" if len(seen) else ""
    return UnseenRecords(fresh, f"{len(fresh)} {kind} records{left_out}", known=True)
