"""Zips of records take memory in proportion to what recordings pack to, and CSV files to their size."""

import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeguard.ecg.sources import iter_records, load_dataset, read_record
from edgeguard.ecg.tree import TEXT_BYTES
from edgeguard.errors import InputError


def deflate(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def mat(samples: int) -> tuple[bytes, bytes]:
    """Header and samples of a flat record."""
    header = f"A00001 1 300 {samples}\nA00001.mat 16+24 1000/mV 16 0 0 0 0 ECG\n".encode()
    return header, struct.pack("<5i4s", 30, 1, samples, 0, 4, b"val\0") + bytes(2 * samples)


@pytest.mark.parametrize("kind", ["mat", "csv"])
def test_a_bomb_is_refused_by_its_directory(tmp_path: Path, kind: str) -> None:
    """70 MiB in 70 kB."""
    header, samples = mat(35 * 2**20)
    files = {"A00001.hea": header, "A00001.mat": samples} if kind == "mat" else {"A00001.csv": b"0\n" * (35 * 2**20)}
    bomb = deflate(tmp_path / "bomb.zip", files)
    with pytest.raises(InputError, match=rf"bomb\.zip: unpacks to 734\d+ bytes, 67108864 at most .*A00001\.{kind}"):
        load_dataset(str(bomb))


def test_a_flat_hour_is_no_bomb(tmp_path: Path) -> None:
    header, samples = mat(3_600 * 300)
    path = deflate(tmp_path / "flat.zip", {"A00001.hea": header, "A00001.mat": samples})
    assert path.stat().st_size < 5_000
    assert len(read_record(str(path), "A00001").ecg) == 3_600 * 300


@pytest.mark.parametrize("name", ["A00001.hea", "REFERENCE-v3.csv", "RECORDS"])
def test_texts_are_bounded_by_their_kind(
    cinc_files: dict[str, bytes], pack_zip: Callable[[dict[str, bytes]], Path], name: str
) -> None:
    path = pack_zip({**cinc_files, f"training2017/{name}": b"#" * TEXT_BYTES + b"\n"})
    with pytest.raises(InputError, match=rf"set\.zip: training2017/{name} unpacks to 4194305 bytes, at most 4194304"):
        list(iter_records(str(path)))


@pytest.mark.parametrize("header", ["", "Lead,I\nSample Rate,300 Hz\nUnit,uV\n"])
def test_a_csv_file_takes_memory_in_proportion_to_its_size(tmp_path: Path, header: str) -> None:
    """Text and its bytes, 8 bytes a sample while it is read, 4 in the end: some 6 times a file of `100\\n`."""
    path = tmp_path / "r.csv"
    path.write_text(header + "100\n-99\n" * 10_000)
    read_record(str(path), "r")  # what is made once, and kept
    tracemalloc.start()
    try:
        record = read_record(str(path), "r")
        assert tracemalloc.get_traced_memory()[1] < 12 * path.stat().st_size
    finally:
        tracemalloc.stop()
    assert np.array_equal(record.ecg, np.tile([100, -99], 10_000))
