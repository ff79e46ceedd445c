"""Signals that come a piece at a time, so that a day of them fits into the memory of a second.

A `Stream` is what a simulation plays: whole recordings, long WFDB records read in stretches, synthetic days, raw
samples from a pipe.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.ecg import wfdb_folder
from edgeguard.ecg.record import Record
from edgeguard.ecg.sources import iter_records
from edgeguard.ecg.synthetic_day import SyntheticDay
from edgeguard.ecg.tree import open_tree
from edgeguard.ecg.units import microvolts
from edgeguard.ecg.wfdb_folder import check_headers
from edgeguard.ecg.wfdb_header import find_lead
from edgeguard.errors import InputError

STRETCH = 10.0
"""Seconds of signal in one chunk of a recording."""


@dataclass(frozen=True)
class Stream:
    """One signal.

    Attributes:
        name: of the recording.
        sampling_rate: hertz.
        chunks: float32 [n] microvolts, any n; can be iterated over once.
        label: reference class, or None.
        seconds: length, or None where only the end will tell.
    """

    name: str
    sampling_rate: float
    chunks: Iterator[np.ndarray]
    label: str | None = None
    seconds: float | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.chunks


def stream_record(record: Record) -> Stream:
    """A recording that is in memory already."""
    step = max(round(STRETCH * record.sampling_rate), 1)
    chunks = (record.ecg[start : start + step] for start in range(0, len(record.ecg), step))
    seconds = len(record.ecg) / record.sampling_rate
    return Stream(record.name, record.sampling_rate, chunks, record.label, seconds)


def stream_day(day: SyntheticDay) -> Stream:
    """A synthetic day, about a minute at a time; its time line says which class holds when."""
    return Stream(f"synthetic-day-{day.seed}", day.sampling_rate, day.blocks(), seconds=day.seconds)


def stream_source(spec: str | None, *, labels: Path | None = None, lead: str | int | None = None) -> Iterator[Stream]:
    """The recordings of a `--data` value, or of one file, one after another; a WFDB header is read in stretches.

    Args:
        spec: see `edgeguard.ecg.sources.load_dataset`.
        lead: name of the signal to take of a record that has several, or its number from 0; None: its only one.

    Raises InputError for what cannot be read.
    """
    path = Path(spec).expanduser() if spec else None
    if path is not None and path.suffix == ".hea" and path.is_file() and not path.with_suffix(".mat").is_file():
        yield stream_wfdb(path, lead=lead)
    else:
        yield from map(stream_record, iter_records(spec, labels=labels, lead=lead))


def stream_wfdb(header: Path, *, lead: str | int | None = None) -> Stream:
    """A WFDB record on disk, `STRETCH` seconds at a time; samples marked invalid are NaN.

    A record whose header does not say its length is read whole.

    Raises InputError for a record that `wfdb` cannot read, a lead that it has not, several where none is named,
    an unknown unit.
    """
    import wfdb

    name = str(header.with_suffix(""))
    try:
        with open_tree(header) as tree:
            check_headers(tree, header.stem)
            facts = wfdb.rdheader(name)
            if not facts.sig_len:
                # `wfdb` reads stretches only of a record whose header says its length.
                return stream_record(Record(header.stem, *wfdb_folder.read_signal(tree, header.stem, lead=lead)))
        length, first = facts.sig_len, wfdb.rdrecord(name, sampfrom=0, sampto=1)
        rate, units = float(facts.fs), list(first.units)
        names = [str(one or "") for one in first.sig_name or [""] * first.n_sig]
    except InputError:
        raise
    except Exception as error:  # wfdb lets through whatever its parsers meet: ValueError, IndexError, its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{header}: not a readable WFDB header ({reason}); restore its files") from error
    chosen = find_lead(str(header), names, lead)
    scale = microvolts(str(header), units[chosen])
    return Stream(header.stem, rate, _stretches(header, chosen, length, rate, scale), seconds=length / rate)


def _stretches(header: Path, lead: int, length: int, rate: float, scale: float) -> Iterator[np.ndarray]:
    import wfdb

    step = max(round(STRETCH * rate), 1)
    for start in range(0, length, step):
        try:
            part = wfdb.rdrecord(
                str(header.with_suffix("")), sampfrom=start, sampto=min(start + step, length), channels=[lead]
            )
        except Exception as error:  # as above
            reason = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{header}: sample {start} cannot be read ({reason}); restore its files") from error
        yield (part.p_signal[:, 0] * scale).astype(np.float32)
