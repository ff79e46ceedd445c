"""What `--data` takes, and the records behind it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Protocol

import numpy as np

from edgeguard.ecg import alivecor, cinc, csv_record, wfdb_folder
from edgeguard.ecg.dataset import Dataset, cache_root, cached
from edgeguard.ecg.labels import files_beside, find_labels
from edgeguard.ecg.record import CLASSES, Record
from edgeguard.ecg.tree import Tree, content_digest, open_tree
from edgeguard.errors import InputError, did_you_mean
from edgeguard.runtime.files import sha256_file

SYNTHETIC_RECORDS = 1600


class Reader(Protocol):
    """A module that reads one kind of file."""

    def find_records(self, tree: Tree) -> dict[str, str]:
        """Record name -> path without suffix."""

    def read_signal(self, tree: Tree, stem: str, *, lead: str | int | None = None) -> tuple[np.ndarray, float]:
        """(float32 [L] microvolts, sampling rate in hertz); InputError for a file that is not right.

        Args:
            lead: name of the signal to take, or its number from 0; None: the only one.
        """


@dataclass(frozen=True)
class Source:
    """Records behind one `--data` value.

    Attributes:
        name: for messages.
        key: makes the hex digest of everything that the records depend on.
        records: all recordings, whole, in a fixed order; label None where unknown.
        record: one recording by its name.
    """

    name: str
    key: Callable[[], str]
    records: Callable[[], Iterator[Record]]
    record: Callable[[str], Record]


def load_dataset(
    spec: str | None = None,
    *,
    labels: Path | None = None,
    seed: int = 0,
    window: int | None = None,
    sampling_rate: float | None = None,
    classes: Sequence[str] | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
) -> Dataset:
    """The windows of a source as a model takes them, from the cache where its content was read before.

    Args:
        spec: `synthetic[:N]`, `cinc2017` (the fetched set), a CinC-2017 zip or folder, a folder of WFDB, AliveCor
            or CSV records, one .csv, .hea, .mat or .atc file. None: the fetched set if it is there, else synthetic.
        labels: reference CSV to use instead of the one inside or beside; `none` for records without labels.
        seed: of the synthetic generator.
        window, sampling_rate, classes, label_map: as in `edgeguard.ecg.dataset.build`. Synthetic records have the
            four classes of CinC 2017 where none are named.
        lead: name of the signal to take of records that have several, or its number from 0.

    Raises InputError for bad input.
    """
    labelled = not is_unlabelled(labels)
    source = open_source(spec, labels=labels, seed=seed, lead=lead)
    if classes is None and labelled and source.name.startswith("synthetic"):
        classes = CLASSES
    return cached(
        source.name,
        source.key(),
        source.records(),
        window=window,
        sampling_rate=sampling_rate,
        classes=classes,
        label_map=label_map,
        labelled=labelled,
    )


def is_unlabelled(labels: Path | None) -> bool:
    """Whether `none` is named as the reference CSV: the records have no labels, or they do not matter."""
    return labels is not None and str(labels) == "none"


def iter_records(
    spec: str | None = None, *, labels: Path | None = None, seed: int = 0, lead: str | int | None = None
) -> Iterator[Record]:
    """Whole recordings of a source (see `load_dataset`) in a fixed order; label None where unknown."""
    return open_source(spec, labels=labels, seed=seed, lead=lead).records()


def read_record(
    spec: str | None, name: str, *, labels: Path | None = None, seed: int = 0, lead: str | int | None = None
) -> Record:
    """One whole recording of a source by its name; InputError when the source has none of that name."""
    return open_source(spec, labels=labels, seed=seed, lead=lead).record(name)


def fetched_zip() -> Path:
    """Where `edgeguard data fetch` puts the CinC-2017 training set."""
    return cache_root() / "cinc2017" / "training2017.zip"


def open_source(
    spec: str | None = None, *, labels: Path | None = None, seed: int = 0, lead: str | int | None = None
) -> Source:
    """What `spec` names (see `load_dataset`); InputError when there is no such thing."""
    if spec is None:
        spec = "cinc2017" if fetched_zip().is_file() else "synthetic"
    word, _, count = spec.partition(":")
    if word == "synthetic":
        return _synthetic(spec, count, seed)
    if labels is not None and not is_unlabelled(labels) and not labels.is_file():
        raise InputError(f"{labels}: no such file; pass --labels REFERENCE-v3.csv")
    if spec == "cinc2017":
        if not fetched_zip().is_file():
            raise InputError("cinc2017: not fetched yet; run `edgeguard data fetch`, or name a zip or folder")
        return _files(spec, fetched_zip(), labels, lead)
    path = Path(spec).expanduser()
    if not path.exists():
        guess = did_you_mean(spec, ("cinc2017", "synthetic"))
        raise InputError(f"{spec}: no such file or folder; {guess}name a zip, a folder, cinc2017 or synthetic[:N]")
    return _files(spec, path, labels, lead)


def _files(name: str, path: Path, labels: Path | None, lead: str | int | None) -> Source:
    unlabelled = is_unlabelled(labels)

    def key() -> str:
        beside = [] if unlabelled else files_beside(path, labels)
        parts = [content_digest(path), *map(sha256_file, beside), "" if lead is None else f"lead {lead}"]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def records(only: str | None = None) -> Iterator[Record]:
        with open_tree(path) as tree:
            files = _located(tree)
            known = {} if unlabelled else find_labels(tree, labels)
            for record in sorted(files) if only is None else files.keys() & {only}:
                reader, stem = files[record]
                ecg, sampling_rate = reader.read_signal(tree, stem, lead=lead)
                yield Record(record, ecg, sampling_rate, known.get(record))

    return Source(name, key, records, lambda wanted: _single(name, wanted, records(wanted)))


def _located(tree: Tree) -> dict[str, tuple[Reader, str]]:
    """Record name -> its reader and its path without suffix, by the suffixes of the tree's files.

    CSV files are records only where nothing else is: beside others they are labels and notes.
    Raises InputError for a tree without records, and for two of one name.
    """
    suffixes = {PurePosixPath(name).suffix for name in tree.names}
    found: dict[str, tuple[Reader, str]] = {}
    for reader, its_own in ((cinc, ".mat"), (wfdb_folder, ".hea"), (alivecor, ".atc")):
        if its_own not in suffixes:
            continue
        for name, stem in reader.find_records(tree).items():
            # A header belongs to the file of samples beside it.
            if reader is cinc and f"{stem}.mat" not in tree.names and f"{stem}.dat" in tree.names:
                continue
            taken = found.setdefault(name, (reader, stem))
            if taken[1] != stem or (reader is alivecor and taken[0] is not alivecor):
                raise InputError(f"{tree.path}: two records {name} ({taken[1]}, {stem}); keep one")
    if not found and ".csv" in suffixes:
        return {name: (csv_record, stem) for name, stem in csv_record.find_records(tree).items()}
    if not found and not suffixes & {".mat", ".hea", ".atc"}:
        raise InputError(f"{tree.path}: holds no records; name a CinC-2017 zip or folder, a WFDB, .atc or CSV folder")
    return found


def _synthetic(spec: str, count: str, seed: int) -> Source:
    if spec != "synthetic" and not (count.isdecimal() and int(count) > 0):
        raise InputError(f"{spec}: the number of records must be a whole number above 0, as in synthetic:400")
    from edgeguard.ecg import synthetic

    total = int(count or SYNTHETIC_RECORDS)

    def records() -> Iterator[Record]:
        return synthetic.generate(total, seed=seed)

    return Source(
        f"synthetic:{total}",
        lambda: hashlib.sha256(f"synthetic {synthetic.VERSION} {total} {seed}".encode()).hexdigest(),
        records,
        lambda wanted: _single(spec, wanted, records()),
    )


def _single(source: str, name: str, records: Iterator[Record]) -> Record:
    for record in records:
        if record.name == name:
            return record
    raise InputError(f"{source}: holds no record {name}; name one that `edgeguard data info` shows")
