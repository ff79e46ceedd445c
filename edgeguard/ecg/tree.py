"""The files of a folder or of a zip, read in place: nothing is ever unpacked."""

import hashlib
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol

from edgeguard.errors import InputError
from edgeguard.runtime.archive import open_archive, read_entry
from edgeguard.runtime.files import sha256_file

RECORD_SUFFIXES = (".hea", ".mat", ".csv", ".atc")
"""A path that ends so names one record: its tree holds the files of that record only."""

SIGNAL_BYTES = 2**29
"""Bound on a recording in a zip: ten days at 300 Hz in a .mat, four in a CSV."""

TEXT_BYTES = 2**22
"""Bound on a header, a list of records or a reference CSV in a zip; that of CinC-2017 has 77 kB."""

_FREE = 2**26
"""Bytes that any zip of records may unpack to, however small it is."""


class Tree(Protocol):
    """Files under one root, named by their relative path with forward slashes.

    Attributes:
        path: what the user named: a folder, a zip, or one file of a record.
        folder: where the files lie on disk; None in a zip.
        names: of the files, sorted.
    """

    path: Path
    folder: Path | None
    names: list[str]

    def where(self, name: str) -> str:
        """What to call a file in messages."""

    def read(self, name: str, *, most: int = SIGNAL_BYTES) -> bytes:
        """The bytes of one file; InputError when it is missing, or cannot be read whole, or has more in a zip."""


class _Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder: Path | None = path if path.is_dir() else path.parent
        self._root = self.folder or path
        files = path.rglob("*") if path.is_dir() else (f for f in self._root.iterdir() if f.stem == path.stem)
        self.names = _visible(f.relative_to(self._root).as_posix() for f in files if f.is_file())

    def where(self, name: str) -> str:
        return str(self._root / name)

    def read(self, name: str, *, most: int = SIGNAL_BYTES) -> bytes:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError as error:
            raise _missing(self.where(name)) from error
        except OSError as error:
            raise InputError(f"{self.where(name)}: cannot be read ({error.strerror}); restore the file") from error


class _Zip:
    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self.path = path
        self.folder: Path | None = None
        self.names = _visible(name for name in archive.namelist() if not name.endswith("/"))
        self._archive = archive

    def where(self, name: str) -> str:
        return f"{self.path}: {name}"

    def read(self, name: str, *, most: int = SIGNAL_BYTES) -> bytes:
        try:
            return read_entry(self._archive, name, most=most)
        except KeyError as error:
            raise _missing(self.where(name)) from error
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise InputError(f"{self.where(name)} cannot be unpacked ({error}); download the zip again") from error


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """The files of a folder, of a zip, or of the one record that a .hea, .mat, .csv or .atc file belongs to.

    Raises InputError when `path` is none of these, or a zip that unpacks to more than `runtime.archive` allows.
    """
    if path.is_dir() or path.suffix in RECORD_SUFFIXES:
        yield _Folder(path)
        return
    try:
        archive = open_archive(path, free=_FREE)
    except (zipfile.BadZipFile, OSError, RuntimeError, UnicodeError, struct.error) as error:
        raise InputError(f"{path}: not a whole zip archive ({error}); copy or download it again") from error
    with archive:
        yield _Zip(path, archive)


def stems(tree: Tree, *suffixes: str) -> dict[str, str]:
    """Record name -> path without suffix, of the files that end in one of `suffixes`.

    Raises InputError when two folders of the tree hold a record of the same name.
    """
    found: dict[str, str] = {}
    for file in map(PurePosixPath, tree.names):
        if file.suffix in suffixes:
            stem = str(file.with_suffix(""))
            if found.setdefault(file.stem, stem) != stem:
                raise InputError(f"{tree.path}: two records {file.stem} ({found[file.stem]}, {stem}); keep one")
    return found


def content_digest(path: Path) -> str:
    """Hex SHA-256 of a zip's bytes, or of the names and bytes of every other tree's files."""
    if path.is_file() and path.suffix not in RECORD_SUFFIXES:
        return sha256_file(path)
    digest = hashlib.sha256()
    with open_tree(path) as tree:
        for name in tree.names:
            digest.update(f"{name}\n{hashlib.sha256(tree.read(name)).hexdigest()}\n".encode())
    return digest.hexdigest()


def _missing(where: str) -> InputError:
    return InputError(f"{where} is missing; restore the file or remove the record")


def _visible(names: Iterable[str]) -> list[str]:
    """Sorted, without what operating systems leave behind (`._A00001.hea`, `__MACOSX/`)."""
    return sorted(name for name in names if not any(map(_hidden, PurePosixPath(name).parts)))


def _hidden(part: str) -> bool:
    return part.startswith(".") or part == "__MACOSX"
