"""What is printed of a reproduction, and what its figures show."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from edgeguard.evaluation.reproduction.black_box_table import Reached, Said, black_box_table
from edgeguard.evaluation.reproduction.curves import Segment
from edgeguard.evaluation.reproduction.published import DEFENSES, TABLES
from edgeguard.evaluation.reproduction.tables import Panel, attack_table
from edgeguard.report.reproduction_figures import draw_lengths, draw_radii, draw_segment, spread_apart
from edgeguard.report.reproduction_tables import (
    Sheet,
    as_markdown,
    as_text,
    attack_sheets,
    black_box_sheet,
    strict_sheet,
)

CLASSES = ("N", "A", "O", "~")
LABELS = np.arange(200) % 4


def panel(seeds: int = 1, labels: np.ndarray = LABELS) -> Panel:
    """Eight defences, each right on twenty records more than the one before."""
    right = {name: np.arange(len(labels)) < 40 + 20 * place for place, name in enumerate(DEFENSES)}
    attacked = {name: np.tile(np.where(of, labels, (labels + 1) % 4), (seeds, 1)) for name, of in right.items()}
    clean = {name: np.tile(labels, (seeds, 1)) for name in DEFENSES}
    return Panel(labels, CLASSES, clean, attacked, {})


def cells(sheet: Sheet, defense: str) -> dict[str, str]:
    row = next(row for row in sheet.rows if row[0] == defense)
    return dict(zip(sheet.header, row, strict=True))


def test_table_5_stands_with_the_papers_beside_ours() -> None:
    accuracy, f1 = attack_sheets(5, attack_table(panel(), TABLES[5]))
    ours = cells(accuracy, "adt")
    assert ours["paper: attacked"] == "0.8115" and ours["paper: clean, implied"] == "0.8689"
    assert ours["paper: drop_ref, %"] == "5.98" and cells(f1, "adt")["paper: drop_ref, %"] == "14.86"
    # 180 of 200 right.
    assert ours["attacked"].startswith("0.900 [") and ours["lost, points"].startswith("10.0 [")
    assert ours["drop_own, %"].startswith("10.00 [") and ours["less `none`, points"].startswith("+70.0 [")
    # Of jr's, the least of seven differences, all 20 records speak for it: 2 / 2^20.
    assert ours["Holm p"] == "< 1e-06" and cells(accuracy, "jr")["Holm p"] == "1.9e-06"
    assert cells(accuracy, "none")["Holm p"] == ""
    assert "mean of the classes" not in as_markdown([accuracy])


def test_table_2_has_the_papers_order_by_f1_and_a_drop_below_zero() -> None:
    _, f1 = attack_sheets(2, attack_table(panel(), TABLES[2]))
    assert cells(f1, "adt")["paper: attacked"] == "0.7737" and cells(f1, "adt")["paper: drop_own, %"] == "-1.02"
    assert f1.after[1] == ("The paper's: `adt` > `dist-adt` > `init-adt` > `at` > `nsr` > `jr` > `dd` > `none`.")


def test_an_order_of_one_defence_is_none() -> None:
    table = attack_table(panel(), TABLES[2])
    table["order"]["f1"] |= {"kendall_tau": None}
    assert attack_sheets(2, table)[1].after[1] == "The paper's has no two of these."


def test_odd_drops_are_marked() -> None:
    accuracy, _ = attack_sheets(3, attack_table(panel(), TABLES[3]))
    assert cells(accuracy, "nsr")["paper: drop_ref, %"] == "15.43 *" and "neither definition" in accuracy.after[-1]
    assert "*" not in cells(accuracy, "none")["paper: drop_ref, %"]


def test_several_seeds_show_their_spread_and_a_missing_class_is_said() -> None:
    labels = np.arange(200) % 3
    sheet, _ = attack_sheets(5, attack_table(panel(seeds=3, labels=labels), TABLES[5]))
    assert "± 0.000" in sheet.rows[0][1] and "3 seeds" in sheet.about[1]
    assert sheet.about[2] == "No record of class ~ among them: F1 is the mean of the classes that are."


def test_the_strict_profile_has_a_table_of_its_own() -> None:
    table = attack_table(panel(), TABLES[5])
    for row in table["rows"]:
        row["paper"] = None
    table["beyond_paper"] = {"none": 0.031, "adt": -0.004}
    sheet = strict_sheet(table)
    assert not any("paper" in name for name in sheet.header) and "right only under all of them" in sheet.about[0]
    assert "`none` +3.1, `adt` -0.4" in sheet.after[-1]


def test_table_6_without_a_control_says_so() -> None:
    labels = np.arange(4)
    said = Said(0, labels, labels, np.array([0, 1, 1, 1]))
    one = black_box_table(
        {"adt": [said]}, {"none": [Reached(4, np.ones(4))], "adt": [Reached(0, np.zeros(0))]}, classes=CLASSES
    )
    sheet = black_box_sheet({"seeds": 1, "victims": [0], "fooled": [4], **one})
    assert any("No control" in line for line in sheet.about)
    asked = ["not asked", "not asked", "not asked", "", "", "no such row", "1, n 4"]
    assert sheet.rows[0] == ["`none`, the victim", *asked]
    assert sheet.rows[1][2].startswith("0.50 [") and sheet.rows[1][-2:] == ["0.9144", "no pair"]
    two = black_box_sheet({"seeds": 1, "victims": [0, 1], "fooled": [4, 4], **one})
    assert not any("No control" in line for line in two.about)


def test_table_6_holds_every_file_against_the_control() -> None:
    labels = np.arange(8) % 4
    wrong, right = Said(0, labels, labels, (labels + 1) % 4), Said(0, labels, labels, labels)
    reached = {name: [Reached(8, np.ones(8))] for name in ("none", "adt")}
    table = black_box_table({"none": [wrong], "adt": [right]}, reached, classes=CLASSES)
    sheet = black_box_sheet({"seeds": 1, "victims": [0, 1], "fooled": [8, 8], **table})
    assert sheet.rows[0][0] == "control: `none` of another seed" and cells(sheet, "adt")["Holm p"] == "0.0078"
    assert cells(sheet, "adt")["less control, points"].startswith("+100.0 [")


def test_markdown_has_as_many_cells_in_every_row() -> None:
    text = as_markdown([*attack_sheets(5, attack_table(panel(), TABLES[5])), strict_sheet(attack_table(panel(), None))])
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 3
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1 and len(lines) == 2 + len(DEFENSES)


def test_equal_scores_are_said_to_be_equal() -> None:
    same = panel()
    attacked = {**same.attacked, "adt": same.attacked["dist-adt"]}
    table = attack_table(Panel(LABELS, CLASSES, same.clean, attacked, {}), None)
    (line, *_), _ = (
        sheet.after for sheet in attack_sheets(5, {**table, "rows": attack_table(panel(), TABLES[5])["rows"]})
    )
    assert line.startswith("Order by accuracy: `dist-adt` = `adt` > `init-adt`")


def test_columns_of_the_text_are_aligned() -> None:
    sheet = Sheet("T", ["about"], ["a", "long name"], [["xxx", "1"], ["y", "22"]], [])
    assert as_text([sheet]) == "T\nabout\n\na    long name\nxxx  1\ny    22"


@pytest.mark.parametrize("values", [[0.1, 0.5], [0.5, 0.5, 0.5], [0.0, 0.01, 0.9], [0.97, 0.98, 0.99], [0.4]])
def test_names_are_moved_apart_and_no_further(values: list[float]) -> None:
    places = spread_apart(values, least=0.05)
    assert (np.diff(places) >= 0.05 - 1e-12).all() and places.min() >= 0 and places.max() <= 1
    apart = (np.diff(values) >= 0.05).all()
    assert np.array_equal(places, values) if apart else np.mean(places) == pytest.approx(np.mean(values), abs=0.05)


def line(x: list[float], start: float) -> dict[str, Any]:
    value = [start - 0.02 * place for place in range(len(x))]
    about = {"value": value, "low": [v - 0.03 for v in value], "high": [v + 0.03 for v in value]}
    return {"x": x, "accuracy": about, "f1": about, "f1_nao": about}


def is_drawn(written: list[Path]) -> None:
    png, svg = written
    assert (png.suffix, svg.suffix) == (".png", ".svg")
    image = imread(png)
    # Not blank: every one of a picture's edges is white, and much else is not.
    assert image.std() > 0.02 and image[0].min() == image[-1].min() == 1
    assert ET.parse(svg).getroot().tag.endswith("svg")


@pytest.mark.parametrize("seeds", [1, 5])
def test_curves_are_drawn(tmp_path: Path, seeds: int) -> None:
    places = {name: 0.9 - 0.01 * place for place, name in enumerate(DEFENSES)}
    lengths = {name: line([0, 10, 20, 30, 40], start) for name, start in places.items()}
    once = {name: line([0], start) for name, start in places.items()}
    is_drawn(draw_lengths(4, {"n": 9, "seeds": seeds, "lines": lengths, "smoothed_once": once}, tmp_path))
    radii = {name: line([5, 10, 15, 20, 25], start) for name, start in places.items()}
    data = {"n": 9, "seeds": seeds, "lines": radii, "larger_step": radii}
    first = draw_radii(6, data, tmp_path)
    is_drawn(first)
    svg = first[1].read_text()
    for said in ("eps 20 and 25 are one attack", "situation II", f"{seeds} seed"):
        assert said in svg


def test_a_segment_is_drawn(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ecg = rng.normal(0, 30, 3000).astype(np.float32)
    ecg[::300] += 1000
    segment = Segment("A00001", ecg, ecg + 10, ecg - 5, ("N", "O", "A"))
    written = draw_segment(segment, 300.0, tmp_path)
    is_drawn(written)
    svg = written[1].read_text()
    for said in ("A00001", "read as Normal", "read as Other", "read as AF"):
        assert said in svg
