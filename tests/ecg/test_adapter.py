"""Records of any rate, class list, lead and label set as a model takes them."""

from pathlib import Path

import numpy as np
import pytest
import wfdb
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.ecg.arrays import dataset_of, records_of
from edgeguard.ecg.dataset import build
from edgeguard.ecg.label_map import parse_label_map
from edgeguard.ecg.labels import parse_labels
from edgeguard.ecg.record import Record
from edgeguard.ecg.resampling import resample
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.stream import Stream
from edgeguard.errors import InputError
from edgeguard.firmware_sim.resampled import resampled_stream


def sine(hertz: float, rate: float, seconds: float, *, offset: float = 0.0) -> np.ndarray:
    """Microvolts, 2,000 high."""
    return (2000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate) + offset).astype(np.float32)


@pytest.mark.parametrize(
    ("rate", "target"), [(300, 250), (360, 300), (500, 300), (250, 360), (257.812, 300), (128, 300)]
)
@pytest.mark.parametrize("hertz", [1.0, 8.0, 40.0])
def test_a_sine_stays_that_sine_without_shift(rate: float, target: float, hertz: float) -> None:
    made = resample(sine(hertz, rate, 8, offset=300), rate, target)
    inner = slice(round(target), len(made) - round(target))
    expected = sine(hertz, target, len(made) / target, offset=300)
    assert len(made) == int(np.ceil(round(8 * rate) * target / rate - 1e-3))
    # 1 part in 200 of the amplitude, and the rounding to whole microvolts.
    assert np.abs(made[inner] - expected[inner]).max() <= 0.005 * 2000 + 0.5


def test_what_the_lower_rate_cannot_hold_is_gone() -> None:
    made = resample(sine(140, 500, 8), 500, 200)
    assert np.abs(made[200:-200]).max() < 0.02 * 2000


def test_a_constant_is_exact_to_the_ends_and_an_equal_rate_is_left_alone() -> None:
    assert (resample(np.full(1000, -731.0, np.float32), 300, 250) == -731).all()
    ecg = np.array([0.25, 7.5], np.float32)
    assert resample(ecg, 300, 300) is ecg


def test_a_gap_stays_where_it_was() -> None:
    ecg = np.full(900, 100.0, np.float32)
    ecg[300:330] = np.nan
    made = resample(ecg, 300, 250)
    missing = np.flatnonzero(np.isnan(made))
    assert missing[0] in (249, 250) and missing[-1] in (274, 275) and len(missing) == missing[-1] - missing[0] + 1
    assert (made[~np.isnan(made)] == 100).all()


@pytest.mark.parametrize(("rate", "target"), [(250, 300), (500, 300)])
@pytest.mark.parametrize("chunk", [1, 77, 10_000])
def test_a_stream_is_resampled_alike_whatever_its_chunks(rate: float, target: float, chunk: int) -> None:
    ecg = sine(5, rate, 6)
    ecg[round(3 * rate)] = np.nan
    parts = (ecg[i : i + chunk] for i in range(0, len(ecg), chunk))
    made = np.concatenate(list(resampled_stream(Stream("r", rate, parts, seconds=6.0), target)))
    expected = resample(sine(5, rate, 6), rate, target)
    gap = np.isnan(made)
    assert len(made) == len(expected) and gap.any()
    assert np.abs(np.flatnonzero(gap) / target - 3).max() < 0.1
    inner = slice(round(target / 5), -round(target / 5))
    assert np.abs((made - expected)[inner][~gap[inner]]).max() <= 1


def records(*labels: str, rate: float = 300.0, seconds: float = 2.0) -> list[Record]:
    return [Record(f"r{n}", sine(3 + n, rate, seconds), rate, label) for n, label in enumerate(labels)]


def test_classes_are_the_models_by_name_and_others_are_counted() -> None:
    dataset = build("it", records("A", "~", "N", "VT", "VT"), classes=("O", "N", "A"), window=600)
    assert dataset.classes == ("O", "N", "A")
    assert dict(zip(dataset.names, dataset.labels.tolist(), strict=True)) == {"r0": 2, "r2": 1}
    assert dataset.left_out == {"~": 1, "VT": 2}
    assert any("2 of class VT, 1 of class ~" in note for note in dataset.notes)
    assert any("no record of class O" in note for note in dataset.notes)


def test_without_classes_the_records_say_them() -> None:
    dataset = build("it", records("VT", "O", "N", "AFL"), window=600)
    assert dataset.classes == ("N", "O", "AFL", "VT") and dataset.labels.tolist() == [3, 1, 0, 2]


def test_the_window_is_cut_at_the_models_rate() -> None:
    dataset = build("it", records("N", rate=500, seconds=3), sampling_rate=250, window=500)
    assert (dataset.window, dataset.sampling_rate, dataset.length.tolist()) == (500, 250, [500])
    np.testing.assert_array_equal(dataset.windows[0], resample(sine(3, 500, 3), 500, 250)[:500])
    assert any("1 records resampled from 500 to 250 Hz" in note for note in dataset.notes)


def test_a_gap_is_no_part_of_the_mask_and_mostly_gap_is_left_out() -> None:
    ecg = sine(3, 300, 2)
    ecg[100:130] = np.nan
    lost = np.full(600, np.nan, np.float32)
    lost[:200] = 5
    dataset = build("it", [Record("a", ecg, 300, "N"), Record("b", lost, 300, "N"), *records("A")], window=600)
    assert dataset.names == ("a", "r0")
    signal, mask, _ = dataset.batch(np.array([1, 0]))
    assert mask[0].all() and np.flatnonzero(~mask[1, 0]).tolist() == list(range(100, 130))
    assert (signal[1, 0, 100:130] == 0).all() and np.isfinite(signal).all()
    assert any("1 records of which more than half" in note for note in dataset.notes)
    assert any("gaps in 1 records, 0.1 s" in note for note in dataset.notes)


