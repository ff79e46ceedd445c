"""What a job of the reproduction leaves: the class that every record was given, under each attack of the job.

Scores are made from predictions, never stored instead of them: any interval, test or other score can still be had.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores
from edgeguard.runtime.files import write_json
from edgeguard.runtime.npz import need, read_npz, reading, write_npz

PREDICTIONS = "predictions.npz"
SCORES = "scores.json"
_SCHEMA = "edgeguard.predictions/1"
_OWN = {"schema", "records", "labels"}


@dataclass(frozen=True)
class Measurement:
    """Predictions on the same records.

    Attributes:
        records: int64 [N], indices into the data set, rising.
        labels: int64 [N], true classes.
        predicted: name of an attack -> int64 [N], or another fact of each record.
    """

    records: np.ndarray
    labels: np.ndarray
    predicted: dict[str, np.ndarray]

    def on(self, records: np.ndarray) -> "Measurement":
        """The same for some of the records.

        Raises ValueError where one was not measured.
        """
        places = np.searchsorted(self.records, records)
        if not np.array_equal(self.records[np.minimum(places, len(self.records) - 1)], records):
            raise ValueError("records that were not measured")
        chosen = {name: values[places] for name, values in self.predicted.items()}
        return Measurement(records, self.labels[places], chosen)


def write_measurement(folder: Path, measured: Measurement, *, classes: int) -> None:
    """Write `predictions.npz`, and `scores.json` with accuracy and F1 of each attack for people who look in."""
    numbers = {name: values for name, values in measured.predicted.items() if values.dtype != bool}
    write_json(folder / SCORES, {name: scores(measured.labels, values, classes) for name, values in numbers.items()})
    facts = {"schema": _SCHEMA, "records": measured.records, "labels": measured.labels}
    write_npz(folder / PREDICTIONS, {**facts, **measured.predicted})


def read_measurement(folder: Path) -> Measurement:
    """Read what `write_measurement` wrote; InputError for a damaged file."""
    path = folder / PREDICTIONS
    with reading(path, "predictions of a reproduction"):
        stored = read_npz(path, _SCHEMA)
        lengths = {len(values) for name, values in stored.items() if name != "schema"}
        need(len(lengths) == 1, "arrays of different lengths")
        predicted = {name: values for name, values in stored.items() if name not in _OWN}
        return Measurement(stored["records"], stored["labels"], predicted)


def joined(parts: list[Mapping[str, np.ndarray]]) -> Measurement:
    """The measurement of batches that were measured one after another."""
    if not parts:
        raise InputError("no record to measure; raise --limit")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Measurement(whole.pop("records"), whole.pop("labels"), whole)
