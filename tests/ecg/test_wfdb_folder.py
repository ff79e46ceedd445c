from pathlib import Path
from typing import Any

import numpy as np
import pytest
import wfdb

from edgeguard.ecg.sources import load_dataset, read_record
from edgeguard.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

ECG = np.rint(800 * np.sin(np.arange(900) / 40)) / 1000
"""Millivolts, whole microvolts."""
INVALID_FIFTH = np.where(np.arange(900) == 5, np.nan, ECG)
TWO_LEADS = {
    "p_signal": np.stack([ECG, ECG], axis=1),
    "units": ["mV", "mV"],
    "sig_name": ["I", "II"],
    "fmt": ["16", "16"],
    "adc_gain": [1000.0, 1000.0],
    "baseline": [0, 0],
}


def write(folder: Path, name: str = "r1", **changes: Any) -> None:
    """One record through wfdb's own writer."""
    settings = {
        "fs": 300, "units": ["mV"], "sig_name": ["I"],
        "p_signal": ECG[:, None], "fmt": ["16"],
        "adc_gain": [1000.0], "baseline": [0], **changes,
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    wfdb.wrsamp(name, write_dir=str(folder), **settings)
    (folder / "REFERENCE.csv").write_text(f"{name},A\n")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fmt": ["212"], "adc_gain": [1000.0]},
        {"fmt": ["24"], "adc_gain": [20000.0], "baseline": [77]},
        {"units": ["uV"], "p_signal": 1000 * ECG[:, None], "adc_gain": [1.0]},
        {"units": ["V"], "p_signal": ECG[:, None] / 1000, "adc_gain": [1e6]},
    ],
)
def test_any_format_gain_and_unit_becomes_microvolts(changes: dict[str, Any], tmp_path: Path):
    write(tmp_path / "set", **changes)
    record = read_record(str(tmp_path / "set"), "r1")
    assert (record.label, record.sampling_rate, record.ecg.dtype) == ("A", 300.0, np.float32)
    np.testing.assert_allclose(record.ecg, 1000 * ECG, rtol=0, atol=1e-3)
    assert len(load_dataset(str(tmp_path / "set"))) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"units": ["mmHg"]}, r"r1\.hea: unit mmHg, V, mV or uV needed"),
        (TWO_LEADS, r"r1\.hea: 2 signals \(.*\); name one with --lead"),
    ],
)
def test_records_of_another_kind_are_refused(changes: dict[str, Any], message: str, tmp_path: Path):
    write(tmp_path / "set", **changes)
    with pytest.raises(InputError, match=message):
        load_dataset(str(tmp_path / "set"))


def test_damaged_records_are_refused_in_one_line(tmp_path: Path):
    write(tmp_path / "set")
    samples = tmp_path / "set" / "r1.dat"
    samples.write_bytes(samples.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"r1\.hea: not a readable WFDB record") as caught:
        load_dataset(str(tmp_path / "set"))
    assert "\n" not in str(caught.value)
    samples.unlink()
    with pytest.raises(InputError, match=r"r1\.hea: not a readable WFDB record"):
        load_dataset(str(tmp_path / "set"))
