from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from edgeguard.attacks.scheduler import Trace
from edgeguard.errors import InputError
from edgeguard.evaluation.intervals import rate
from edgeguard.report.figures import AttackedRecord, draw_attack, draw_query_curves, draw_robustness
from edgeguard.report.paper import limits

DOTS_PER_MM = 150 / 25.4
LEFT, RIGHT, TOP, GAP, LOWER, BOTTOM = 15.0, 5.0, 15.0, 9.0, 26.0, 12.0
"""Millimetres of the attack's figure."""


def attacked(original: np.ndarray, adversarial: np.ndarray) -> AttackedRecord:
    return AttackedRecord("A1", original, adversarial, 300.0, "N", "A", "an attack")


def pixels(path: Path) -> np.ndarray:
    """[rows, columns, red green blue] in 0 .. 1."""
    return matplotlib.image.imread(path)[..., :3]


def drawn(path: Path, network: int) -> np.ndarray:
    """Bool [rows, columns]: the line of the first network (red) or the second (blue), not its band."""
    excess = pixels(path)[..., 0] - pixels(path)[..., 2]
    return (excess > 0.25) if network == 0 else (excess < -0.25)


def test_the_difference_is_drawn_to_scale(tmp_path: Path) -> None:
    """A flat record, 8 uV up in the first 4 s and 8 uV down in the last 4 s; 9.2 uV is the pane's bound."""
    step = np.where(np.arange(2400) < 1200, 8.0, -8.0).astype(np.float32)
    draw_attack(attacked(np.zeros(2400, np.float32), step), tmp_path / "a.png")
    red = drawn(tmp_path / "a.png", 0)
    strip = 1.5 * 10
    assert red.shape == pytest.approx(
        ((TOP + strip + GAP + LOWER + BOTTOM) * DOTS_PER_MM, (LEFT + 8 * 25 + RIGHT) * DOTS_PER_MM), abs=1.5
    )
    middle = (TOP + strip + GAP + LOWER / 2) * DOTS_PER_MM
    reach = 8.0 / (8.0 * 1.15) * LOWER / 2 * DOTS_PER_MM
    for seconds, row in ((2.0, middle - reach), (6.0, middle + reach)):
        column = red[round((TOP + strip + GAP) * DOTS_PER_MM) :, round((LEFT + seconds * 25) * DOTS_PER_MM)]
        assert np.flatnonzero(column).mean() + (TOP + strip + GAP) * DOTS_PER_MM == pytest.approx(row, abs=1.5)


def test_a_long_record_shows_its_middle_and_a_short_one_all(tmp_path: Path) -> None:
    long = np.zeros(9000, np.float32)
    for ecg, seconds in ((long, 8), (long[:600], 2)):
        draw_attack(attacked(ecg, ecg), tmp_path / "b.png")
        width = matplotlib.image.imread(tmp_path / "b.png").shape[1]
        assert width == pytest.approx((LEFT + seconds * 25 + RIGHT) * DOTS_PER_MM, abs=1.5)


def test_an_attack_outside_the_middle_is_not_shown(tmp_path: Path) -> None:
    """30 s with 500 uV added in the first and last 11 s: the middle 8 s are unchanged, one flat line."""
    place = np.arange(9000)
    outside = np.where((place < 3300) | (place >= 5700), 500.0, 0.0).astype(np.float32)
    draw_attack(attacked(np.zeros(9000, np.float32), outside), tmp_path / "c.png")
    pane = drawn(tmp_path / "c.png", 0)[round((TOP + 15.0 + GAP) * DOTS_PER_MM) :]
    assert 1 <= len(np.flatnonzero(pane.any(axis=1))) <= 3


def gap(path: Path, first: float, second: float) -> float:
    """Rows by which the second network's line lies above the first's, for constant accuracies."""
    curves = [{eps: rate(round(200 * value), 200) for eps in (0.0, 10.0, 40.0)} for value in (first, second)]
    draw_robustness(dict(zip(("none", "adt"), curves, strict=True)), path, marked=10.0, title="x")
    rows = [np.argmax(drawn(path, network).sum(axis=1)) for network in (0, 1)]
    return float(rows[0] - rows[1])


def test_accuracies_are_drawn_to_scale(tmp_path: Path) -> None:
    wide, narrow, upside_down = (
        gap(tmp_path / f"{i}.png", *both) for i, both in enumerate([(0.3, 0.9), (0.3, 0.6), (0.6, 0.3)])
    )
    assert narrow > 100
    assert wide == pytest.approx(2 * narrow, abs=2) and upside_down == pytest.approx(-narrow, abs=2)


def trace(*found: tuple[int, float]) -> Trace:
    """A record whose L2 and L-inf distance fall to the values given, at the queries given."""
    made = Trace()
    for queries, distance in found:
        made.queries.append(queries)
        made.l2.append(distance)
        made.linf.append(distance)
    return made


def test_a_network_without_traces_is_left_out(tmp_path: Path) -> None:
    draw_query_curves({"none": [], "adt": [trace((1, 900.0), (20, 40.0))]}, 50, tmp_path / "e.png")
    assert not drawn(tmp_path / "e.png", 0).any()
    assert drawn(tmp_path / "e.png", 1).any()


@pytest.mark.parametrize("traces", [{}, {"none": []}, {"none": [Trace()]}, {"none": [trace((3, 5.0))]}])
@pytest.mark.parametrize("budget", [1, 50])
def test_query_curves_of_little_are_drawn(tmp_path: Path, traces: dict[str, list[Trace]], budget: int) -> None:
    draw_query_curves(traces, budget, tmp_path / "f.png")
    assert matplotlib.image.imread(tmp_path / "f.png").size


@pytest.mark.parametrize(
    ("lowest", "highest", "shown"),
    [
        (-0.2, 1.2, (-0.5, 1.5)),
        (0.0, 0.1, (-1.0, 0.5)),
        (-0.1, 0.0, (-0.5, 1.0)),
        (-9.0, 9.0, (-2.0, 2.0)),
    ],
)
def test_a_strip_of_paper_is_whole_squares(lowest: float, highest: float, shown: tuple[float, float]) -> None:
    found = limits(np.array([lowest, 0.0, highest]))
    assert found[1] - found[0] == shown[1] - shown[0] and found[0] <= max(lowest, -2) and found[1] >= min(highest, 2)


def test_a_picture_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"x\.png: cannot be written"):
        draw_query_curves({}, 10, tmp_path / "file" / "x.png")
