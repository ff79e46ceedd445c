"""Which recordings a simulation plays."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.record import Record
from edgeguard.ecg.rhythm_annotations import Span
from edgeguard.ecg.sources import iter_records, load_dataset, read_record
from edgeguard.ecg.split import split_from
from edgeguard.ecg.stdin_stream import raw_stream
from edgeguard.ecg.stream import Stream, stream_day, stream_source
from edgeguard.ecg.synthetic_day import SyntheticDay
from edgeguard.ecg.tree import RECORD_SUFFIXES
from edgeguard.errors import InputError
from edgeguard.runtime.metadata import ModelMetadata


@dataclass(frozen=True)
class Playlist:
    """Recordings in the order of play.

    Attributes:
        records: whole recordings, read as they are asked for, or streams of any length.
        description: where they come from, for people.
        seconds: of all of them, where that is known before they are read.
        reference: time line of the rhythms, where it is known; None: labels of whole recordings are all there is.
    """

    records: Iterator[Record | Stream]
    description: str
    seconds: float | None = None
    reference: tuple[Span, ...] | None = None


def one_recording(
    name: str, *, data: str | None = None, labels: Path | None = None, lead: int | None = None
) -> Playlist:
    """The recording in the file `name` (.csv, .hea or .mat), or the one of that name in `data`.

    Args:
        lead: signal of a WFDB record to take, counted from 0; None: its only one. Its samples are read as they are
            played, so that a day of them costs no memory.

    Raises InputError when there is none.
    """
    if Path(name).suffix == ".hea":
        stream = next(stream_source(name, labels=labels, lead=lead))
        return Playlist(iter([stream]), stream.name, stream.seconds)
    if lead is not None:
        raise InputError(f"--lead {lead}: {name} is no WFDB header; name the record's .hea file, or leave --lead out")
    if Path(name).suffix in RECORD_SUFFIXES:
        record = next(iter_records(name, labels=labels))
    else:
        record = read_record(data, name, labels=labels)
    return Playlist(iter([record]), record.name, len(record.ecg) / record.sampling_rate)


def day(seconds: str, *, sampling_rate: float, seed: int = 0) -> Playlist:
    """A synthetic recording of so many seconds, with episodes of fibrillation.

    Raises InputError where `seconds` is no number, or a day cannot be made.
    """
    try:
        length = float(seconds)
    except ValueError as error:
        raise InputError(f"--record day:{seconds}: {seconds!r} is not a number of seconds; give day:3600") from error
    made = SyntheticDay(seconds=length, seed=seed, sampling_rate=sampling_rate)
    return Playlist(
        iter([stream_day(made)]), f"{length:g} s of a synthetic heart, seed {seed}", length, tuple(made.time_line())
    )


def from_pipe(file: BinaryIO, kind: str, sampling_rate: float, *, step: float = 1.0) -> Playlist:
    """Raw samples of an open file, as they come (`edgeguard.ecg.stdin_stream.raw_stream`)."""
    return Playlist(iter([raw_stream(file, kind, sampling_rate, step=step)]), f"{kind} samples of standard input")


def recordings(count: int, metadata: ModelMetadata, *, data: str | None = None, labels: Path | None = None) -> Playlist:
    """The first `count` recordings of a source, or of its test part where the model was trained on it.

    Raises InputError for a count below 1 or a source that cannot be read.
    """
    if count < 1:
        raise InputError(f"records: {count} must be at least 1; raise --records")
    dataset = _trained_on(metadata, data, labels)
    if dataset is None or metadata.split is None:
        records = islice(iter_records(data, labels=labels), count)
        return Playlist(records, f"the first {count} records of {data or 'the default data'}")
    test = split_from(dataset, metadata.split).test[:count]
    return Playlist(
        (_whole(dataset, int(i), data, labels) for i in test),
        f"{len(test)} records of the test part of {dataset.source}",
        float(np.sum(dataset.record_length[test]) / dataset.sampling_rate),
    )


def _trained_on(metadata: ModelMetadata, data: str | None, labels: Path | None) -> Dataset | None:
    """The source as a data set if it is the one that the model was trained on."""
    if metadata.data is None:
        return None
    try:
        dataset = load_dataset(data, labels=labels)
    except InputError:
        return None  # without labels, or at another rate: nothing that could have trained it
    return dataset if dataset.fingerprint == metadata.data.get("fingerprint") else None


def _whole(dataset: Dataset, i: int, data: str | None, labels: Path | None) -> Record:
    """One recording in full: from its window where that holds all of it, else from the source."""
    if dataset.record_length[i] > dataset.window:
        return read_record(data, dataset.names[i], labels=labels)
    left, length = dataset.left[i], dataset.length[i]
    ecg = dataset.windows[i, left : left + length].astype(np.float32)
    return Record(dataset.names[i], ecg, dataset.sampling_rate, dataset.classes[dataset.labels[i]])
