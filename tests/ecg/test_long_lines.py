"""A line of a megabyte takes no longer to refuse than its length: no pattern backtracks."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgeguard.ecg import apple_watch
from edgeguard.ecg.sources import read_record
from edgeguard.errors import InputError

MEGABYTE = 1_000_000
MARGIN = 60
"""Seconds for what takes well under one; a pattern that backtracks takes hours."""

HEADER = "Lead,I\nSample Rate,512 Hz\nUnit,mV\n"
FILES = {
    "blanks in the key.csv": "Name" + " " * 9_000 + "\n",
    "blanks behind the rate.csv": "Sample Rate,512 Hz" + " " * 9_000 + "x\n",
    "blanks.csv": " " * MEGABYTE + "x",
    "digits.csv": "1" * MEGABYTE + "x",
    "export.csv": HEADER + "1" + " " * 9_000 + "x\n",
    "record line.hea": "r 1 " + "3" * MEGABYTE + " " + "1" * MEGABYTE,
    "signal line.hea": "r 1 300 9000\nr.mat " + "1" * MEGABYTE,
}


PROGRAM = """
import sys
from edgeguard.ecg import apple_watch
from edgeguard.ecg.sources import read_record
from edgeguard.errors import InputError

for path in sys.argv[3:]:
    try:
        print(f"{path}: {len(read_record(path, path.split('/')[-1].partition('.')[0]).ecg)} samples")
    except InputError as error:
        print(error)
blanks = " " * int(sys.argv[1])
tabs = blanks.replace(" ", "\\t")
print([apple_watch.is_export([line]) for line in (blanks, "k,5" + blanks + "x", "k" + tabs + "x")])
try:
    apple_watch.parse("direct", [*sys.argv[2].splitlines(), "1" + blanks + "x"])
except InputError:
    print("refused")
"""


def test_hostile_lines_are_done_with_before_the_margin(tmp_path: Path) -> None:
    """In another process, which can be ended: one that hangs in `re` hears nothing."""
    paths = [tmp_path / name for name in FILES]
    for path in paths:
        path.write_text(FILES[path.name])
        if path.suffix == ".hea":
            path.with_suffix(".mat").write_bytes(b"")
    command = [sys.executable, "-c", PROGRAM, str(MEGABYTE), HEADER, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=MARGIN, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(paths) + 2
    assert all(line.startswith(f"{path}: ") for line, path in zip(lines, paths, strict=False))
    assert lines[-2:] == ["[False, False, False]", "refused"]


@pytest.mark.parametrize("before", ["", "r 1 300 9000\n"])
def test_a_header_line_is_bounded_for_the_wfdb_package_too(tmp_path: Path, before: str) -> None:
    """A folder of headers alone is read by it."""
    (tmp_path / "r.hea").write_text(before + "1" * 5_000)
    with pytest.raises(InputError, match=r"r\.hea: a line of \d+ characters, header\(5\) allows 255; restore the file"):
        read_record(str(tmp_path), "r")


def test_the_headers_of_segments_are_bounded_too(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text("r/2 1 300 20\n~ 10\ns1 10\n")
    (tmp_path / "s1.hea").write_text("s1 1 300 10\n" + "1" * 2_000)
    with pytest.raises(InputError, match=r"s1\.hea: a line of 2000 characters"):
        read_record(str(tmp_path), "r")
    (tmp_path / "s1.hea").write_text("s1/1 1 300 10\nr 10\n")
    with pytest.raises(InputError, match=r"r\.hea: segment s1 is made of segments"):
        read_record(str(tmp_path), "r")


def test_a_long_comment_is_no_field(tmp_path: Path) -> None:
    (tmp_path / "r.hea").write_text(f"r 1 300 3\nr.dat 16 1000/mV 16 0 0 0 0 I\n#{'x' * 5_000}\n")
    (tmp_path / "r.dat").write_bytes(b"\1\0\2\0\3\0")
    assert read_record(str(tmp_path), "r").ecg.tolist() == [1, 2, 3]


HERTZ = r"hz|hertz\w*|herc\w*"
KEY = r"\s*\"?[^\",;\t]+\"?\s*[,;\t]\s*"
RATE = re.compile(rf"{KEY}\"?\s*(\d+(?:[.,٫]\d+)?)\s*(?:{HERTZ})\.?\s*\"?[\s,;]*", re.IGNORECASE)
"""What a line of the rate is, written plainly: it backtracks, and is right on short lines."""


@given(st.lists(st.sampled_from([" ", "\t", '"', ",", ";", "k", "12", ".", "Hz", "hertz"]), max_size=9).map("".join))
@example("k\t,512 Hz")
@example(' ",512 Hz')
@example(" \t \t512 Hz")
@example("k;511,562\N{NO-BREAK SPACE}Hertz;")
def test_a_line_of_the_rate_is_what_the_plain_pattern_says(line: str) -> None:
    assert apple_watch.is_export([line]) == bool(RATE.fullmatch(line))
