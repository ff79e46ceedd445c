from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from edgeguard.ecg.record import Record
from edgeguard.errors import InputError
from edgeguard.report.records import draw_records

DOTS_PER_MM = 150 / 25.4
MARGIN, CAPTION = 6.0, 7.0


def spike(at: float, millivolts: float, *, seconds: float = 10.0) -> Record:
    """A flat line with one triangle of 0.1 s."""
    time = np.arange(round(seconds * 300)) / 300
    ecg = 1000 * millivolts * np.clip(1 - np.abs(time - at) / 0.05, 0, None)
    return Record("A1", ecg.astype(np.float32), label="N")


def dark(path: Path) -> np.ndarray:
    """Bool [rows, columns]: the trace and the captions."""
    return matplotlib.image.imread(path)[..., :3].max(axis=-1) < 0.4


def strip(pixels: np.ndarray, millivolts: float) -> np.ndarray:
    """The only strip's pixels."""
    top, left = round(CAPTION * DOTS_PER_MM), round(MARGIN * DOTS_PER_MM)
    return pixels[top : top + round(millivolts * 10 * DOTS_PER_MM), left : left + round(250 * DOTS_PER_MM)]


def test_the_picture_is_true_to_scale(tmp_path: Path):
    draw_records([spike(4.0, 2.0)], tmp_path / "one.png")
    pixels = dark(tmp_path / "one.png")
    assert pixels.shape == pytest.approx(
        ((2.0 * 10 + CAPTION + MARGIN) * DOTS_PER_MM, (250 + 2 * MARGIN) * DOTS_PER_MM), abs=1.5
    )
    trace = strip(pixels, 2.0)
    half_way = np.flatnonzero(trace[round(1.0 * 10 * DOTS_PER_MM)])
    assert half_way.mean() == pytest.approx(4.0 * 25 * DOTS_PER_MM, abs=2)
    flanks = half_way.max() - half_way.min()
    assert flanks == pytest.approx(0.05 * 25 * DOTS_PER_MM, abs=5)


def test_a_long_recording_shows_its_middle_and_a_high_one_is_clipped(tmp_path: Path):
    draw_records([spike(16.0, 30.0, seconds=30.0)], tmp_path / "long.png")
    pixels = dark(tmp_path / "long.png")
    assert pixels.shape[0] == pytest.approx((4.0 * 10 + CAPTION + MARGIN) * DOTS_PER_MM, abs=1.5)
    above = np.flatnonzero(strip(pixels, 4.0)[round(10 * DOTS_PER_MM)])
    assert above.mean() == pytest.approx((16.0 - 10.0) * 25 * DOTS_PER_MM, abs=3)


def test_short_flat_and_unlabelled_records_are_drawn(tmp_path: Path):
    records = [Record("x", np.zeros(40, np.float32)), spike(1.0, -1.0, seconds=2.0)]
    draw_records(records, tmp_path / "two.png")
    assert dark(tmp_path / "two.png").any()


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"x\.png: cannot be written"):
        draw_records([spike(1.0, 1.0)], tmp_path / "file" / "x.png")
