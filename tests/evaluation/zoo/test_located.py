"""A model by its name: where it lies once its hashes are checked, and the float file that is made of its run."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_zoo import ABOUT, write_index

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.unseen import unseen_records
from edgeguard.errors import InputError
from edgeguard.evaluation.subject import open_subject, training_of
from edgeguard.evaluation.zoo.located import located, named
from edgeguard.evaluation.zoo.scores import Forms
from edgeguard.models.run import load_run
from edgeguard.runtime.files import sha256_file
from edgeguard.runtime.session import open_model
from edgeguard.runtime.zoo import zoo_models

RUN = ("config.json", "split.json", "metrics.json", "weights.safetensors")


@pytest.fixture
def zoo(forms: Forms, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one network, `tiny`, that is the package's for a while; float files go to a cache of its own."""
    root = tmp_path / "zoo"
    shutil.copytree(forms.torch, root / "tiny")
    write_index(root, {"tiny": ABOUT})
    monkeypatch.setattr("edgeguard.evaluation.zoo.located.zoo_models", lambda: zoo_models(root))
    monkeypatch.setenv("EDGEGUARD_CACHE", str(tmp_path / "cache"))
    return root


def change(path: Path) -> None:
    """The last byte."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("path", ["runs/adt-edge-m-fast-s0", "model.onnx", "/nowhere", "zoo/tiny", "tiny-int8"])
def test_a_path_passes_through(zoo: Path, path: str) -> None:
    assert located(path) == located(Path(path)) == Path(path)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("tiny", "tiny"),
        ("tiny-int8", "tiny/tiny-int8.onnx"),
        ("tiny-int8-streaming", "tiny/tiny-int8-streaming.onnx"),
    ],
)
def test_a_name_is_a_place_in_the_package(zoo: Path, name: str, place: str) -> None:
    assert located(f"zoo:{name}") == located(Path(f"zoo:{name}")) == zoo / place
    assert named(name) == named(f"zoo:{name}") == zoo / place


def test_a_shared_split_tells_a_network_its_records(zoo: Path, records: Dataset) -> None:
    """As its own does: what it was trained on, under whatever source, is not judged."""
    other = replace(records, source="elsewhere", fingerprint="0" * 64)
    before = unseen_records(other, training_of(open_subject(located("zoo:tiny"))), part="test")
    (zoo / "tiny" / "split.json").rename(zoo / "split.json")
    after = unseen_records(other, training_of(open_subject(located("zoo:tiny"))), part="test")
    assert after.line == before.line and np.array_equal(after.index, before.index) and len(after.index) < len(records)
    assert (located("zoo:tiny-fp32").parent / "split.json").read_bytes() == (zoo / "split.json").read_bytes()


def test_an_unknown_name_is_refused(zoo: Path) -> None:
    with pytest.raises(InputError, match=r"^zoo:small: no such network; choose tiny \(edgeguard zoo list\)$"):
        located("zoo:small")
    with pytest.raises(
        InputError,
        match=r"^zoo:tiny-int4: tiny has no such form; did you mean int8\? choose fp32, int8",
    ):
        located("zoo:tiny-int4")


def test_the_float_file_is_written_once_with_its_run_beside_it(zoo: Path, tmp_path: Path, records: Dataset) -> None:
    path = located("zoo:tiny-fp32")
    weights = sha256_file(zoo / "tiny" / "weights.safetensors")
    assert path == tmp_path / "cache" / "zoo" / f"tiny-{weights[:16]}" / "tiny-fp32.onnx"
    assert {file.name for file in path.parent.iterdir()} == {*RUN, path.name}
    for name in RUN:
        assert (path.parent / name).read_bytes() == (zoo / "tiny" / name).read_bytes()
    before = path.stat()
    assert located("zoo:tiny-fp32") == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    subject = open_subject(path)
    assert subject.run is not None and subject.run.path == path.parent
    assert open_model(path).metadata.parent_sha256 == weights
    ecg = records.batch(np.arange(len(records)))[0]
    with torch.no_grad():
        expected = load_run(zoo / "tiny").model(torch.from_numpy(ecg)).numpy()
    found = open_model(path).logits(ecg)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("form", ["", "-fp32", "-int8", "-int8-streaming"])
@pytest.mark.parametrize("file", ["weights.safetensors", "config.json"])
def test_a_changed_run_is_refused_in_every_form(zoo: Path, tmp_path: Path, form: str, file: str) -> None:
    change(zoo / "tiny" / file)
    with pytest.raises(InputError, match=f"{file}: was changed since it was published; install EdgeGuard anew"):
        located(f"zoo:tiny{form}")
    assert not (tmp_path / "cache").exists()


def test_a_changed_file_is_refused_where_it_is_asked_for(zoo: Path) -> None:
    change(zoo / "tiny" / "tiny-int8.onnx")
    for name in ("tiny", "tiny-int8"):
        with pytest.raises(InputError, match=r"tiny-int8\.onnx: was changed since it was published"):
            named(name)
    assert named("tiny-int8-streaming").is_file()
