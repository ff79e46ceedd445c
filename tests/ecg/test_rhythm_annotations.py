from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.ecg.rhythm_annotations import Span, join_spans, labelled_spans, read_rhythms
from edgeguard.errors import InputError


def write(folder: Path, notes: dict[int, str], *, name: str = "r1", header: bool = True, fs: int | None = 250) -> Path:
    """An annotation file with a beat (code N, no note) every 100 samples beside the notes; 5,000 samples."""
    beats = {sample: "" for sample in range(50, 4950, 100)}
    marks = sorted({**beats, **notes}.items())
    wfdb.wrann(
        name,
        "atr",
        np.array([sample for sample, _ in marks]),
        ["+" if note else "N" for _, note in marks],
        aux_note=[note for _, note in marks],
        fs=fs,
        write_dir=str(folder),
    )
    if header:
        (folder / f"{name}.hea").write_text(f"{name} 1 250 5000\n{name}.dat 16 200/mV 16 0 0 0 0 I\n")
    return folder / f"{name}.atr"


def test_a_file_of_two_kinds_of_notes(tmp_path):
    """250 Hz; what is no rhythm (a comment, a pause) changes nothing; the last rhythm ends with the record."""
    notes = {18: "(N\0", 1000: "(AFIB", 1500: "PSE", 2000: "(AFL", 2500: "(N", 3000: "(NOISE", 3500: "(N", 4000: "(N"}
    assert read_rhythms(write(tmp_path, notes)) == [
        Span(18 / 250, 4, "N"),
        Span(4, 8, "A"),
        Span(8, 10, "O"),
        Span(10, 12, "N"),
        Span(12, 14, "~"),
        Span(14, 20, "N"),
    ]


def test_a_closing_parenthesis_leaves_time_unknown(tmp_path):
    spans = read_rhythms(write(tmp_path, {0: "(N", 500: ")", 1000: "(AFIB", 2000: ")"}))
    assert spans == [Span(0, 2, "N"), Span(4, 8, "A")]


def test_own_classes(tmp_path):
    path = write(tmp_path, {0: "(AFL", 1000: "(AFIB", 2000: "(VT"})
    assert read_rhythms(path, classes={"AFL": "A", "AFIB": "A"}) == [Span(0, 8, "A"), Span(8, 20, "O")]


def test_without_a_header_the_last_annotation_is_the_end(tmp_path):
    notes = {0: "(N", 1000: "(AFIB"}
    assert read_rhythms(write(tmp_path, notes, header=False))[-1] == Span(4, 4850 / 250, "A")
    path = write(tmp_path, notes, name="r2", header=False, fs=None)
    with pytest.raises(InputError, match="no sampling rate"):
        read_rhythms(path)
    assert read_rhythms(path, sampling_rate=500)[-1] == Span(2, 9.7, "A")


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"", "not a readable|no rhythm"), (b"\x07", "not a readable")]
)
def test_bad_files_in_one_line(tmp_path, content, message):
    path = tmp_path / "bad.atr"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_rhythms(path, sampling_rate=250)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_of_beats_has_no_rhythms(tmp_path):
    with pytest.raises(InputError, match=r"no rhythm annotation such as \(AFIB"):
        read_rhythms(write(tmp_path, {}))


def test_recordings_one_after_another():
    recordings = [("N", 30.0), ("N", 10.0), (None, 5.0), ("A", 30.0), ("N", 1.5)]
    assert labelled_spans(recordings) == [Span(0, 40, "N"), Span(45, 75, "A"), Span(75, 76.5, "N")]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 10), st.sampled_from("NA")), max_size=10), st.randoms())
def test_joined_spans_cover_the_same_seconds_and_never_meet(parts, random):
    spans = [Span(start, start + seconds, label) for start, seconds, label in parts]
    joined = join_spans(spans)
    for label in "NA":
        own = [span for span in joined if span.label == label]
        assert {s for span in own for s in range(int(span.start), int(span.end))} == {
            s for span in spans if span.label == label for s in range(int(span.start), int(span.end))
        }
        assert all(a.end < b.start for a, b in pairwise(own))
    random.shuffle(spans)
    assert join_spans(spans) == joined == join_spans(joined)
