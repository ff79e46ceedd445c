import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.report.live import Frame, LiveView, full_scale, render, trace

SHARES = {"N": 0.1, "A": 0.85, "O": 0.04, "~": 0.01}


class Terminal(io.StringIO):
    """A stream that says it is a terminal, and keeps what is written at once apart."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        self.writes.append(text)
        return len(text)


def frame(seconds: float = 3723.45, **about) -> Frame:
    samples = about.pop("samples", np.zeros(300))
    return Frame(seconds, samples, 100.0, about.pop("status", "scoring"), **about)


def screen(writes: list[str]) -> list[str]:
    """What a terminal shows after the last complete frame: lines without control sequences."""
    drawn = [text for text in writes if "\x1b[H" in text][-1]
    return [re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", line) for line in drawn.split("\r\n")]


def test_a_frame_says_everything():
    text = render(
        frame(label="A", probabilities=SHARES, note="low quality", events=["AF begins"], bill=["76 KiB"]), 60, 40
    )
    assert text[0] == "01:02:03.4  scoring  A 0.85  low quality"
    assert text[1] == "+-250 uV, newest 3 s"
    bars = [line for line in text if "#" in line or line.endswith(" %")]
    assert [line.split()[-2] for line in bars] == ["10.0", "85.0", "4.0", "1.0"]
    assert [line.count("#") for line in bars] == [round(46 * share) for share in SHARES.values()]
    assert [line.startswith("> ") for line in bars] == [False, True, False, False]
    assert text[-3:] == ["* AF begins", "", "76 KiB"]


def test_warming_up_has_no_probabilities():
    text = render(frame(1.0, status="warming_up", note="27 s to go"), 60, 20)
    assert text[0] == "00:00:01.0  warming up  27 s to go"
    assert not any("%" in line for line in text)


def test_the_newest_events_stay_on_the_screen():
    """Those of frames that were left out too."""
    terminal = Terminal()
    with LiveView(terminal, size=(60, 40), frames_per_second=1e-3) as view:
        for number in range(9):
            view.show(frame(float(number), events=[f"event {number}"]))
        view.show(frame(9.0))
    shown = [line for line in screen(terminal.writes) if line.startswith("*")]
    assert shown == [f"* event {number}" for number in range(3, 9)]


def test_a_curve_by_hand():
    """Four lines, full scale 3: a row of dots for each of 3, 1, -1, -3; neighbours are joined."""
    assert trace(np.array([3.0, 1, -1, -3]), 4, 4, 3.0, braille=False) == ["**", " **", "  **", "   *"]
    assert trace(np.array([-3.0, -3, 3, -3]), 4, 4, 3.0, braille=False) == ["  **", "  **", "  **", "****"]


def test_dots_of_a_braille_cell():
    """Left column at the top, right column at the bottom, joined to it: dots 1 and 4, 5, 6, 8."""
    assert trace(np.array([1.0, -1]), 1, 1, 1.0) == [chr(0x2800 + 0x01 + 0x08 + 0x10 + 0x20 + 0x80)]
    assert trace(np.array([1.0, np.nan]), 1, 1, 1.0) == [chr(0x2801)]


def test_no_peak_is_lost_and_lost_samples_leave_a_gap():
    samples = np.zeros(10_000)
    samples[1234] = 900
    samples[5000:7500] = np.nan
    picture = trace(samples, 40, 9, 1000, braille=False)
    assert sum(line.count("*") for line in picture[:4]) > 0
    assert all(line[20:30].strip() == "" for line in picture)
    assert picture[4][:20].count("*") == 20


@given(
    samples=st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=200),
    columns=st.integers(1, 90),
    lines=st.integers(1, 40),
    braille=st.booleans(),
)
def test_a_frame_never_leaves_the_screen(samples: list[float], columns: int, lines: int, braille: bool):
    shown = frame(samples=np.array(samples), probabilities=SHARES, label="N", events=["x" * 200], bill=["y" * 200])
    text = render(shown, columns, lines, braille=braille)
    assert len(text) <= lines
    assert all(len(line) <= columns and line.isprintable() for line in text)


@given(st.lists(st.floats(-4e5, 4e5), max_size=20))
def test_the_scale_holds_the_signal(samples: list[float]):
    largest = max((abs(value) for value in samples), default=0)
    assert full_scale(np.array(samples)) >= largest


def test_the_terminal_is_given_back_after_ctrl_c():
    terminal = Terminal()
    with pytest.raises(KeyboardInterrupt), LiveView(terminal, size=(60, 20)) as view:
        view.show(frame())
        raise KeyboardInterrupt
    assert terminal.writes[0].startswith("\x1b[?1049h\x1b[?25l")
    assert terminal.writes[-1] == "\x1b[?25h\x1b[?1049l"


def test_a_frame_is_one_write_that_overwrites_and_does_not_scroll():
    terminal = Terminal()
    with LiveView(terminal, size=(60, 20), frames_per_second=1e9) as view:
        view.show(frame(1.0, events=["one"]))
        before = len(terminal.writes)
        view.show(frame(2.0, events=["two"]))
        assert len(terminal.writes) == before + 1
    drawn = terminal.writes[before]
    # Clearing the whole screen before drawing is what flickers.
    assert "\x1b[2J" not in drawn and drawn.startswith("\x1b[?2026h\x1b[H") and drawn.endswith("\x1b[J\x1b[?2026l")
    assert not drawn.removesuffix("\x1b[J\x1b[?2026l").endswith("\n")
    assert screen(terminal.writes)[0] == "00:00:02.0  scoring"
    assert screen(terminal.writes)[-2:] == ["* one", "* two"]


def test_frames_that_come_too_soon_are_left_out_but_the_last_is_seen():
    terminal = Terminal()
    with LiveView(terminal, size=(60, 20), frames_per_second=1e-3) as view:
        for number in range(50):
            view.show(frame(float(number)))
    assert sum("\x1b[H" in text for text in terminal.writes) == 2
    assert screen(terminal.writes)[0] == "00:00:49.0  scoring"


def test_elsewhere_it_is_lines_of_what_changes():
    stream = io.StringIO()
    with LiveView(stream) as view:
        for second in range(5):
            view.show(frame(float(second), status="warming_up"))
        view.show(frame(5.0, label="N", probabilities=SHARES))
        view.show(frame(6.0, label="N", probabilities=SHARES))
        view.show(frame(7.0, label="A", probabilities=SHARES, events=["AF begins"]))
        view.show(frame(8.0, label="A", probabilities=SHARES))
    assert stream.getvalue().splitlines() == [
        "       0.0 s  warming up",
        "       5.0 s  scoring  N 0.10",
        "       7.0 s  AF begins",
    ]
    assert "\x1b" not in stream.getvalue()


def test_the_name_of_a_recording_cannot_steer_the_terminal():
    evil = "\x1b[2J\x1b]0;owned\x07\r\n"
    text = render(frame(note=evil, events=[evil], bill=[evil]), 60, 40)
    assert all(line.isprintable() for line in text)
    stream = io.StringIO()
    with LiveView(stream) as view:
        view.show(frame(note=evil, events=[evil]))
    assert "\x1b" not in stream.getvalue() and stream.getvalue().count("\n") == 1


def test_a_terminal_without_unicode_gets_ascii():
    terminal = Terminal()
    terminal.encoding = "ascii"
    with LiveView(terminal, size=(60, 20)) as view:
        view.show(frame(samples=np.sin(np.arange(300) / 9) * 200))
    assert all(text.isascii() for text in terminal.writes)
    assert any("*" in line for line in screen(terminal.writes))
