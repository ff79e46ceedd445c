"""Arrays in an .npz that nobody has to trust: no pickle is read, and every sign of damage is one line."""

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile, is_zipfile

import numpy as np
from numpy.lib import format as npy

from edgeguard.errors import InputError
from edgeguard.runtime.archive import open_archive, read_entry
from edgeguard.runtime.files import write_bytes

_INT16 = np.iinfo(np.int16)
_FREE = 2**28
"""Bytes that the arrays of any file may take, however small it is: 14,900 windows of zeros in int16."""

_MOST = 2**32
"""Bytes that one array may take."""


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
    with reading(path, "witnesses"), _open(path) as archive:
        return str(_array(archive, "schema.npy"))


def read_npz(path: Path, schema: str, *, expected: int = 0) -> dict[str, np.ndarray]:
    """Every array of an .npz of a schema; pickles are refused, so no code in it is run. To be called in `reading`.

    Args:
        expected: bytes that its arrays may take in any case, where the caller knows them; 256 MiB otherwise.

    Raises InputError for a file that unpacks to more than that and than 100 times its own size.
    """
    with _open(path, expected) as archive:
        stated = str(_array(archive, "schema.npy"))
        need(stated == schema, f"schema {stated}")
        return {name.removesuffix(".npy"): _array(archive, name) for name in archive.namelist()}


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turns every sign of damage in the block into one InputError that names the file and what it should hold."""
    try:
        yield
    except InputError:
        raise
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


def _open(path: Path, expected: int = 0) -> ZipFile:
    need(not path.exists() or is_zipfile(path), "no .npz archive")
    return open_archive(path, free=max(_FREE, expected))


def _array(archive: ZipFile, name: str) -> np.ndarray:
    """One array, whose header promises what is there: numpy makes room for a shape before it looks for its numbers."""
    if name not in archive.namelist():
        raise KeyError(name.removesuffix(".npy"))
    content = io.BytesIO(read_entry(archive, name, most=_MOST))
    headers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(content)
    need(version in headers, f"{name} is of version {version}")
    shape, _, dtype = headers[version](content)
    stored = len(content.getbuffer()) - content.tell()
    need(not dtype.hasobject and dtype.names is None, f"{name} holds {dtype}, no numbers or texts")
    need(math.prod(shape) * max(dtype.itemsize, 1) == stored, f"{name} of shape {shape} in {stored} bytes")
    content.seek(0)
    array: np.ndarray = npy.read_array(content, allow_pickle=False)
    return array
