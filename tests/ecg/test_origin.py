"""Where a command's data come from when the user names none."""

import json
from pathlib import Path

import pytest

from edgeguard.ecg import sources
from edgeguard.ecg.origin import Named, file_data, load_named, trained_on


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


@pytest.mark.parametrize("fetched", [False, True])
def test_the_zip_of_cinc_2017_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fetched: bool):
    """A network of the zoo names `training2017.zip`: here, else fetched, else synthetic records, which is said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEGUARD_CACHE", str(tmp_path / "cache"))
    if fetched:
        sources.fetched_zip().parent.mkdir(parents=True)
        sources.fetched_zip().touch()
    options = {"data": "training2017.zip", "labels": None}
    named = trained_on(options, Named(lead="II"))
    assert (named.data, named.lead) == (None, "II")
    assert ("training2017.zip, which the network was trained on, is not here" in named.note) is not fetched
    assert trained_on({"data": "elsewhere/records"}, Named()) == Named("elsewhere/records")
    if not fetched:
        dataset = load_named(named, window=9000)
        assert dataset.source == "synthetic:1600" and dataset.notes[0] == named.note
    Path("training2017.zip").touch()
    assert trained_on(options, Named()) == Named("training2017.zip")
