"""Where a command's data come from when the user names none."""

import json
from pathlib import Path

from edgeguard.ecg.origin import file_data, trained_on


def test_named_data_win_over_the_runs():
    assert trained_on({"data": "a.zip", "labels": "l.csv"}, "b.zip", None) == ("b.zip", None)


def test_the_runs_data_stand_in_with_their_labels():
    assert trained_on({"data": "a.zip", "labels": "l.csv"}, None, None) == ("a.zip", Path("l.csv"))
    assert trained_on({}, None, None) == (None, None)


def test_a_file_in_a_run_folder_takes_the_runs_data(tmp_path: Path):
    file = tmp_path / "adt-int8.onnx"
    assert file_data(file, None, None) == (None, None)
    (tmp_path / "config.json").write_text(json.dumps({"options": {"data": "a.zip"}}))
    assert file_data(file, None, None) == ("a.zip", None)
    assert file_data(file, "b.zip", None) == ("b.zip", None)
