"""An .npz takes no more memory than its arrays, and these are what their headers say."""

import io
import itertools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeguard.attacks.journal import Journal, load_journal, save_journal
from edgeguard.errors import InputError
from edgeguard.runtime import npz
from edgeguard.runtime.npz import read_npz, reading, write_npz

SCHEMA = "edgeguard.test/1"


def read(path: Path) -> dict[str, np.ndarray]:
    with reading(path, "arrays of a test"):
        return read_npz(path, SCHEMA)


def npy(array: Any) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.asarray(array))
    return content.getvalue()


def header(shape: tuple[int, ...], dtype: str = "<f8", *, version: bytes = b"\1\0") -> bytes:
    """The beginning of an .npy file that promises a shape."""
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text


def write_entries(path: Path, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"schema": npy(SCHEMA), **entries}.items():
            archive.writestr(f"{name}.npy", content)
    return path


@given(
    st.sampled_from([np.int8, np.int16, np.int64, np.float32, np.float64, np.bool_, "U3"]).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
    )
)
def test_arrays_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    write_npz(path, {"schema": SCHEMA, "array": array, "columns": np.array(array, order="F")})
    stored = read(path)
    assert stored.keys() == {"schema", "array", "columns"}
    for name in ("array", "columns"):
        np.testing.assert_array_equal(stored[name], array)
        assert stored[name].dtype == array.dtype and stored[name].shape == array.shape


def test_a_million_zeros_are_no_bomb(tmp_path: Path) -> None:
    """Padded windows pack a thousandfold: what counts is what they take."""
    write_npz(tmp_path / "zeros.npz", {"schema": SCHEMA, "windows": np.zeros((2_000, 9_000), np.int16)})
    assert (tmp_path / "zeros.npz").stat().st_size < 100_000
    assert read(tmp_path / "zeros.npz")["windows"].shape == (2_000, 9_000)


def test_a_bomb_is_refused_by_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 MiB of zeros, of which the header says so, in 4 kB."""
    monkeypatch.setattr(npz, "_FREE", 2**20)
    path = write_entries(tmp_path / "bomb.npz", a=npy(np.zeros(2**22, np.uint8)))
    with pytest.raises(InputError, match=r"bomb\.npz: unpacks to 41\d+ bytes, 1048576 at most .*'a\.npy'"):
        read(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (header((2**40,)), "a.npy of shape"),
        (header((2**62, 2**62)), "a.npy of shape"),
        (header((2**40,), "<U0"), "a.npy of shape"),
        (header((2**40, 0)) + b"1", "a.npy of shape"),
        (header((2,)) + bytes(15), "a.npy of shape"),
        (header((-2, -1)) + bytes(16), ""),
        (npy(np.zeros(2, [("x", "<f4")])), "no numbers or texts"),
        (header((1,), "|O") + b"cos\nsystem\n", "no numbers or texts"),
        (header((1,), version=b"\3\0") + bytes(8), "of version"),
        (b"text", ""),
        (b"\x93NUMPY\2\0\xff\xff\xff\xff{}", ""),
    ],
    ids=itertools.count(),
)
def test_a_header_that_promises_what_is_not_there(tmp_path: Path, content: bytes, reason: str) -> None:
    path = write_entries(tmp_path / "h.npz", a=content)
    with pytest.raises(InputError, match=rf"h\.npz: no arrays of a test \(.*{reason}.*\); write them anew") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_what_is_lacking_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "n.npz", other=1)
    with pytest.raises(InputError, match=r"n\.npz: no arrays of a test \(lacks 'schema'\); write them anew"):
        read(tmp_path / "n.npz")


def test_answers_not_yet_given_are_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An attack's journal begins as zeros of a size that the attack itself knows."""
    monkeypatch.setattr(npz, "_FREE", 2**20)
    empty: Callable[[], Journal] = lambda: Journal.empty(1_000, 10_000)  # noqa: E731
    save_journal(tmp_path / "j.npz", "me", empty())
    assert not load_journal(tmp_path / "j.npz", "me", like=empty()).labels.any()
    with pytest.raises(InputError, match=r"j\.npz: unpacks to 20\d+ bytes"):
        load_journal(tmp_path / "j.npz", "me", like=Journal.empty(1, 10))
