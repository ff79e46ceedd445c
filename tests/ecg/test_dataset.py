import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeguard.ecg.dataset import Dataset, build, cache_root, cached
from edgeguard.ecg.record import Record
from edgeguard.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEGUARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def records(*, offset: float = 0.0) -> Iterator[Record]:
    for i, label in enumerate("N~OA"):
        yield Record(f"r{i}", np.arange(10.0 + i, dtype=np.float32) + offset, label=label)


def must_not_be_read() -> Iterator[Record]:
    pytest.fail("the cache was there")
    yield


def test_batches_are_microvolts_masks_and_labels():
    dataset = build("here", records(), window=11)
    ecg, mask, labels = dataset.batch(np.array([0, 3]))
    assert ecg.shape == mask.shape == (2, 1, 11)
    assert (ecg.dtype, mask.dtype, labels.dtype) == (np.float32, np.bool_, np.int64)
    assert ecg[0, 0].tolist() == [*range(10), 0] and ecg[1, 0].tolist() == list(range(11))
    assert mask[0, 0].tolist() == [True] * 10 + [False] and mask[1].all()
    assert labels.tolist() == [0, 1]
    assert dataset.record_length.tolist() == [10, 11, 12, 13]


@pytest.mark.parametrize(("offset", "kind"), [(0.0, np.int16), (0.5, np.float32), (32760.0, np.float32)])
def test_samples_are_kept_small_only_where_nothing_is_lost(offset: float, kind: type):
    dataset = build("here", records(offset=offset), window=13)
    assert dataset.windows.dtype == kind
    assert dataset.batch(np.array([3]))[0][0, 0].tolist() == [offset + i for i in range(13)]


def test_equal_windows_have_equal_content_whatever_their_dtype():
    whole = build("a", [Record("x", np.arange(5.0), label="N")], window=5)
    mixed = build("b", [Record("x", np.arange(5.0), label="N"), Record("y", np.array([0.5]), label="N")], window=5)
    assert whole.content[0] == mixed.content[0] != mixed.content[1]


def test_fingerprint_depends_on_names_labels_and_samples_but_not_on_order():
    def of(*changed: Record) -> str:
        named = {r.name: r for r in [*records(), *changed]}
        return build("x", named.values(), window=13).fingerprint

    assert of() == build("y", list(records())[::-1], window=13).fingerprint
    others = {
        of(Record("r0", np.arange(10.0), label="A")),
        of(Record("r0", np.arange(10.0) + 1, label="N")),
        of(Record("r9", np.arange(10.0), label="N")),
    }
    assert len(others) == 3 and of() not in others


def test_the_second_start_reads_the_cache_only():
    first = cached("a", "key", records(), window=12)
    second = cached("b", "key", must_not_be_read(), window=12)
    assert isinstance(second.windows, np.memmap)
    assert np.array_equal(first.windows, second.windows) and second.source == "b"
    built = build("a", records(), window=12)
    for field in ("names", "content", "fingerprint"):
        assert getattr(built, field) == getattr(second, field)
    for field in ("windows", "labels", "left", "length", "record_length"):
        assert np.array_equal(getattr(built, field), getattr(second, field))


@pytest.mark.parametrize("change", [{"key": "other"}, {"window": 11}])
def test_another_content_or_window_is_another_entry(change: dict[str, object]):
    settings = {"key": "key", "window": 12}
    cached("a", records=records(), **settings)
    fresh = cached("a", records=records(offset=1), **{**settings, **change})
    assert fresh.windows[3, 0] == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Record("r", np.array([]), label="N"), "here: record r: has no samples"),
        (Record("r", np.array([1.0]), 250.0, "N"), "here: record r: sampling rate 250 Hz, others have 300 Hz"),
        (Record("r", np.array([1.0])), "here: record r: has no label"),
    ],
)
def test_bad_records_are_refused_and_nothing_is_stored(record: Record, message: str, own_cache: Path):
    with pytest.raises(InputError, match=message):
        cached("here", "key", [*records(), record])
    assert not own_cache.exists()


def test_no_records_are_refused():
    with pytest.raises(InputError, match="here: holds no records"):
        build("here", [])


def test_a_full_disk_leaves_nothing_behind(own_cache: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(InputError, match=r"No space left on device.*EDGEGUARD_CACHE"):
        cached("here", "key", records())
    assert list((own_cache / "windows").iterdir()) == []
    monkeypatch.undo()


def stored(own_cache: Path) -> Path:
    cached("here", "key", records(), window=12)
    (folder,) = (own_cache / "windows").iterdir()
    return folder


@pytest.mark.parametrize("name", ["windows.npy", "index.npz"])
@pytest.mark.parametrize("damage", ["delete", "empty", "cut", "text", "other"])
def test_a_damaged_cache_names_the_folder_to_delete(name: str, damage: str, own_cache: Path):
    folder = stored(own_cache)
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "other":
        cached("here", "more", [*records(), Record("r9", np.ones(3), label="N")], window=12)
        (more,) = (f for f in (own_cache / "windows").iterdir() if f != folder)
        content = (more / name).read_bytes()
    if damage != "delete":
        path.write_bytes({"empty": b"", "cut": content[:-30], "text": b"not numpy", "other": content}[damage])
    with pytest.raises(InputError, match=r"damaged window cache .*delete that folder") as caught:
        cached("here", "key", must_not_be_read(), window=12)
    assert str(folder) in str(caught.value)


def test_the_cache_lies_where_the_environment_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert cache_root() == tmp_path / "cache"
    monkeypatch.delenv("EDGEGUARD_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "edgeguard"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_root() == tmp_path / "home" / ".cache" / "edgeguard"


def test_a_data_set_knows_its_size():
    dataset: Dataset = build("here", records(), window=7)
    assert (len(dataset), dataset.window) == (4, 7)
