from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeguard.ecg.sources import iter_records, load_dataset
from edgeguard.errors import InputError


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], np.ndarray]:
    """Writes a CSV file and reads it as a record."""

    def of(text: str) -> np.ndarray:
        (tmp_path / "R1.csv").write_text(text)
        (record,) = iter_records(str(tmp_path / "R1.csv"))
        assert record.name == "R1"
        return record.ecg

    return of


@pytest.mark.parametrize(
    "text",
    [
        "-127\n25.5\n\n30\n",
        "ecg\n-127\n25.5\n30\n",
        "samples\n-127\n25.5\n30",
        "# anything\n# sampling_rate: 300\n# unit: uV\necg\n-127\n25.5\n30\n",
        "time,ecg\n0,-127\n1,25.5\n2,30\n",
        "ECG_uV , marker\n-127,0\n25.5,0\n30,1\n",
        "# unit = mV\n-.127\n.0255\n.03\n",
        "t,ecg_mv\n0,-.127\n0,.0255\n0,3e-2\n",
        "\ufeffecg_v\r\n-127e-6\r\n25.5e-6\r\n30e-6\r\n",
    ],
)
def test_every_form_gives_the_same_microvolts(text: str, read: Callable[[str], np.ndarray]):
    ecg = read(text)
    assert ecg.dtype == np.float32
    np.testing.assert_allclose(ecg, [-127, 25.5, 30], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100\n\ninf\n", r"R1\.csv: line 3: 'inf'"),
        ("a,ecg\n1,100\n2\n", r"R1\.csv: line 3: 'nothing'"),
        ("100\nlead off\n", r"R1\.csv: line 2: 'lead off'"),
        ("a,b\n1,100\n", r"R1\.csv: 2 columns, none called ecg"),
        ("1,100\n2,90\n", r"R1\.csv: 2 columns, none called ecg"),
        ("# unit: counts\n100\n", r"R1\.csv: unit counts, V, mV or uV needed"),
        ("# sampling_rate: fast\n100\n", r"R1\.csv: sampling_rate 'fast'"),
        ("0.1\n1.5\n-0.3\n", r"R1\.csv: no sample reaches 20 microvolts; state the unit"),
    ],
)
def test_bad_files_are_refused_by_line(text: str, message: str, read: Callable[[str], np.ndarray]):
    with pytest.raises(InputError, match=message):
        read(text)


def test_a_stated_unit_is_believed(read: Callable[[str], np.ndarray]):
    assert read("# unit: uV\n0.1\n1.5\n").tolist() == pytest.approx([0.1, 1.5])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        (tmp_path / f"R{number}.csv").write_text("\n".join(str(100 + number + i) for i in range(600)))
    (tmp_path / "REFERENCE.csv").write_text("R0,N\nR1,A\nR2,O\nR3,~\n")
    return tmp_path


def test_a_folder_with_a_reference_is_a_data_set(folder: Path):
    dataset = load_dataset(str(folder))
    assert dataset.names == ("R0", "R1", "R2", "R3")
    assert dataset.labels.tolist() == [0, 1, 2, 3]
    assert dataset.left.tolist() == [4200] * 4
    ecg, mask, _ = dataset.batch(np.array([2]))
    assert ecg[0, 0, 4200:4203].tolist() == [102, 103, 104] and mask.sum() == 600


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("R1.csv", "# sampling_rate: 250\n1000\n", "record R1: sampling rate 250 Hz, others have 300 Hz"),
        ("R1.csv", "ecg\n", "record R1: has no samples"),
        ("R9.csv", "1000\n", "record R9: has no label"),
        ("REFERENCE.csv", "R0,\n", r"REFERENCE\.csv: line 1"),
    ],
)
def test_a_bad_file_in_a_folder_is_refused(name: str, text: str, message: str, folder: Path):
    (folder / name).write_text(text)
    with pytest.raises(InputError, match=message):
        load_dataset(str(folder))


@pytest.mark.parametrize("text", ["ecg\n100\nnan\n-50\n", "a,ecg\n1,100\n2,\n3,-50\n"])
def test_what_is_missing_is_a_gap(text: str, read: Callable[[str], np.ndarray]):
    np.testing.assert_array_equal(read(text), np.array([100, np.nan, -50], np.float32))


def test_a_column_is_a_lead(tmp_path: Path):
    (tmp_path / "R1.csv").write_text("I_mV,II\n.1,200\n.3,400\n")
    (tmp_path / "REFERENCE.csv").write_text("R1,N\n")
    for lead, expected in (("i", [100, 300]), ("II", [200, 400]), (1, [200, 400])):
        dataset = load_dataset(str(tmp_path), lead=lead, window=2)
        np.testing.assert_allclose(dataset.windows[0], expected, rtol=1e-6)
    with pytest.raises(InputError, match=r"R1\.csv: no lead V5; its signals are I, II"):
        load_dataset(str(tmp_path), lead="V5")
