"""Networks by name: every form found, anything else refused in one line, and no file taken that was changed."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from small_zoo import ABOUT, RUN, write_small_zoo

from edgeguard.errors import InputError
from edgeguard.runtime.zoo import ZooModel, parse, zoo_folder, zoo_models


@pytest.fixture
def zoo(tmp_path: Path) -> dict[str, ZooModel]:
    return zoo_models(write_small_zoo(tmp_path / "zoo"))


def test_the_index_is_read(zoo: dict[str, ZooModel], tmp_path: Path) -> None:
    assert list(zoo) == ["some", "some-fast"]
    model = zoo["some"]
    assert (model.name, model.folder, model.about) == ("some", tmp_path / "zoo" / "some", ABOUT)
    assert model.files["card.md"] == hashlib.sha256(b"card.md").hexdigest()
    assert set(model.files) == {*RUN, "card.md", "some-int8.onnx", "some-int8-streaming.onnx"}


def test_a_folder_is_read_once(zoo: dict[str, ZooModel], tmp_path: Path) -> None:
    (tmp_path / "zoo" / "index.json").unlink()
    assert zoo_models(tmp_path / "zoo") is zoo
    with pytest.raises(InputError, match=r"index\.json: not found"):
        zoo_models(tmp_path)


@pytest.mark.parametrize("prefix", ["", "zoo:"])
@pytest.mark.parametrize(
    ("name", "network", "form"),
    [
        ("some", "some", None),
        ("some-fp32", "some", "fp32"),
        ("some-int8", "some", "int8"),
        ("some-int8-streaming", "some", "int8-streaming"),
        ("some-fast", "some-fast", None),
        ("some-fast-fp32", "some-fast", "fp32"),
        ("some-fast-int8", "some-fast", "int8"),
    ],
)
def test_every_form_is_found(zoo: dict[str, ZooModel], prefix: str, name: str, network: str, form: str | None) -> None:
    model, found = parse(prefix + name, zoo)
    assert (model.name, found) == (network, form)


def test_forms_and_sizes_are_those_of_the_files(zoo: dict[str, ZooModel]) -> None:
    assert zoo["some"].forms == ("fp32", "int8", "int8-streaming")
    assert zoo["some"].sizes() == {"int8": len("some-int8.onnx"), "int8-streaming": len("some-int8-streaming.onnx")}
    assert zoo["some-fast"].forms == ("fp32", "int8")
    assert zoo["some-fast"].sizes() == {"int8": len("some-fast-int8.onnx")}


@pytest.mark.parametrize("prefix", ["", "zoo:"])
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("other", "zoo:other: no such network; choose some or some-fast (edgeguard zoo list)"),
        ("som", "zoo:som: no such network; did you mean some? choose some or some-fast (edgeguard zoo list)"),
        ("", "zoo:: no such network; choose some or some-fast (edgeguard zoo list)"),
        ("some-dry", "zoo:some-dry: some has no such form; choose fp32, int8 or int8-streaming, or leave it out"),
        (
            "some-int8.onnx",
            "zoo:some-int8.onnx: some has no such form; did you mean int8? "
            "choose fp32, int8 or int8-streaming, or leave it out",
        ),
        (
            "some-fast-int8-streaming",
            "zoo:some-fast-int8-streaming: some-fast has no such form; choose fp32 or int8, or leave it out",
        ),
    ],
)
def test_what_the_zoo_does_not_have_is_refused(zoo: dict[str, ZooModel], prefix: str, name: str, line: str) -> None:
    with pytest.raises(InputError) as refusal:
        parse(prefix + name, zoo)
    assert str(refusal.value) == line


def test_a_whole_network_is_its_folder(zoo: dict[str, ZooModel], tmp_path: Path) -> None:
    assert zoo["some"].checked() == zoo["some"].checked("card.md") == tmp_path / "zoo" / "some"


@pytest.mark.parametrize("name", ["weights.safetensors", "some-int8.onnx", "card.md"])
def test_one_changed_byte_is_refused(zoo: dict[str, ZooModel], name: str) -> None:
    path = zoo["some"].folder / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    line = f"{path}: was changed since it was published; install EdgeGuard anew"
    for names in ((), (name,), ("split.json", name)):
        with pytest.raises(InputError) as refusal:
            zoo["some"].checked(*names)
        assert str(refusal.value) == line
    assert zoo["some"].checked("split.json") and zoo["some-fast"].checked()


@pytest.mark.parametrize("name", RUN)
def test_a_missing_file_is_refused(zoo: dict[str, ZooModel], name: str) -> None:
    path = zoo["some"].folder / name
    path.unlink()
    for names in ((), (name,)):
        with pytest.raises(InputError) as refusal:
            zoo["some"].checked(*names)
        assert str(refusal.value) == f"{path}: is missing since it was published; install EdgeGuard anew"


def test_what_networks_share_lies_once_and_is_checked_for_each(zoo: dict[str, ZooModel], tmp_path: Path) -> None:
    root = tmp_path / "zoo"
    for name in zoo:
        (root / name / "split.json").rename(root / "split.json")
    assert zoo["some"].path("split.json") == zoo["some-fast"].path("split.json") == root / "split.json"
    assert zoo["some"].path("card.md") == root / "some" / "card.md"
    assert zoo["some"].checked() and zoo["some-fast"].checked("split.json")
    (root / "split.json").write_text("other")
    for model in zoo.values():
        with pytest.raises(InputError, match=r"zoo/split\.json: was changed since it was published"):
            model.checked()


def test_the_package_has_its_own_zoo() -> None:
    import edgeguard.models

    assert zoo_folder() == Path(edgeguard.models.__file__).parent / "zoo"
    assert (zoo_folder() / "recipes.toml").is_file()


def test_torch_is_not_needed(tmp_path: Path) -> None:
    """By the functions, and by the commands that only look up, which take the same folder."""
    program = """
import sys
from pathlib import Path
import edgeguard.runtime.zoo as zoo
folder = Path(sys.argv[1])
model, form = zoo.parse("zoo:some-int8", zoo.zoo_models(folder))
print(form, model.checked().name)
zoo.zoo_folder = lambda: folder
from edgeguard.cli import main
for words in (["list"], ["path", "some-int8"], ["card", "some"]):
    main(["zoo", *words], standalone_mode=False)
print([name for name in ("torch", "onnx", "onnxruntime") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(write_small_zoo(tmp_path / "zoo"))],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0] == "int8 some" and str(tmp_path / "zoo" / "some" / "some-int8.onnx") in lines
    assert lines[-2:] == ["card.md", "[]"]
