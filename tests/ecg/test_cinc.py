import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import wfdb

from edgeguard.ecg import cinc
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.record import Record
from edgeguard.ecg.sources import iter_records, load_dataset, read_record
from edgeguard.ecg.tree import open_tree
from edgeguard.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning")

Pack = Callable[[dict[str, bytes]], Path]
HEA, MAT = "training2017/A00003.hea", "training2017/A00003.mat"


def test_samples_equal_what_wfdb_and_scipy_read(cinc_files: dict[str, bytes], pack_folder: Pack):
    folder = pack_folder(cinc_files) / "training2017"
    records = list(iter_records(str(folder)))
    assert len(records) == 40
    for record in records:
        by_wfdb = wfdb.rdrecord(str(folder / record.name))
        assert np.array_equal(record.ecg, np.rint(by_wfdb.p_signal[:, 0] * 1000))
        assert np.array_equal(record.ecg, scipy.io.loadmat(folder / f"{record.name}.mat")["val"][0])
        assert record.ecg.dtype == np.float32
        assert record.sampling_rate == by_wfdb.fs == 300


def test_a_zip_is_the_same_data_set_as_its_folder(cinc_files: dict[str, bytes], cinc_zip: Path, pack_folder: Pack):
    zipped, unpacked = load_dataset(str(cinc_zip)), load_dataset(str(pack_folder(cinc_files)))
    assert zipped.fingerprint == unpacked.fingerprint
    assert zipped.names == unpacked.names == tuple(f"A{i:05d}" for i in range(1, 41))
    assert np.array_equal(zipped.windows, unpacked.windows)
    assert [zipped.classes[label] for label in zipped.labels[:4]] == ["A", "O", "~", "N"]


def test_nothing_is_written_beside_a_zip(cinc_zip: Path):
    load_dataset(str(cinc_zip))
    assert list(cinc_zip.parent.iterdir()) == [cinc_zip]


def test_one_record_by_name_and_by_file(cinc_files: dict[str, bytes], cinc_zip: Path, pack_folder: Pack):
    folder = pack_folder(cinc_files)
    whole = read_record(str(cinc_zip), "A00003")
    assert (whole.name, whole.label, len(whole.ecg)) == ("A00003", "~", 9300)
    for file in (folder / HEA, folder / MAT):
        (single,) = iter_records(str(file))
        assert single.name == "A00003" and np.array_equal(single.ecg, whole.ecg)
    with pytest.raises(InputError, match="holds no record A00099"):
        read_record(str(cinc_zip), "A00099")


def test_leftovers_of_operating_systems_are_no_records(cinc_files: dict[str, bytes], pack_zip: Pack):
    extra = {"__MACOSX/training2017/._A00001.hea": b"x", "training2017/._A00001.mat": b"x"}
    assert len(load_dataset(str(pack_zip({**cinc_files, **extra})))) == 40


def edited_header(old: bytes, new: bytes) -> Callable[[dict[str, bytes]], None]:
    def edit(files: dict[str, bytes]) -> None:
        assert old in files[HEA]
        files[HEA] = files[HEA].replace(old, new)

    return edit


