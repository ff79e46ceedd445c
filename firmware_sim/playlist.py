"""Which recordings a simulation plays."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.origin import Named
from edgeguard.ecg.record import Record
from edgeguard.ecg.rhythm_annotations import Span
from edgeguard.ecg.sources import iter_records, load_dataset, open_source, read_record
from edgeguard.ecg.split import split_from
from edgeguard.ecg.stdin_stream import raw_stream
from edgeguard.ecg.stream import Stream, stream_day, stream_source
from edgeguard.ecg.synthetic_day import SyntheticDay
from edgeguard.ecg.tree import RECORD_SUFFIXES
from edgeguard.errors import InputError
from edgeguard.runtime.session import OnnxModel
from edgeguard.runtime.streaming import StreamModel


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


def one_recording(name: str, named: Named | None = None) -> Playlist:
    """The recording in the file `name` (.csv, .hea, .mat or .atc), or the one of that name in `data`.

    Args:
        named: the data, and the signal to take of a record that has several. The samples of a WFDB record are read as
            they are played, so that a day of them costs no memory.

    Raises InputError when there is none.
    """
    named = named or Named()
    if Path(name).suffix == ".hea":
        stream = next(stream_source(name, labels=named.labels, lead=named.lead))
        return Playlist(iter([stream]), stream.name, stream.seconds)
    if Path(name).suffix in RECORD_SUFFIXES:
        record = next(iter_records(name, labels=named.labels, lead=named.lead))
    else:
        record = read_record(named.data, name, labels=named.labels, lead=named.lead)
    record = _mapped(record, named)
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


def recordings(count: int, model: OnnxModel | StreamModel, named: Named) -> Playlist:
    """The first `count` recordings of a source, or of its test part where the model was trained on it.

    Raises InputError for a count below 1 or a source that cannot be read.
    """
    if count < 1:
        raise InputError(f"records: {count} must be at least 1; raise --records")
    split = model.metadata.split
    dataset = None if split is None else _trained_on(model, named)
    if dataset is None or split is None:
        every = iter_records(named.data, labels=named.labels, lead=named.lead)
        chosen = islice((_mapped(record, named) for record in every), count)
        which = f"the first {count} records of {open_source(named.data, labels=named.labels).name}"
        return Playlist(chosen, f"{which} ({named.note})" if named.note else which)
    test = split_from(dataset, split).test[:count]
    return Playlist(
        (_whole(dataset, int(i), named) for i in test),
        f"{len(test)} records of the test part of {dataset.source}",
        float(np.sum(dataset.record_length[test]) / dataset.sampling_rate),
    )


def _mapped(record: Record, named: Named) -> Record:
    """The record by the name that its label has for the model."""
    label = None if record.label is None else (named.label_map or {}).get(record.label, record.label)
    return replace(record, label=label)


def _trained_on(model: OnnxModel | StreamModel, named: Named) -> Dataset | None:
    """The source as a data set if it is the one that the model was trained on."""
    if model.metadata.data is None:
        return None
    try:
        dataset = load_dataset(
            named.data,
            labels=named.labels,
            label_map=named.label_map,
            lead=named.lead,
            window=model.window,
            classes=model.classes,
            sampling_rate=model.sampling_rate,
        )
    except InputError:
        return None  # without labels: nothing that could have trained it
    return dataset if dataset.fingerprint == model.metadata.data.get("fingerprint") else None


def _whole(dataset: Dataset, i: int, named: Named) -> Record:
    """One recording in full: from its window where that holds all of it, else from the source."""
    if dataset.record_length[i] > dataset.window:
        return _mapped(read_record(named.data, dataset.names[i], labels=named.labels, lead=named.lead), named)
    left, length = dataset.left[i], dataset.length[i]
    ecg = dataset.windows[i, left : left + length].astype(np.float32)
    return Record(dataset.names[i], ecg, dataset.sampling_rate, dataset.classes[dataset.labels[i]])
