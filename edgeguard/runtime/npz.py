"""Arrays in an .npz that nobody has to trust: no pickle is read, and every sign of damage is one line."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import numpy as np
from numpy.lib.npyio import NpzFile

from edgeguard.errors import InputError
from edgeguard.runtime.files import write_bytes

_INT16 = np.iinfo(np.int16)


def compact(codes: np.ndarray) -> np.ndarray:
    """int16 where that loses nothing."""
    whole = np.clip(np.rint(codes), _INT16.min, _INT16.max).astype(np.int16)
    return whole if np.array_equal(whole, codes) else codes


def write_npz(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays, texts and numbers compressed, atomically, for `read_npz`."""
    content = io.BytesIO()
    np.savez_compressed(content, **dict(arrays))
    write_bytes(path, content.getvalue())


def read_schema(path: Path) -> str:
    """The `schema` of an .npz.

    Raises InputError for a file that is none, or has none.
    """
    with reading(path, "witnesses"), _open(path) as stored:
        return str(stored["schema"])


def read_npz(path: Path, schema: str) -> dict[str, np.ndarray]:
    """Every array of an .npz of a schema; pickles are refused, so no code in it is run. To be called in `reading`."""
    with _open(path) as stored:
        need(str(stored["schema"]) == schema, f"schema {stored['schema']}")
        return {name: stored[name] for name in stored.files}


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turns every sign of damage in the block into one InputError that names the file and what it should hold."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found") from error
    except Exception as error:  # zip, zlib and numpy's header parser have many names for damage
        lacking = "lacks " if isinstance(error, KeyError) else ""
        reason = lacking + " ".join(str(error).split())[:200]
        raise InputError(f"{path}: no {what} ({reason}); write them anew") from error


def need(condition: Any, otherwise: str) -> None:
    """Raises ValueError with a reason where a condition on a file's content is not met."""
    if not condition:
        raise ValueError(otherwise)


def _open(path: Path) -> NpzFile:
    """An archive; anything else numpy would take for a pickle, and its message would advise to trust it."""
    need(not path.exists() or is_zipfile(path), "no .npz archive")
    stored: NpzFile = np.load(path, allow_pickle=False)
    return stored
