"""Where a command's data come from when the user names none."""

import json
from pathlib import Path

from edgeguard.ecg.origin import Named, file_data, trained_on


def test_named_data_win_over_the_runs():
    assert trained_on({"data": "a.zip", "labels": "l.csv"}, Named("b.zip")) == Named("b.zip")


def test_the_runs_data_stand_in_with_their_labels():
    assert trained_on({"data": "a.zip", "labels": "l.csv"}, Named()) == Named("a.zip", Path("l.csv"))
    assert trained_on({}, Named()) == Named()
    options = {"data": "a", "lead": "II", "label_map": {"AFIB": "A"}}
    assert trained_on(options, Named()) == Named("a", None, {"AFIB": "A"}, "II")


def test_a_file_in_a_run_folder_takes_the_runs_data(tmp_path: Path):
    file = tmp_path / "adt-int8.onnx"
    assert file_data(file, Named()) == Named()
    (tmp_path / "config.json").write_text(json.dumps({"options": {"data": "a.zip"}}))
    assert file_data(file, Named()) == Named("a.zip")
    assert file_data(file, Named("b.zip")) == Named("b.zip")
