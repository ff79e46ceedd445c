"""The worst record: which one it is, and that its picture shows where the perturbation lies."""

from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from edgeguard.attacks.scheduler import Trace
from edgeguard.report.figures import AttackedRecord
from edgeguard.report.worst_record import draw_worst_record, worst_record

DOTS_PER_MM = 150 / 25.4
LEFT, BOTTOM, OVERVIEW, WIDE = 16.0, 12.0, 14.0, 200.0


def attacked(difference: np.ndarray, *, height: float = 500.0) -> AttackedRecord:
    time = np.arange(len(difference)) / 300
    ecg = (height * np.sin(2 * np.pi * time)).astype(np.float32)
    adversarial = (ecg + difference).astype(np.float32)
    return AttackedRecord("A1", ecg, adversarial, 300.0, "N", "A", "attack on a file")


def overview(path: Path) -> np.ndarray:
    """RGB of the lowest panel."""
    pixels = matplotlib.image.imread(path)[..., :3]
    bottom = len(pixels) - round(BOTTOM * DOTS_PER_MM)
    left = round(LEFT * DOTS_PER_MM)
    return pixels[bottom - round(OVERVIEW * DOTS_PER_MM) : bottom, left : left + round(WIDE * DOTS_PER_MM)]


def test_the_worst_record_is_the_one_fooled_at_the_smallest_distance() -> None:
    traces = {
        4: Trace(),
        7: Trace([1, 9], [900.0, 300.0], [50.0, 40.0]),
        8: Trace([2], [200.0], [60.0]),
        9: Trace([3], [200.0], [40.0]),
    }
    assert worst_record(traces) == 8
    assert worst_record(traces, norm="linf") == 7
    assert worst_record({4: Trace()}) is None
    assert worst_record({}) is None


@pytest.mark.parametrize("at", [4.0, 15.0, 29.0])
def test_the_excerpt_that_is_shaded_holds_the_strongest_part(tmp_path: Path, at: float) -> None:
    time = np.arange(9000) / 300
    draw_worst_record(attacked(80 * np.exp(-(((time - at) / 0.2) ** 2))), tmp_path / "worst.png")
    row = overview(tmp_path / "worst.png")[6]
    shaded = np.flatnonzero((row[:, 0] > 0.9) & (row[:, 1] < 0.93))
    first, last = shaded.min() / len(row) * 30, shaded.max() / len(row) * 30
    assert last - first == pytest.approx(8, abs=0.15)
    assert first < at < last


def test_the_panels_show_both_recordings_and_a_flat_difference_where_nothing_changed(tmp_path: Path) -> None:
    flat, changed = tmp_path / "flat.png", tmp_path / "changed.png"
    draw_worst_record(attacked(np.zeros(9000)), flat)
    draw_worst_record(attacked(300 * np.sin(np.arange(9000) / 30)), changed)

    def red(path: Path) -> int:
        pixels = matplotlib.image.imread(path)[..., :3]
        return int(((pixels[..., 0] > 0.45) & (pixels[..., 1:].max(axis=-1) < 0.25)).sum())

    assert red(changed) > 2 * red(flat) > 0


@pytest.mark.parametrize(
    ("samples", "height"), [(1, 10.0), (300, 500.0), (18_000, 500.0), (9000, 20_000.0), (9000, 0.0)]
)
def test_any_record_is_drawn(tmp_path: Path, samples: int, height: float) -> None:
    path = tmp_path / "new" / "worst.png"
    draw_worst_record(attacked(np.full(samples, 5.0), height=height), path)
    assert path.read_bytes().startswith(b"\x89PNG")
