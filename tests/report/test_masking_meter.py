"""The masking meter's table and figure."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.attacks.meter import MaskingMeter
from edgeguard.report.masking_meter import HOW_TO_READ, draw_meter, meter_table

ROWS = [
    {"probe_rms_uv": [1.0, 2.0], "probes": 200, "identical": 0.75, "fidelity": None},
    {"probe_rms_uv": [16.0, 32.0], "probes": 1600, "identical": 0.0, "fidelity": 0.934},
]


def test_the_table_gives_each_size_its_share_with_an_interval() -> None:
    lines = meter_table(ROWS, step_uv=31.25).splitlines()
    assert lines[0] == "input step 31.25 uV"
    assert lines[2].split() == ["1", "to", "2", "200", "0.75", "[0.69,", "0.80]", "none"]
    assert lines[3].split() == ["16", "to", "32", "1,600", "0.00", "[0.00,", "0.00]", "0.93"]
    assert tuple(lines[4:]) == HOW_TO_READ
    assert meter_table(ROWS).splitlines()[0].startswith("probe rms")


def test_no_probes_are_said() -> None:
    assert meter_table([]) == "no probes were asked: the attack estimates no gradient"


@pytest.mark.parametrize("step", [None, 31.25])
@pytest.mark.parametrize("rows", [[], ROWS[:1], ROWS])
def test_a_figure_is_drawn_of_any_meter(tmp_path: Path, rows: list[dict], step: float | None) -> None:
    draw_meter(rows, tmp_path / "meter.png", title="attack", step_uv=step)
    assert (tmp_path / "meter.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_meter_counted_is_what_is_read(tmp_path: Path) -> None:
    meter = MaskingMeter()
    meter.note(20.0, np.array([True, False, False, False]), 0.5)
    meter.note(20.0, np.array([True, False]), 0.7)
    meter.note(3.0, np.array([True, True]), 0.0)
    lines = meter_table(meter.table()).splitlines()
    assert lines[1].split()[:5] == ["2", "to", "4", "2", "1.00"]
    assert lines[2].split()[:5] == ["16", "to", "32", "6", "0.33"]
    assert [line.split()[-1] for line in lines[1:3]] == ["0.00", "0.60"]