def test_labels_in_another_case_are_told_apart_and_named() -> None:
    dataset = build("it", records("n", "N"), classes=("N", "A"), window=600)
    assert dataset.left_out == {"n": 1} and any("--label-map n=N" in note for note in dataset.notes)
    with pytest.raises(InputError, match="--label-map n=N,a=A"):
        build("it", records("n", "a"), classes=("N", "A"), window=600)


def test_a_label_map_joins_labels_and_must_lead_to_a_class() -> None:
    mapped = build("it", records("AFIB", "SR", "A"), classes=("N", "A"), window=600, label_map={"AFIB": "A", "SR": "N"})
    assert mapped.labels.tolist() == [1, 0, 1] and not mapped.left_out
    with pytest.raises(InputError, match=r"--label-map AFIB=AF: AF is none of N, A"):
        build("it", records("AFIB"), classes=("N", "A"), window=600, label_map={"AFIB": "AF"})


@given(st.dictionaries(st.text("abcXYZ~ 09", min_size=1).map(str.strip).filter(bool), st.text("NAO~", min_size=1)))
def test_a_label_map_is_read_as_it_is_written(pairs: dict[str, str]) -> None:
    assert parse_label_map(",".join(f"{label}={name}" for label, name in pairs.items())) == pairs


@pytest.mark.parametrize("text", ["A", "=A", "A=", "A=N,A=O"])
def test_another_label_map_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--label-map"):
        parse_label_map(text)


@pytest.mark.parametrize(
    "text",
    [
        "A1,N\nA2,AFIB\n",
        "A1.hea,N\nsub/A2.mat,AFIB\n",
        "record,label\nA1,N\nA2,AFIB\n",
        "Label;Patient;Filename\r\nN;7;A1.dat\r\nAFIB;8;A2.dat\r\n",
        '\ufeff"rhythm"\t"file"\n"N"\t"A1"\n"AFIB"\t"A2"\n',
    ],
)
def test_labels_are_found_in_any_table(text: str) -> None:
    assert parse_labels("labels.csv", text.encode()) == {"A1": "N", "A2": "AFIB"}


def test_arrays_of_another_rate_are_resampled_to_the_model() -> None:
    ecg = np.stack([sine(3, 500, 4), sine(5, 500, 4)])
    dataset = records_of(None, ecg, ["A", "N"], window=1000, classes=("N", "A"), sampling_rate=250, ecg_rate=500)
    assert dataset.windows.shape == (2, 1000) and dataset.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(dataset.windows[1], resample(ecg[1], 500, 250))
    assert (dataset_of(ecg, None, window=100, sampling_rate=500).labels == -1).all()


def write_wfdb(folder: Path, name: str, *, rate: float = 360, length: bool = True) -> np.ndarray:
    """Two leads in millivolts, as wfdb writes them; returns them in microvolts."""
    ecg = np.stack([sine(2, rate, 3), sine(7, rate, 3)], axis=1)
    wfdb.wrsamp(name, rate, ["mV", "mV"], ["MLII", "V5"], ecg / 1000, fmt=["16", "16"], write_dir=str(folder))
    if not length:
        header = folder / f"{name}.hea"
        lines = header.read_text().splitlines()
        lines[0] = " ".join(lines[0].split()[:3])
        header.write_text("\n".join(lines) + "\n")
    return ecg


@pytest.mark.parametrize("length", [True, False])
def test_a_lead_is_named_by_name_or_number(tmp_path: Path, length: bool) -> None:
    ecg = write_wfdb(tmp_path, "a", length=length)
    (tmp_path / "REFERENCE.csv").write_text("a,N\n")
    for lead, column in (("V5", 1), ("mlii", 0), ("1", 1), (0, 0)):
        dataset = load_dataset(str(tmp_path), lead=lead, window=1000)
        assert dataset.sampling_rate == 360
        np.testing.assert_allclose(dataset.windows[0], ecg[:1000, column], atol=0.2)
    for lead in (None, "V6", "2"):
        with pytest.raises(InputError, match="MLII, V5"):
            load_dataset(str(tmp_path), lead=lead)


def test_segments_are_one_record(tmp_path: Path) -> None:
    first, second = write_wfdb(tmp_path, "s1"), write_wfdb(tmp_path, "s2")
    whole = np.concatenate([first, second])
    (tmp_path / "m.hea").write_text(f"m/2 2 360 {len(whole)}\ns1 {len(first)}\ns2 {len(second)}\n")
    (tmp_path / "REFERENCE.csv").write_text("m,N\ns1,N\ns2,N\n")
    dataset = load_dataset(str(tmp_path), lead="V5", window=len(whole))
    row = dataset.windows[dataset.names.index("m")]
    np.testing.assert_allclose(row, whole[:, 1], atol=0.2)


def test_the_cache_tells_settings_apart() -> None:
    wide = load_dataset("synthetic:8", window=500, sampling_rate=250, classes=("N", "A"))
    again = load_dataset("synthetic:8", window=500, sampling_rate=250, classes=("N", "A"))
    assert np.array_equal(wide.windows, again.windows) and again.notes == wide.notes and again.classes == ("N", "A")
    assert again.left_out == wide.left_out and sum(wide.left_out.values()) + len(wide) == 8
    other = load_dataset("synthetic:8", window=500, sampling_rate=250, classes=("A", "N"))
    assert other.classes == ("A", "N") and not np.array_equal(other.labels, wide.labels)
    assert (load_dataset("synthetic:8", labels=Path("none")).labels == -1).all()
