import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from edgeguard.ecg.sources import fetched_zip, iter_records, load_dataset, read_record
from edgeguard.ecg.split import split
from edgeguard.errors import InputError


@pytest.mark.parametrize("content", [b"some text\n" * 100, b""])
def test_a_text_file_is_no_zip(content: bytes, tmp_path: Path):
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"set\.zip: not a whole zip archive"):
        load_dataset(str(tmp_path / "set.zip"))


@pytest.mark.parametrize("files", [{}, {"REFERENCE-v3.csv": b"A1,N\n"}, {"notes.txt": b"", ".hidden.mat": b""}])
def test_an_empty_folder_holds_no_records(files: dict[str, bytes], pack_folder: Callable, tmp_path: Path):
    (tmp_path / "set").mkdir()
    pack_folder(files)
    with pytest.raises(InputError, match="set: holds no records; name a CinC-2017 zip or folder"):
        load_dataset(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nowhere/set.zip", "nowhere/set.zip: no such file or folder; name a zip"),
        ("nowhere", "nowhere: no such file or folder"),
        ("synthetic:", "synthetic:: the number of records must be a whole number above 0"),
        ("synthetic:0", "synthetic:0: the number of records"),
        ("synthetic:-4", "synthetic:-4: the number of records"),
        ("synthetic:many", "synthetic:many: the number of records"),
        ("cinc2017", "cinc2017: not fetched yet; run `edgeguard data fetch`"),
    ],
)
def test_what_is_no_source_is_refused(spec: str, message: str):
    with pytest.raises(InputError, match=message):
        load_dataset(spec)


def test_a_missing_label_file_is_named(cinc_zip: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"own\.csv: no such file; pass --labels"):
        load_dataset(str(cinc_zip), labels=tmp_path / "own.csv")


def test_other_labels_make_another_data_set(cinc_zip: Path, tmp_path: Path):
    own = tmp_path / "own.csv"
    own.write_text("".join(f"A{i:05d},N\n" for i in range(1, 41)))
    assert not load_dataset(str(cinc_zip), labels=own).labels.any()
    assert load_dataset(str(cinc_zip)).labels.any()
    own.write_text("".join(f"A{i:05d},A\n" for i in range(1, 41)))
    only = load_dataset(str(cinc_zip), labels=own)
    assert only.classes == ("A",) and not only.labels.any()
    assert (load_dataset(str(cinc_zip), labels=own, classes="NAO~").labels == 1).all()


def test_labels_beside_count_too(cinc_files: dict[str, bytes], pack_zip: Callable, tmp_path: Path):
    reference = cinc_files.pop("training2017/REFERENCE-v3.csv")
    path = pack_zip(cinc_files)
    (tmp_path / "REFERENCE-v3.csv").write_bytes(reference)
    first = load_dataset(str(path))
    assert np.bincount(first.labels).tolist() == [10, 10, 10, 10]
    (tmp_path / "REFERENCE-v3.csv").write_bytes(reference.replace(b",A", b",O"))
    after = load_dataset(str(path))
    assert after.classes == ("N", "O", "~") and np.bincount(after.labels).tolist() == [10, 20, 10]


def test_a_changed_file_in_a_folder_is_read_again(cinc_files: dict[str, bytes], pack_folder: Callable):
    folder = pack_folder(cinc_files)
    before = load_dataset(str(folder))
    mat = folder / "training2017" / "A00002.mat"
    mat.write_bytes(mat.read_bytes()[:-2] + b"\x05\x00")
    after = load_dataset(str(folder))
    assert (before.windows != after.windows).sum() <= 1
    assert after.windows[1, -1] == 5


def test_synthetic_records_follow_count_and_seed():
    dataset = load_dataset("synthetic:8")
    assert (dataset.source, len(dataset)) == ("synthetic:8", 8)
    assert load_dataset("synthetic:8").fingerprint == dataset.fingerprint
    assert load_dataset("synthetic:8", seed=1).fingerprint != dataset.fingerprint
    first = next(iter(iter_records("synthetic:8")))
    assert np.array_equal(read_record("synthetic:8", first.name).ecg, first.ecg)
    with pytest.raises(InputError, match="synthetic:8: holds no record X1"):
        read_record("synthetic:8", "X1")


def test_the_default_is_synthetic_until_the_set_is_fetched(
    cinc_zip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("EDGEGUARD_CACHE", str(tmp_path / "cache"))
    assert [r.name for r in islice(iter_records(), 2)] == [r.name for r in islice(iter_records("synthetic"), 2)]
    fetched_zip().parent.mkdir(parents=True)
    fetched_zip().write_bytes(cinc_zip.read_bytes())
    assert load_dataset().source == "cinc2017"


def test_records_are_read_without_torch_wfdb_or_matplotlib(cinc_zip: Path):
    code = (
        "import sys; from edgeguard.ecg.sources import load_dataset; load_dataset(sys.argv[1]);"
        "print([m for m in ('torch', 'wfdb', 'pandas', 'matplotlib', 'scipy') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(cinc_zip)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.real
def test_the_real_set_has_the_counts_of_version_3(cinc2017: Path):
    dataset = load_dataset(str(cinc2017))
    counts = np.bincount(dataset.labels, minlength=4)
    whole = np.array([5076, 758, 2415, 279])
    assert (counts <= whole).all() and (len(dataset) < 8528 or (counts == whole).all())
    assert dataset.windows.dtype == np.int16
    assert (dataset.left == (9000 - np.minimum(dataset.record_length, 9000)) // 2).all()
    assert {"A00227", "A01176"} <= set(dataset.names)
    at = dataset.names.index
    assert dataset.content[at("A00227")] == dataset.content[at("A01176")]
    parts = split(dataset)
    held = {dataset.content[i] for i in np.concatenate([parts.validation, parts.test])}
    assert not held & {dataset.content[i] for i in parts.train}
    share = counts / counts.sum()
    np.testing.assert_allclose(np.bincount(dataset.labels[parts.test]) / len(parts.test), share, atol=0.002)


@pytest.mark.real
def test_a_real_record_is_what_its_header_says(cinc2017: Path):
    record = read_record(str(cinc2017), "A00001")
    assert (record.label, len(record.ecg), record.ecg[0]) == ("N", 9000, -127)
