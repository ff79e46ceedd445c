"""A black-box attack on a deployed file: which records, and what is kept of it."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.boundary import BoundaryOptions, BoundaryResult, boundary_attack
from edgeguard.attacks.oracle import LabelOracle
from edgeguard.attacks.scheduler import Trace
from edgeguard.ecg.dataset import Dataset, cached
from edgeguard.ecg.sources import open_source
from edgeguard.ecg.split import split_from, stratified
from edgeguard.errors import InputError
from edgeguard.runtime.files import atomic_writer
from edgeguard.runtime.session import OnnxModel

WITNESS_SCHEMA = "edgeguard.witnesses/1"


@dataclass(frozen=True)
class Campaign:
    """An attack on one file, done.

    Attributes:
        model: that was attacked.
        dataset: that the records come from.
        records: int64 [N], indices into the data set.
        labels: int64 [N], true labels as indices into the model's classes.
        result: what the attack found, indexed 0 .. N - 1.
        ledger: int64 [N], queries a record.
        budget: queries allowed a record.
        seed: of the choice of records and of the attack.
    """

    model: OnnxModel
    dataset: Dataset
    records: np.ndarray
    labels: np.ndarray
    result: BoundaryResult
    ledger: np.ndarray
    budget: int
    seed: int

    @property
    def traces(self) -> list[Trace]:
        """Of the records that were attacked."""
        return list(self.result.traces.values())

    @property
    def skipped(self) -> int:
        """Records that were not attacked, because the model gets them wrong anyway."""
        return len(self.records) - len(self.result.traces)


def load_windows(model: OnnxModel, spec: str | None, *, labels: Path | None = None, seed: int = 0) -> Dataset:
    """The records of a data source in windows of the model's length.

    Raises InputError when the sampling rates differ, or no record has a class of the model.
    """
    source = open_source(spec, labels=labels, seed=seed)
    dataset = cached(source.name, source.key(), source.records(), window=model.window)
    if dataset.sampling_rate != model.sampling_rate:
        raise InputError(
            f"{dataset.source}: sampled at {dataset.sampling_rate:g} Hz, {model.path} takes "
            f"{model.sampling_rate:g} Hz; resample the records first"
        )
    if not set(dataset.classes) & set(model.classes):
        raise InputError(
            f"{model.path}: classes {','.join(model.classes)} are none of {','.join(dataset.classes)} in "
            f"{dataset.source}; name them in the order of the logits with --classes"
        )
    return dataset


def choose_records(
    model: OnnxModel, dataset: Dataset, *, part: str = "test", samples: int = 64, seed: int = 0
) -> tuple[np.ndarray, str]:
    """Records to attack: a seeded draw that keeps the shares of the classes.

    Args:
        part: `test` takes the test part where the file was trained on this very data set, else all records;
            `all` takes all.
        samples: how many at most.

    Returns:
        (int64 indices, rising; where they come from, for people).
    """
    index, origin = np.arange(len(dataset)), f"all {len(dataset)} records of {dataset.source}"
    metadata = model.metadata
    if part == "test":
        if metadata.split and metadata.data and metadata.data.get("fingerprint") == dataset.fingerprint:
            index = split_from(dataset, metadata.split).test
            origin = f"the test part of {dataset.source} ({len(index)} records)"
        else:
            origin += ", which the file does not say it was trained on"
    known = [name in model.classes for name in dataset.classes]
    index = index[np.asarray(known)[dataset.labels[index]]]
    return stratified(dataset.labels, index, samples, seed=seed), origin


def attack_file(
    model: OnnxModel,
    dataset: Dataset,
    records: np.ndarray,
    *,
    queries: int = 1000,
    target: str | None = None,
    seed: int = 0,
    options: BoundaryOptions | None = None,
    progress: Callable[[int], object] | None = None,
) -> Campaign:
    """Run the boundary attack on a file.

    Args:
        records: indices into the data set.
        queries: budget a record.
        target: class that every record is to be turned into; None: any wrong class.
        progress: called with the number of queries just spent.

    Raises InputError for a target that is no class of the model.
    """
    ecg, mask, labels = dataset.batch(records)
    ours = np.array([model.classes.index(c) if c in model.classes else -1 for c in dataset.classes])
    labels = ours[labels]
    model.keep_invariant_batches(ecg)
    if target is not None and target not in model.classes:
        raise InputError(f"target: {target!r} is no class of {model.path}; name one of {','.join(model.classes)}")
    goal = None if target is None else np.full(len(labels), model.classes.index(target))
    oracle = LabelOracle(model, labels, budget=queries, targets=goal)
    names = [dataset.names[i] for i in records]
    result = boundary_attack(oracle, ecg, mask, names, seed=seed, options=options, progress=progress)
    return Campaign(model, dataset, records, labels, result, oracle.ledger, queries, seed)


def save_witnesses(campaign: Campaign, path: Path) -> None:
    """Write an .npz that lets anybody check the attack against the file, without this program.

    Arrays over M adversarial records: `names`, `labels` (true), `left` and `length` (the valid part),
    `original`, `adversarial` (nearest in L2) and `adversarial_linf` (nearest in L-inf) [M, T] in microvolts,
    `l2_uv` and `linf_uv` of these two, `found_at` (query of the last improvement). Over all N records chosen:
    `all_names`, `ledger`. Of the whole: `schema`, `model_sha256`, `classes`, `unit`, `sampling_rate`,
    `budget`, `seed`, `fingerprint`.

    Raises InputError when the file cannot be written.
    """
    found = {i: trace for i, trace in campaign.result.traces.items() if trace.nearest_l2 is not None}
    rows = np.fromiter(found, np.int64, len(found))
    chosen = campaign.records[rows]
    shape = (len(rows), campaign.model.window)
    arrays: dict[str, Any] = {
        "schema": WITNESS_SCHEMA,
        "model_sha256": campaign.model.sha256,
        "unit": "uV",
        "sampling_rate": campaign.model.sampling_rate,
        "budget": campaign.budget,
        "seed": campaign.seed,
        "fingerprint": campaign.dataset.fingerprint,
        "classes": np.asarray(campaign.model.classes),
        "all_names": np.asarray([campaign.dataset.names[i] for i in campaign.records], str),
        "ledger": campaign.ledger,
        "names": np.asarray([campaign.dataset.names[i] for i in chosen], str),
        "labels": campaign.labels[rows],
        "left": campaign.dataset.left[chosen],
        "length": campaign.dataset.length[chosen],
        "original": _compact(campaign.result.originals[rows].reshape(shape)),
        "adversarial": _compact(_stack([t.nearest_l2 for t in found.values()], shape)),
        "adversarial_linf": _compact(_stack([t.nearest_linf for t in found.values()], shape)),
        "l2_uv": np.array([t.l2[-1] for t in found.values()], np.float64),
        "linf_uv": np.array([t.linf[-1] for t in found.values()], np.float64),
        "found_at": np.array([t.queries[-1] for t in found.values()], np.int64),
    }
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    with atomic_writer(path) as file:
        file.write(content.getbuffer())


def _stack(points: list[np.ndarray | None], shape: tuple[int, int]) -> np.ndarray:
    return np.array(points, np.float32).reshape(shape)


def _compact(codes: np.ndarray) -> np.ndarray:
    """int16 where the codes fit."""
    limits = np.iinfo(np.int16)
    fits = codes.size == 0 or (codes.min() >= limits.min and codes.max() <= limits.max)
    return codes.astype(np.int16) if fits else codes
