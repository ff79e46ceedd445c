"""The answers of an attack, kept so that an interrupted one goes on where it stopped.

An attack depends on its settings, its random stream and the answers it hears. Run again on the answers of an earlier
run it asks the model nothing until these are used up, and is then where that run was: its answers are its whole state.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.runtime.npz import need, read_npz, reading, write_npz

SCHEMA = "edgeguard.attack-state/1"
_SLACK = 2**16
"""Bytes for the headers of the arrays and the texts beside them."""


@dataclass
class Journal:
    """Every answer given, record by record.

    Attributes:
        labels: int16 [N, budget], answers in the order of the queries.
        known: int64 [N], answers a record.
    """

    labels: np.ndarray
    known: np.ndarray

    @classmethod
    def empty(cls, records: int, budget: int) -> "Journal":
        """Without answers."""
        return cls(np.zeros((records, budget), np.int16), np.zeros(records, np.int64))


def save_journal(path: Path, identity: str, journal: Journal) -> None:
    """Write the answers, atomically; threads may be adding others meanwhile.

    Raises InputError when the file cannot be written.
    """
    # Answers are added before they are counted: what is counted now is there.
    known = journal.known.copy()
    write_npz(path, {"schema": SCHEMA, "identity": identity, "labels": journal.labels, "known": known})


def load_journal(path: Path, identity: str, *, like: Journal) -> Journal:
    """The answers at a path, of the shape of another journal, which is returned where there is no file.

    Raises InputError for the answers of another attack, or a damaged file.
    """
    if not path.exists():
        return like
    with reading(path, "state of this attack"):
        # Answers not yet given are zeros, which pack to next to nothing.
        stored = read_npz(path, SCHEMA, expected=like.labels.nbytes + like.known.nbytes + _SLACK)
        need(str(stored["identity"]) == identity, "it is of another attack; remove it or name another folder")
        need(stored["labels"].shape == like.labels.shape and stored["known"].shape == like.known.shape, "wrong shape")
        return Journal(stored["labels"].astype(np.int16), stored["known"].astype(np.int64))
