"""Zips that nobody has to trust: what they unpack to is read from their directory first, and bounded."""

import zipfile
from pathlib import Path

from edgeguard.errors import InputError

MOST_ENTRIES = 200_000
"""CinC-2017 has 17,058; the directory alone takes half a kilobyte of memory an entry."""

_RATIO = 100
"""Unpacked bytes for each byte of the file. Deflate reaches 1,032 on zeros, recordings reach 5."""

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""The others unpack whole blocks, whatever size the directory states: bzip2 900 kB from 40 bytes."""


def open_archive(path: Path, *, free: int) -> zipfile.ZipFile:
    """A zip that unpacks to 100 times its own size at most, all entries together; the caller closes it.

    Args:
        free: bytes that it may unpack to in any case.

    Raises InputError for one that promises more, or has more than 200,000 entries; and what `zipfile` raises for a file
    that is missing or damaged.
    """
    archive = zipfile.ZipFile(path)
    entries = archive.infolist()
    size, most = sum(entry.file_size for entry in entries), max(free, _RATIO * path.stat().st_size)
    refused = None
    if len(entries) > MOST_ENTRIES:
        refused = f"{len(entries)} entries, at most {MOST_ENTRIES}; split it"
    elif size > most:
        largest = max(entries, key=lambda entry: entry.file_size)
        refused = (
            f"unpacks to {size} bytes, {most} at most for a file of its size; "
            f"unpack it yourself if you trust it, and look at {largest.filename!r}"
        )
    if refused is not None:
        archive.close()
        raise InputError(f"{path}: {refused}")
    return archive


def read_entry(archive: zipfile.ZipFile, name: str, *, most: int) -> bytes:
    """The bytes of one entry, of which no more are unpacked than the directory states.

    Args:
        most: bytes that an entry of this kind may have.

    Raises InputError for a larger one or a method of compression other than deflate; KeyError where there is none of
    that name, and what `zipfile` raises for a damaged one.
    """
    entry = archive.getinfo(name)
    if entry.file_size > most:
        raise InputError(
            f"{archive.filename}: {name} unpacks to {entry.file_size} bytes, at most {most} for such a file; shorten it"
        )
    if entry.compress_type not in _METHODS:
        method = zipfile.compressor_names.get(entry.compress_type, entry.compress_type)  # type: ignore[attr-defined]
        raise InputError(f"{archive.filename}: {name} is packed with {method}; pack it with deflate")
    with archive.open(entry) as stream:
        return stream.read(entry.file_size)
