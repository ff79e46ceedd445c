"""Numpy arrays as a data set."""

import numpy as np
import pytest

from edgeguard.ecg.arrays import dataset_of
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.dataset import build
from edgeguard.ecg.record import Record
from edgeguard.errors import InputError


def test_arrays_become_windows_by_the_window_rule() -> None:
    dataset = dataset_of([np.arange(1, 4), np.arange(1, 9)], ["A", "N"], window=6)
    ecg, mask, labels = dataset.batch(np.array([0, 1]))
    assert ecg[:, 0].tolist() == [[0, 1, 2, 3, 0, 0], [1, 2, 3, 4, 5, 6]]
    assert mask[:, 0].tolist() == [[False, True, True, True, False, False], [True] * 6]
    assert labels.tolist() == [1, 0] and dataset.names == ("00000", "00001") and dataset.source == "arrays"


def test_names_and_places_of_classes_are_the_same_labels() -> None:
    ecg = np.random.default_rng(0).normal(0, 100, (4, 50)).astype(np.float32)
    by_name = dataset_of(ecg, ["N", "~", "O", "A"], window=50)
    by_place = dataset_of(ecg, np.array([0, 3, 2, 1]), window=50)
    assert by_name.labels.tolist() == by_place.labels.tolist() == [0, 3, 2, 1]
    assert by_name.fingerprint == by_place.fingerprint
    assert np.array_equal(by_name.batch(np.arange(4))[0][:, 0], ecg)


def test_the_same_records_in_arrays_and_in_files_are_the_same_windows(tmp_path) -> None:
    from edgeguard.ecg.sources import load_dataset

    rng = np.random.default_rng(1)
    rows = [np.rint(rng.normal(0, 300, length)).astype(np.float32) for length in (9000, 5401, 9100)]
    write_cinc(tmp_path / "set", [Record(f"R{i}", row, label="NAO"[i]) for i, row in enumerate(rows)])
    files, arrays = load_dataset(str(tmp_path / "set")), dataset_of(rows, "NAO", window=9000)
    assert files.content == arrays.content and files.labels.tolist() == arrays.labels.tolist()


def test_classes_and_rate_of_the_model_are_those_of_the_records() -> None:
    dataset = dataset_of(np.zeros((2, 5)), ["yes", 0], window=5, classes=("no", "yes"), sampling_rate=125)
    assert dataset.classes == ("no", "yes") and dataset.sampling_rate == 125 and dataset.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("ecg", "labels", "said"),
    [
        (np.zeros((2, 5)), ["N"], "2 records and 1 labels"),
        (np.zeros((1, 1, 5)), ["N"], r"record 0 has the shape \[1, 5\]"),
        (np.full((1, 5), np.nan), ["N"], "holds no records"),
        (np.zeros((1, 5)), [4], "label 4 is no class"),
        (np.zeros((1, 5)), [-1], "label -1 is no class"),
        (np.zeros((0, 5)), [], "holds no records"),
    ],
)
def test_what_is_no_record_is_refused(ecg: np.ndarray, labels: list, said: str) -> None:
    with pytest.raises(InputError, match=said):
        dataset_of(ecg, labels, window=5)


def test_records_of_two_rates_are_refused_where_none_is_asked_for() -> None:
    two = [Record("a", np.zeros(5, np.float32), 300, "N"), Record("b", np.zeros(5, np.float32), 125, "N")]
    with pytest.raises(InputError, match="record b: sampling rate 125 Hz, others have 300 Hz"):
        build("it", two, window=5)
