"""Reader of AliveCor's `.atc` files, which Kardia devices record.

The layout is the ALIVE file format, version 1.7 (https://github.com/alivecor/ATCpy, docs/ATC Spec 1.7.md): 8 bytes of
signature, a version, then blocks of an identifier, a length, data and a checksum, little-endian. The block `fmt ` has
the sampling rate and the nanovolts of one step, `ecg ` and `ecg2` to `ecgc` one lead each as int16; the others are
skipped. The specification calls the checksum a CRC32; AliveCor's own files have the sum of the block's bytes. Either
is taken.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from edgeguard.ecg.tree import Tree, stems
from edgeguard.ecg.wfdb_header import find_lead
from edgeguard.errors import InputError

_SIGNATURE = b"ALIVE\0\0\0"
_VERSION = struct.Struct("<I")
_BLOCK = struct.Struct("<4sI")
_CHECKSUM = struct.Struct("<I")
_FORMAT = struct.Struct("<BHHBH")
"""Sample format, sampling rate in hertz, nanovolts of one step, flags, reserved."""
_INT16 = 1
_LEADS = dict(
    zip(
        (b"ecg ", *(b"ecg" + place.encode() for place in "23456789abc")),
        ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"),
        strict=True,
    )
)


def find_records(tree: Tree) -> dict[str, str]:
    """Record name -> path without suffix, of every `.atc` file."""
    return stems(tree, ".atc")


def read_signal(tree: Tree, stem: str, *, lead: str | int | None = None) -> tuple[np.ndarray, float]:
    """(float32 [L] microvolts, sampling rate in hertz) of one lead of a file.

    Args:
        lead: name of the lead (`I`, `II`, ..., `V6`), or its number from 0; None: the only one.

    Raises InputError for a file that is no `.atc` file, is cut off, has a wrong checksum or an unknown sample format,
    and for a lead that it lacks.
    """
    where = tree.where(f"{stem}.atc")
    content = tree.read(f"{stem}.atc")
    if content[: len(_SIGNATURE)] != _SIGNATURE:
        raise InputError(f"{where}: not an AliveCor file (no ALIVE signature); restore the file")
    blocks: dict[bytes, memoryview] = {}
    for name, data in _blocks(where, content):
        if name in blocks and (name in _LEADS or name == b"fmt "):
            raise InputError(f"{where}: two blocks {_text(name)}; restore the file")
        blocks[name] = data
    rate, step_uv = _format(where, blocks.get(b"fmt "))
    leads = [name for name in _LEADS if name in blocks]
    if not leads:
        raise InputError(f"{where}: holds no lead (no block ecg); restore the file")
    samples = blocks[leads[find_lead(where, [_LEADS[name] for name in leads], lead)]]
    if len(samples) % 2:
        raise InputError(f"{where}: a lead of {len(samples)} bytes, no whole number of samples; restore the file")
    return (np.frombuffer(samples, "<i2") * step_uv).astype(np.float32), rate


def _blocks(where: str, content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """(identifier, data) of each block, its checksum tested."""
    view, at = memoryview(content), len(_SIGNATURE) + _VERSION.size
    while at < len(content):
        begin = at + _BLOCK.size
        if begin + _CHECKSUM.size > len(content):
            raise InputError(f"{where}: cut off at byte {at}; restore the file")
        name, length = _BLOCK.unpack_from(content, at)
        end = begin + length
        if end + _CHECKSUM.size > len(content):
            raise InputError(f"{where}: cut off in block {_text(name)} at byte {at}; restore the file")
        (checksum,) = _CHECKSUM.unpack_from(content, end)
        whole = view[at:end]
        if checksum not in (int(np.frombuffer(whole, np.uint8).sum()) & 0xFFFFFFFF, zlib.crc32(whole)):
            raise InputError(f"{where}: block {_text(name)} at byte {at} has a wrong checksum; restore the file")
        yield name, view[begin:end]
        at = end + _CHECKSUM.size


def _format(where: str, block: memoryview | None) -> tuple[float, float]:
    """(sampling rate in hertz, microvolts of one step)."""
    if block is None or len(block) < _FORMAT.size:
        raise InputError(f"{where}: no block fmt that gives the sampling rate; restore the file")
    kind, rate, nanovolts, _, _ = _FORMAT.unpack_from(block)
    if kind != _INT16:
        raise InputError(f"{where}: sample format {kind}, 1 (16 bits) needed; export it again")
    if not rate or not nanovolts:
        raise InputError(f"{where}: {rate} Hz and {nanovolts} nV a step, both above 0 needed; restore the file")
    return float(rate), nanovolts / 1000


def _text(name: bytes) -> str:
    return ascii(name.decode("latin-1").strip())
