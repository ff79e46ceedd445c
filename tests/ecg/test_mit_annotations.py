"""Annotation files in MIT format: as the `wfdb` package reads them, and in time where it does not."""

import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.ecg.mit_annotations import parse_annotations
from edgeguard.ecg.rhythm_annotations import Span, read_rhythms
from edgeguard.errors import InputError

NORMAL, NOTE, RHYTHM = 1, 22, 28
SKIP, NUM, SUB, CHN, AUX = range(59, 64)
END = b"\0\0"


def word(code: int, value: int) -> bytes:
    return struct.pack("<H", code << 10 | value)


def annotation(code: int, after: int, note: str = "") -> bytes:
    """By annot(5): a word of type and interval, then the note's length, its bytes, and a null after an odd number."""
    content = note.encode("latin-1")
    return word(code, after) + (word(AUX, len(content)) + content + b"\0" * (len(content) % 2) if note else b"")


SEEN = annotation(NOTE, 0, "## seen by nobody")
TWICE = annotation(NOTE, 0, "## time resolution: 250") * 2
RHYTHMS = annotation(RHYTHM, 10, "(N") + annotation(RHYTHM, 500, "(AFIB") + annotation(NORMAL, 250) + END


@pytest.mark.parametrize(
    "comments", [SEEN, TWICE, annotation(NOTE, 0, "## end of definitions")], ids=["seen", "two rates", "end"]
)
def test_comments_on_the_file_itself_end(tmp_path: Path, comments: bytes) -> None:
    """`wfdb.rdann` never returns from these 50 to 80 bytes; in another process, which can be ended."""
    path = tmp_path / "r.atr"
    path.write_bytes(comments + RHYTHMS)
    program = (
        "import sys\nfrom pathlib import Path\nfrom edgeguard.ecg.rhythm_annotations import read_rhythms\n"
        "print(*((span.start, span.end, span.label) for span in read_rhythms(Path(sys.argv[1]), sampling_rate=250)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "(0.04, 2.04, 'N') (2.04, 3.04, 'A')"


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(1, 2_000_000),
            st.sampled_from("NAV+~"),
            st.sampled_from(["", "(N", "(AFIB\0", "PSE", "x" * 255]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([None, 250, 360.5]),
)
def test_what_wfdb_writes_is_read_as_wfdb_reads_it(marks: list[tuple[int, str, str]], fs: float | None) -> None:
    times = np.cumsum([after for after, _, _ in marks])
    with tempfile.TemporaryDirectory() as folder:
        wfdb.wrann(
            "r",
            "atr",
            times,
            [symbol for _, symbol, _ in marks],
            aux_note=[note for _, _, note in marks],
            num=np.arange(len(marks)),
            subtype=np.arange(len(marks)),
            fs=fs,
            write_dir=folder,
        )
        theirs, ours = wfdb.rdann(f"{folder}/r", "atr"), parse_annotations(Path(folder, "r.atr").read_bytes())
    assert ours.samples == theirs.sample.tolist() == times.tolist()
    assert ours.notes == theirs.aux_note
    assert ours.rate == theirs.fs == fs


def test_every_kind_of_word() -> None:
    """By hand from annot(5): intervals of +70,000 and -69,990, fields that say nothing here, two notes of which the
    later counts, a comment at sample 0, one later on, and bytes behind the end."""
    content = (
        annotation(NOTE, 0, "## time resolution: 128.25")
        + word(SKIP, 0)
        + struct.pack("<HH", 70_000 >> 16, 70_000 & 0xFFFF)
        + annotation(RHYTHM, 5, "odd")
        + word(NUM, 3)
        + word(SUB, 255)
        + word(CHN, 1)
        + word(AUX, 2)
        + b"(N"
        + word(SKIP, 0)
        + struct.pack("<HH", (-69_990 >> 16) & 0xFFFF, -69_990 & 0xFFFF)
        + annotation(NOTE, 0, "## time resolution: 1")
        + annotation(0, 1)
        + annotation(NORMAL, 1023)
        + END
        + b"anything"
    )
    read = parse_annotations(content)
    assert read.samples == [70_005, 15, 15 + 1 + 1023]
    assert read.notes == ["(N", "## time resolution: 1", ""]
    assert read.rate == 128.25


@given(
    st.binary(max_size=200)
    | st.lists(
        st.builds(word, st.sampled_from([0, NORMAL, NOTE, SKIP, NUM, SUB, CHN, AUX]), st.integers(0, 1023))
        | st.sampled_from([SEEN, TWICE, END]),
        max_size=60,
    ).map(b"".join)
)
def test_no_bytes_take_more_steps_than_they_have_words(content: bytes) -> None:
    try:
        read = parse_annotations(content)
    except ValueError:
        return
    assert len(read.samples) == len(read.notes) <= len(content) // 2


@pytest.mark.parametrize(
    "content",
    [
        RHYTHMS[:-2],
        RHYTHMS[:-6],
        word(SKIP, 0),
        word(SKIP, 0) + b"\1\0",
        word(NORMAL, 1) + word(AUX, 200),
        word(AUX, 2),
    ],
)
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "r.atr"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"r\.atr: not a readable WFDB annotation file \(it .*\); restore it"):
        read_rhythms(path, sampling_rate=250)


def test_a_rate_without_end_is_none(tmp_path: Path) -> None:
    """255 nines are a number; 400 do not fit a note, but an infinite rate must not come from anywhere."""
    path = tmp_path / "r.atr"
    path.write_bytes(RHYTHMS)
    with pytest.raises(InputError, match="no sampling rate"):
        read_rhythms(path, sampling_rate=float("inf"))
    assert read_rhythms(path, sampling_rate=500)[0] == Span(0.02, 1.02, "N")
    (tmp_path / "r.hea").write_text(f"r 1 250 {'9' * 900}\nr.dat 16 200 16 0 0 0 0 I\n")
    with pytest.raises(InputError, match=r"r\.hea: not a readable WFDB header \(more than 2\^63 samples\)"):
        read_rhythms(path)
