"""The records that a job of the reproduction works on, by what names them wherever it runs."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import Split, split_from, stratified
from edgeguard.errors import InputError

BATCH = 32
"""Records at a time, as in `edgeguard evaluate`: a float network's last bits depend on the batch."""


def about_records(dataset: Dataset, parts: Split, *, test_records: list[str] | None = None) -> dict[str, Any]:
    """JSON-ready: what decides which records there are, and which of them are judged.

    Args:
        test_records: names of the test part, where they were named.
    """
    named = {"seed": parts.seed, "fractions": list(parts.fractions), "test_records": test_records}
    return {"fingerprint": dataset.fingerprint, "split": named}


def open_data(about: dict[str, Any], hints: dict[str, Any]) -> tuple[Dataset, Split]:
    """The data set and its parts.

    Args:
        about: from `about_records`.
        hints: {"data", "labels"}: where the records are, as `edgeguard train` takes them.

    Raises InputError where other records are there.
    """
    labels = hints.get("labels")
    dataset = _load(hints.get("data"), labels and Path(labels))
    if dataset.fingerprint != about["fingerprint"]:
        raise InputError(f"{dataset.source}: other records or labels than those the plan was made for; put them back")
    return dataset, split_from(dataset, about["split"])


def judged_records(dataset: Dataset, parts: Split, limit: int | None) -> np.ndarray:
    """Indices of the test records, or of `limit` of them, drawn as `edgeguard evaluate --limit` draws them."""
    return parts.test if limit is None else stratified(dataset.labels, parts.test, limit)


def batches(index: np.ndarray) -> Iterator[np.ndarray]:
    """`BATCH` records at a time."""
    for first in range(0, len(index), BATCH):
        yield index[first : first + BATCH]


@lru_cache(maxsize=2)
def _load(spec: str | None, labels: Path | None) -> Dataset:
    return load_dataset(spec, labels=labels)
