import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.ecg.record import Record
from edgeguard.ecg.stdin_stream import raw_stream
from edgeguard.ecg.stream import stream_day, stream_record, stream_source, stream_wfdb
from edgeguard.ecg.synthetic_day import SyntheticDay
from edgeguard.errors import InputError


@pytest.fixture
def holter(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """45 s of two leads at 128 Hz in format 212: the header and the two leads in microvolts."""
    leads = np.random.default_rng(0).normal(0, 0.3, (45 * 128, 2)).round(2)
    wfdb.wrsamp("holter", 128, ["mV", "mV"], ["I", "II"], leads, fmt=["212", "212"], write_dir=str(tmp_path))
    return tmp_path / "holter.hea", leads * 1000


@pytest.mark.parametrize("lead", [0, 1])
def test_a_long_wfdb_record_comes_in_stretches(holter, lead: int) -> None:
    header, leads = holter
    stream = stream_wfdb(header, lead=lead)
    chunks = list(stream)
    assert (stream.name, stream.sampling_rate, stream.seconds) == ("holter", 128.0, 45.0)
    assert [len(chunk) for chunk in chunks] == [1280] * 4 + [640]
    assert all(chunk.dtype == np.float32 for chunk in chunks)
    step = np.ptp(leads[:, lead]) / 4000
    np.testing.assert_allclose(np.concatenate(chunks), leads[:, lead], atol=step)


@pytest.mark.parametrize(("lead", "message"), [(None, r"2 signals \(I, II\); name one with --lead"), (2, "no lead 2")])
def test_a_lead_must_be_named_where_there_are_several(holter, lead: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        stream_wfdb(holter[0], lead=lead)


def test_a_header_without_signal_or_sense_is_refused(holter, tmp_path: Path) -> None:
    (tmp_path / "holter.dat").unlink()
    with pytest.raises(InputError, match=r"holter\.hea: not a readable WFDB header"):
        list(stream_wfdb(holter[0], lead=0))
    (tmp_path / "odd.hea").write_text("odd one two\n")
    with pytest.raises(InputError, match=r"odd\.hea: not a readable WFDB header"):
        stream_wfdb(tmp_path / "odd.hea")


def test_a_recording_is_streamed_whole() -> None:
    ecg = np.arange(7000, dtype=np.float32)
    stream = stream_record(Record("R", ecg, 300.0, "A"))
    assert (stream.label, stream.seconds) == ("A", 7000 / 300)
    assert np.array_equal(np.concatenate(list(stream)), ecg)


def test_a_source_is_streamed_record_after_record(tmp_path: Path, holter) -> None:
    names = [(stream.name, stream.label) for stream in stream_source("synthetic:3")]
    assert names == [("S00001", "N"), ("S00002", "A"), ("S00003", "O")]
    (only,) = stream_source(str(holter[0]), lead=1)
    assert only.name == "holter"


def test_a_day_streams_its_blocks() -> None:
    day = SyntheticDay(seconds=150.0, seed=2, sampling_rate=128.0)
    stream = stream_day(day)
    assert stream.seconds == 150.0
    assert np.array_equal(np.concatenate(list(stream)), np.concatenate(list(day.blocks())))


class Dribble(io.RawIOBase):
    """A pipe that hands out its bytes in pieces of given sizes."""

    def __init__(self, content: bytes, sizes: list[int]) -> None:
        self._file, self._sizes = io.BytesIO(content), iter(sizes)

    def read1(self, _: int) -> bytes:
        return self._file.read(next(self._sizes, 100))


@settings(max_examples=50, deadline=None)
@given(values=st.lists(st.integers(-32768, 32767), max_size=60), sizes=st.lists(st.integers(1, 9), max_size=40))
@pytest.mark.parametrize("kind", ["int16", "float32", "text"])
def test_raw_samples_come_through_any_pipe(kind: str, values: list[int], sizes: list[int]) -> None:
    if kind == "text":
        content = "".join(f"{value}\n" for value in values).encode()
    else:
        content = struct.pack(f"<{len(values)}{'h' if kind == 'int16' else 'f'}", *values)
    stream = raw_stream(Dribble(content, sizes), kind, 512.0, step=0.5)  # type: ignore[arg-type]
    chunks = list(stream)
    assert all(chunk.dtype == np.float32 for chunk in chunks)
    assert [sample for chunk in chunks for sample in chunk.tolist()] == [value / 2 for value in values]


def test_a_live_pipe_is_read_before_it_is_full() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as source, os.fdopen(writing, "wb", buffering=0) as sink:
        stream = iter(raw_stream(source, "int16", 512.0))
        sink.write(struct.pack("<3h", 1, 2, 3))
        assert next(stream).tolist() == [1, 2, 3]


def test_text_may_have_comments_and_no_last_line_end() -> None:
    stream = raw_stream(io.BytesIO(b"# ADC\n1.5\r\n\n-2e1\n 7"), "text", 300.0)
    assert np.concatenate(list(stream)).tolist() == [1.5, -20, 7]


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("int16", b"\0\0\1", r"ends within a sample \(1 bytes left over\); check --format"),
        ("float32", struct.pack("<3f", 1, float("nan"), 2), "sample 1 is not a number"),
        ("text", b"1\n2\nlead off\n", "line 3: 'lead off' is not a finite number"),
        ("text", b"1\ninf\n", "line 2: 'inf'"),
        ("text", b"\xff" * 3000, "line 1 is no number; check --format"),
    ],
)
def test_what_is_no_sample_is_named(kind: str, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"stdin: {message}"):
        list(raw_stream(io.BytesIO(content), kind, 300.0))


@pytest.mark.parametrize(
    ("settings_", "message"),
    [(("int8", 300.0, 1.0), "format int8"), (("int16", 0.0, 1.0), "rate 0 Hz"), (("int16", 300.0, -1.0), "-1 micro")],
)
def test_bad_settings_are_refused(settings_: tuple[str, float, float], message: str) -> None:
    kind, rate, step = settings_
    with pytest.raises(InputError, match=message):
        raw_stream(io.BytesIO(), kind, rate, step=step)


@pytest.mark.parametrize("lead", ["I", "II"])
def test_a_header_without_a_length_streams_the_same_samples(holter: tuple[Path, np.ndarray], lead: str):
    header, leads = holter
    header.write_text(header.read_text().replace(" 128 5760", " 128"))
    stream = stream_wfdb(header, lead=lead)
    np.testing.assert_allclose(np.concatenate(list(stream)), leads[:, ["I", "II"].index(lead)], atol=0.6)
    assert stream.seconds == 45 and stream.sampling_rate == 128
    header.with_suffix(".dat").write_bytes(b"")
    with pytest.raises(InputError, match="restore its files"):
        stream_wfdb(header, lead=lead)
