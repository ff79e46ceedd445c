"""AliveCor's files, written byte by byte from the format's description."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.ecg import alivecor
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.record import Record
from edgeguard.ecg.sources import iter_records, load_dataset
from edgeguard.ecg.stream import stream_source
from edgeguard.ecg.tree import open_tree
from edgeguard.errors import InputError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
NAMES = (b"ecg ", b"ecg2", b"ecg3", b"ecg4", b"ecg5", b"ecg6", b"ecg7", b"ecg8", b"ecg9", b"ecga", b"ecgb", b"ecgc")


def block(name: bytes, data: bytes, *, crc: bool = False) -> bytes:
    body = name + struct.pack("<I", len(data)) + data
    return body + struct.pack("<I", zlib.crc32(body) if crc else sum(body))


def header(rate: int = 300, nanovolts: int = 500, kind: int = 1) -> bytes:
    return block(b"fmt ", struct.pack("<BHHBH", kind, rate, nanovolts, 14, 0))


def atc(*leads: np.ndarray, fmt: bytes | None = None, crc: bool = False, extra: bytes = b"") -> bytes:
    """A file as a phone writes it: info, format, leads, beats."""
    beats = struct.pack("<IIHIH", 300, 1500, 1, 1800, 1)
    return b"".join(
        [
            b"ALIVE\0\0\0" + struct.pack("<I", 3),
            block(b"info", b"2026-12-01T10:00:00.000+01:00".ljust(264, b"\0"), crc=crc),
            header() if fmt is None else fmt,
            *(block(name, lead.astype("<i2").tobytes(), crc=crc) for name, lead in zip(NAMES, leads, strict=False)),
            extra,
            block(b"ann ", beats, crc=crc),
        ]
    )


def read(folder: Path, content: bytes, lead: str | int | None = None) -> tuple[np.ndarray, float]:
    (folder / "a.atc").write_bytes(content)
    with open_tree(folder / "a.atc") as tree:
        return alivecor.read_signal(tree, "a", lead=lead)


@pytest.mark.parametrize("crc", [False, True])
def test_samples_come_back_in_microvolts(tmp_path: Path, crc: bool):
    stored = np.array([0, 1, -1, 2000, -32768, 32767], np.int16)
    ecg, rate = read(tmp_path, atc(stored, crc=crc))
    assert rate == 300 and ecg.dtype == np.float32
    np.testing.assert_array_equal(ecg, [0, 0.5, -0.5, 1000, -16384, 16383.5])
    ecg, rate = read(tmp_path, atc(stored, fmt=header(600, 1000)))
    assert rate == 600
    np.testing.assert_array_equal(ecg, stored)


@pytest.mark.parametrize("count", [2, 6, 12])
def test_leads_are_taken_by_name_or_number(tmp_path: Path, count: int):
    content = atc(*(np.full(4, place) for place in range(count)))
    for place, name in enumerate(LEADS[:count]):
        for lead in (name, name.lower(), place, str(place)):
            np.testing.assert_array_equal(read(tmp_path, content, lead)[0], np.full(4, place / 2))
    with pytest.raises(InputError, match=rf"{count} signals \(I, II.*name one with --lead"):
        read(tmp_path, content)
    with pytest.raises(InputError, match="no lead V9; its signals are I, II"):
        read(tmp_path, content, "V9")


def test_unknown_blocks_are_skipped(tmp_path: Path):
    extra = block(b"acc ", b"\1" * 40) + block(b"med ", b"\2" * 6) + block(b"new!", b"")
    np.testing.assert_array_equal(read(tmp_path, atc(np.arange(5), extra=extra))[0], np.arange(5) / 2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an AliveCor file"),
        (b"RIFF" + bytes(40), "not an AliveCor file"),
        (b"ALIVE\0\0\0", "no block fmt"),
        (atc(np.arange(3), fmt=b""), "no block fmt"),
        (atc(np.arange(3), fmt=block(b"fmt ", b"\1")), "no block fmt"),
        (atc(np.arange(3), fmt=header(kind=2)), "sample format 2, 1 .16 bits. needed"),
        (atc(np.arange(3), fmt=header(rate=0)), "0 Hz and 500 nV a step"),
        (atc(np.arange(3), fmt=header(nanovolts=0)), "300 Hz and 0 nV a step"),
        (atc(), "holds no lead"),
        (atc(extra=block(b"ecg ", b"odd")), "a lead of 3 bytes"),
        (atc(np.arange(3), extra=block(b"ecg ", b"ab")), "two blocks 'ecg'"),
        (atc(np.arange(3), extra=b"ecg2" + struct.pack("<I", 2**32 - 1)), "cut off in block 'ecg2'"),
        (atc(np.arange(3), extra=b"\x1b[1m" + struct.pack("<II", 0, 5)), r"block '\\x1b\[1m' .*wrong checksum"),
        (atc(np.arange(3))[:-1], "cut off in block 'ann'"),
        (atc(np.arange(3)) + b"tail", "cut off at byte"),
    ],
)
def test_what_is_not_right_is_refused_in_one_line(tmp_path: Path, content: bytes, message: str):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "a.atc")) and str(caught.value).isprintable()


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_damage_gives_an_error_or_the_same_samples(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    folder = tmp_path_factory.getbasetemp()
    stored = np.array([5, -7, 300, 4000], np.int16)
    content = bytearray(atc(stored))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        ecg, rate = read(folder, damaged)
    except InputError:
        return
    # A byte sum does not see two changes that cancel, nor an exchange; the length and the range still hold.
    assert rate > 0 and len(ecg) == len(stored) and np.isfinite(ecg).all()


def test_a_folder_of_them_is_a_source_like_any_other(tmp_path: Path):
    rng = np.random.default_rng(0)
    for place, label in enumerate("NANO"):
        (tmp_path / f"k{place}.atc").write_bytes(atc(rng.integers(-2000, 2000, 3000 + place)))
        with (tmp_path / "REFERENCE.csv").open("a") as file:
            file.write(f"k{place}.atc,{label}\n")
    records = list(iter_records(str(tmp_path)))
    assert [(one.name, one.label, len(one.ecg)) for one in records] == [
        *(("k0", "N", 3000), ("k1", "A", 3001), ("k2", "N", 3002), ("k3", "O", 3003))
    ]
    assert len(load_dataset(str(tmp_path), sampling_rate=250.0, window=2500)) == 4
    (stream,) = stream_source(str(tmp_path / "k1.atc"))
    np.testing.assert_array_equal(np.concatenate(list(stream)), records[1].ecg)


def test_a_folder_may_mix_kinds(tmp_path: Path):
    ecg = np.round(np.random.default_rng(1).normal(0, 100, 900)).astype(np.float32)
    tmp_path = tmp_path / "all"
    write_cinc(tmp_path, [Record("mat", ecg, 300.0, "N")])
    wfdb.wrsamp("dat", 300, ["mV"], ["I"], p_signal=(ecg / 1000)[:, None], fmt=["16"], write_dir=str(tmp_path))
    (tmp_path / "kardia.atc").write_bytes(atc(ecg * 2))
    (tmp_path / "notes.csv").write_text("any,thing\n1,2\n")
    found = {one.name: one.ecg for one in iter_records(str(tmp_path))}
    assert sorted(found) == ["dat", "kardia", "mat"]
    for one in found.values():
        np.testing.assert_allclose(one, ecg, atol=0.6)