def edited_mat(edit: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({MAT: edit(files[MAT])})


BAD = {
    "missing .mat": (lambda f: f.pop(MAT), r"A00003\.mat is missing"),
    "missing .hea": (lambda f: f.pop(HEA), r"A00003\.hea is missing"),
    "both missing": (lambda f: (f.pop(HEA), f.pop(MAT)), r"A00003\.hea is missing"),
    "length in header": (edited_header(b"9300", b"9000"), r"A00003\.mat: length disagrees: 9000 .* 9300"),
    "cut .mat": (edited_mat(lambda b: b[:-10]), r"A00003\.mat: length disagrees: 9300 .* 9295 stored"),
    "odd byte": (edited_mat(lambda b: b[:-1]), r"A00003\.mat: length disagrees: .* 9299\.5 stored"),
    "no header in .mat": (edited_mat(lambda b: b[:10]), r"A00003\.mat: 10 bytes, cut off"),
    "doubles": (
        edited_mat(lambda b: struct.pack("<i", 0) + b[4:]),
        r"A00003\.mat: not a MATLAB level 4 file",
    ),
    "gain": (edited_header(b"1000/mV", b"much/mV"), r"A00003\.hea: gain much/mV"),
    "unit": (edited_header(b"1000/mV", b"1000/bar"), r"A00003\.hea: unit bar"),
    "two rates": (edited_header(b" 300 ", b" 250 "), r"A00003: sampling rate 250 Hz, others have 300 Hz"),
    "no rate": (edited_header(b" 300 ", b" fast "), r"A00003\.hea: sampling rate fast"),
    "two signals": (edited_header(b"A00003 1 ", b"A00003 2 "), r"A00003\.hea: 1 signal lines, 2 announced"),
    "storage": (edited_header(b"16+24", b"212"), r"A00003\.hea: storage format 212"),
    "no WFDB header": (lambda f: f.update({HEA: b"hello"}), r"A00003\.hea: not the header of a WFDB record"),
    "label missing": (
        lambda f: f.update({"training2017/REFERENCE-v3.csv": b"A00001,N\nA00002,N\n"}),
        "record A00003: has no label; .*--labels",
    ),
    "no labels at all": (
        lambda f: f.pop("training2017/REFERENCE-v3.csv"),
        "record A00001: has no label; .*--labels",
    ),
    "twice": (lambda f: f.update({"copy/A00003.mat": f[MAT]}), "two records A00003"),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("kind", ["pack_zip", "pack_folder"])
def test_bad_files_are_refused_in_one_line_that_names_them(
    case: str, kind: str, cinc_files: dict[str, bytes], edgeguard_cache: Path, request: pytest.FixtureRequest
):
    spoil, message = BAD[case]
    spoil(cinc_files)
    path = request.getfixturevalue(kind)(cinc_files)
    before = sorted(edgeguard_cache.rglob("*"))
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(str(path))
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert sorted(edgeguard_cache.rglob("*")) == before


def test_header_comments_and_frequencies_of_header_5_are_understood(cinc_files: dict[str, bytes], pack_zip: Pack):
    cinc_files[HEA] = b"# a comment\n" + cinc_files[HEA].replace(b" 300 ", b" 300.0/300(0) ")
    with open_tree(pack_zip(cinc_files)) as tree:
        assert len(cinc.read_signal(tree, "training2017/A00003")[0]) == 9300


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:0], lambda b: b"plain text\n" * 50])
def test_what_is_no_whole_zip_is_refused(cinc_zip: Path, damage: Callable[[bytes], bytes]):
    cinc_zip.write_bytes(damage(cinc_zip.read_bytes()))
    with pytest.raises(InputError, match="not a whole zip archive"):
        load_dataset(str(cinc_zip))


def test_a_flipped_bit_in_a_zip_is_found(cinc_zip: Path):
    content = bytearray(cinc_zip.read_bytes())
    content[5000] ^= 1
    cinc_zip.write_bytes(content)
    with pytest.raises(InputError, match=r"A00001\.mat cannot be unpacked"):
        load_dataset(str(cinc_zip))


def test_written_records_are_read_back_by_wfdb_and_by_the_reader(tmp_path: Path):
    rng = np.random.default_rng(1)
    records = [
        Record(f"S{i}", rng.integers(-32768, 32767, 2700 + i).astype(np.float32), label=label)
        for i, label in enumerate("NAO~")
    ]
    assert write_cinc(tmp_path / "out", records) == ["S0", "S1", "S2", "S3"]
    for written, read in zip(records, iter_records(str(tmp_path / "out")), strict=True):
        assert (written.name, written.label) == (read.name, read.label)
        assert np.array_equal(written.ecg, read.ecg)
        by_wfdb = wfdb.rdrecord(str(tmp_path / "out" / written.name), physical=False)
        assert np.array_equal(by_wfdb.d_signal[:, 0], written.ecg)
        assert [by_wfdb.checksum[0] % 65536] == by_wfdb.calc_checksum()
        assert by_wfdb.init_value == [written.ecg[0]]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record("S1", np.array([0.5], np.float32), label="N"), "not whole microvolts"),
        (Record("S1", np.array([40000.0], np.float32), label="N"), "not whole microvolts"),
        (Record("S1", np.zeros(5, np.float32)), "needs samples, a label and 300 Hz"),
        (Record("S1", np.zeros(5, np.float32), 250.0, "N"), "needs samples, a label and 300 Hz"),
        (Record("../S1", np.zeros(5, np.float32), label="N"), "not a WFDB name"),
    ],
)
def test_what_cannot_be_written_leaves_no_folder(record: Record, message: str, tmp_path: Path):
    good = Record("S0", np.zeros(5, np.float32), label="N")
    with pytest.raises(InputError, match=message):
        write_cinc(tmp_path / "out", [good, record])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_files_is_not_written_to(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty folder"):
        write_cinc(tmp_path, [Record("S0", np.zeros(5, np.float32), label="N")])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
