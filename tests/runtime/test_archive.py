"""A zip unpacks to what its size and kind allow, and to no more than its directory says."""

import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeguard.errors import InputError
from edgeguard.runtime import archive as archives
from edgeguard.runtime.archive import open_archive, read_entry

MEBIBYTE = 2**20


def write(path: Path, files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def understate(path: Path, real: int, stated: int, content: bytes) -> None:
    """Make the directory and the entry's own header state another size, and the checksum of that much content."""
    raw = path.read_bytes()
    packed = zipfile.ZipFile(path).infolist()[0]
    old, new = struct.pack("<LLL", packed.CRC, packed.compress_size, real), zipfile.crc32(content[:stated])
    path.write_bytes(raw.replace(old, struct.pack("<LLL", new, packed.compress_size, stated)))


def test_what_a_zip_unpacks_to_is_bounded_by_its_size(tmp_path: Path) -> None:
    zeros = write(tmp_path / "zeros.zip", {"a.mat": bytes(MEBIBYTE), "b.mat": bytes(2 * MEBIBYTE)})
    with pytest.raises(InputError, match=r"zeros\.zip: unpacks to 3145728 bytes, 3145727 at most .*'b\.mat'"):
        open_archive(zeros, free=3 * MEBIBYTE - 1)
    with open_archive(zeros, free=3 * MEBIBYTE) as archive:
        assert read_entry(archive, "b.mat", most=2 * MEBIBYTE) == bytes(2 * MEBIBYTE)
        with pytest.raises(InputError, match=r"zeros\.zip: b\.mat unpacks to 2097152 bytes, at most 2097151"):
            read_entry(archive, "b.mat", most=2 * MEBIBYTE - 1)


def test_noise_is_free_to_unpack(tmp_path: Path) -> None:
    """A recording packs to a third or less of its size: nothing in its way, whatever its length."""
    noise = np.random.default_rng(0).normal(0, 30, 100_000).astype("<i2").tobytes()
    with open_archive(write(tmp_path / "noise.zip", {"a.mat": noise}), free=0) as archive:
        assert read_entry(archive, "a.mat", most=len(noise)) == noise


def test_the_number_of_entries_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "many.zip", {f"{number}.hea": b"" for number in range(11)})
    open_archive(path, free=0).close()
    monkeypatch.setattr(archives, "MOST_ENTRIES", 10)
    with pytest.raises(InputError, match=r"many\.zip: 11 entries, at most 10; split it"):
        open_archive(path, free=0)


def test_no_more_is_unpacked_than_the_directory_states(tmp_path: Path) -> None:
    """64 MiB that call themselves 1,000 bytes, with the checksum of 1,000."""
    content = bytes(64 * MEBIBYTE)
    path = write(tmp_path / "lies.zip", {"a.csv": content})
    understate(path, len(content), 1_000, content)
    with open_archive(path, free=0) as archive:
        tracemalloc.start()
        try:
            assert read_entry(archive, "a.csv", most=MEBIBYTE) == bytes(1_000)
            assert tracemalloc.get_traced_memory()[1] < MEBIBYTE
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_that_unpack_whole_blocks_are_refused(tmp_path: Path, method: int) -> None:
    path = write(tmp_path / "other.zip", {"a.csv": b"1\n2\n"}, method=method)
    with (
        open_archive(path, free=MEBIBYTE) as archive,
        pytest.raises(InputError, match=r"other\.zip: a\.csv is packed with (bzip2|lzma); pack it with deflate"),
    ):
        read_entry(archive, "a.csv", most=MEBIBYTE)
