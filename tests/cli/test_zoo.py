"""`edgeguard zoo`: on a small zoo of the tests' own, and on the one that comes with the package."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from small_zoo import ABOUT, write_small_zoo

from edgeguard.runtime.files import read_json, sha256_file
from edgeguard.runtime.zoo import zoo_folder, zoo_models

Call = Callable[..., Result]
Refused = Callable[[Result], str]
OnlyJson = Callable[[Result], dict[str, Any]]

HAS_ZOO = (zoo_folder() / "index.json").is_file()
PUBLISHED = list(zoo_models()) if HAS_ZOO else []


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Its folder; for a while it is the package's."""
    folder = write_small_zoo(tmp_path / "zoo")
    monkeypatch.setattr("edgeguard.runtime.zoo.zoo_folder", lambda: folder)
    zoo_models.cache_clear()
    yield folder
    zoo_models.cache_clear()


def test_the_list_has_every_network(edgeguard: Call, only_json: OnlyJson, small: Path) -> None:
    found = only_json(edgeguard("zoo", "list", "--json"))
    assert found["models"] == [
        {
            "name": "some",
            "forms": ["fp32", "int8", "int8-streaming"],
            "bytes": {"int8": len("some-int8.onnx"), "int8-streaming": len("some-int8-streaming.onnx")},
            **ABOUT,
        },
        {"name": "some-fast", "forms": ["fp32", "int8"], "bytes": {"int8": len("some-fast-int8.onnx")}, **ABOUT},
    ]
    lines = edgeguard("zoo", "list").stdout.splitlines()
    assert lines[0].split()[:4] == ["network", "preset", "int8", "clean"] and lines[0].endswith("worst case, strict")
    assert lines[1].split("  ")[0] == "some" and lines[2].split("  ")[0] == "some-fast"
    for line in lines[1:3]:
        rates = "0.500 [0.250, 0.750]  0.438 [0.250, 0.750]  10 uV 0.375 [0.250, 0.750]"
        assert line.endswith(rates) and " fast " in line
    assert lines[-1].startswith("zoo:NAME is the run")


@pytest.mark.parametrize("prefix", ["", "zoo:"])
@pytest.mark.parametrize(
    ("name", "place"),
    [("some", "some"), ("some-int8", "some/some-int8.onnx"), ("some-fast-int8", "some-fast/some-fast-int8.onnx")],
)
def test_the_path_is_where_it_lies(
    edgeguard: Call, only_json: OnlyJson, small: Path, prefix: str, name: str, place: str
) -> None:
    assert edgeguard("zoo", "path", prefix + name).stdout == f"{small / place}\n"
    found = only_json(edgeguard("zoo", "path", prefix + name, "--json"))
    assert (found["name"], found["path"]) == (prefix + name, str(small / place))


@pytest.mark.parametrize("name", ["some", "zoo:some", "some-int8", "some-fp32"])
def test_the_card_is_the_networks_whatever_the_form(
    edgeguard: Call, only_json: OnlyJson, small: Path, name: str
) -> None:
    card = "# some\n\nWhat it is.\n"
    (small / "some" / "card.md").write_text(card)
    assert "was changed" in edgeguard("zoo", "card", name).output
    rewrite_hash(small, "some", "card.md")
    assert edgeguard("zoo", "card", name).stdout == card
    found = only_json(edgeguard("zoo", "card", name, "--json"))
    assert (found["name"], found["card"]) == ("some", card)


def rewrite_hash(root: Path, network: str, file: str) -> None:
    """Publish a file as it is now."""
    index = read_json(root / "index.json")
    index["models"][network]["files"][file] = sha256_file(root / network / file)
    (root / "index.json").write_text(json.dumps(index))
    zoo_models.cache_clear()


@pytest.mark.parametrize("command", ["path", "card"])
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("other", "zoo:other: no such network; choose some or some-fast (edgeguard zoo list)"),
        (
            "some-int4",
            "zoo:some-int4: some has no such form; did you mean int8? "
            "choose fp32, int8 or int8-streaming, or leave it out",
        ),
    ],
)
def test_an_unknown_name_is_refused(
    edgeguard: Call, refused: Refused, small: Path, command: str, name: str, line: str
) -> None:
    assert refused(edgeguard("zoo", command, name)) == f"edgeguard: {line}"
    assert refused(edgeguard("zoo", command, name, "--json")) == f"edgeguard: {line}"


def test_a_changed_file_is_refused(edgeguard: Call, refused: Refused, small: Path) -> None:
    (small / "some" / "some-int8.onnx").write_text("another")
    line = refused(edgeguard("zoo", "path", "some-int8"))
    assert line == (
        f"edgeguard: {small / 'some' / 'some-int8.onnx'}: was changed since it was published; install EdgeGuard anew"
    )
    assert edgeguard("zoo", "path", "some-int8-streaming").exit_code == 0


@pytest.mark.parametrize("words", [("path", "some"), ("list",), ("card", "some")])
def test_a_package_without_an_index_is_refused(
    edgeguard: Call, refused: Refused, small: Path, words: tuple[str, ...]
) -> None:
    (small / "index.json").unlink()
    zoo_models.cache_clear()
    assert (
        refused(edgeguard("zoo", *words))
        == f"edgeguard: {small / 'index.json'}: not found; install EdgeGuard anew, or make it with edgeguard zoo build"
    )


def test_a_name_stands_for_a_model_in_other_commands(
    edgeguard: Call, refused: Refused, small: Path, waves: Path, tmp_path: Path
) -> None:
    """What is refused is the file behind the name, which is none that could be opened."""
    assert "some-int8.onnx" in refused(edgeguard("evaluate", "zoo:some-int8", "--data", waves))
    assert "zoo:nobody: no such network" in refused(edgeguard("evaluate", "zoo:nobody", "--data", waves))
    student = ("train", "--defense", "adt", "--arch", "edge-s", "--data", waves, "--out", tmp_path / "student")
    assert "zoo:nobody: no such network" in refused(edgeguard(*student, "--teacher", "zoo:nobody"))
    assert not (tmp_path / "student").exists()


def test_a_build_that_cannot_be_is_refused(edgeguard: Call, refused: Refused, waves: Path, tmp_path: Path) -> None:
    words = ("zoo", "build", "--data", waves, "--out", tmp_path)
    assert refused(edgeguard(*words)) == (
        f"edgeguard: {tmp_path / 'recipes.toml'}: not found; name the folder that holds the recipes"
    )
    (tmp_path / "recipes.toml").write_text('[one]\ndefense = "none"\n\n[two]\ndefense = "none"\nlayers = 3\n')
    assert refused(edgeguard(*words, "three")) == "edgeguard: recipe three: unknown; choose one or two"
    assert "training option layers: unknown" in refused(edgeguard(*words, "two", "--json"))
    assert [path.name for path in tmp_path.iterdir()] == ["recipes.toml"]
    result = edgeguard("zoo", "build", "--out", tmp_path)
    assert result.exit_code == 2 and "--data" in result.output


@pytest.mark.skipif(not HAS_ZOO, reason="no network is published yet")
def test_the_packages_own_networks_are_listed(edgeguard: Call, only_json: OnlyJson) -> None:
    found = only_json(edgeguard("zoo", "list", "--json"))
    index = read_json(zoo_folder() / "index.json")["models"]
    assert [model["name"] for model in found["models"]] == PUBLISHED == list(index) != []
    for model in found["models"]:
        files = index[model["name"]]["files"]
        assert list(model["bytes"]) == [form for form in model["forms"] if form != "fp32"]
        assert {f"{model['name']}-{form}.onnx" for form in model["bytes"]} == {
            name for name in files if name.endswith(".onnx")
        }
        assert model["worst_case"] == index[model["name"]]["worst_case"]
    text = edgeguard("zoo", "list").stdout
    assert all(f"{name} " in text for name in PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_packages_own_networks_have_a_path_and_a_card(edgeguard: Call, only_json: OnlyJson, name: str) -> None:
    for form in ("", *(f"-{form}" for form in zoo_models()[name].forms if form != "fp32")):
        path = Path(only_json(edgeguard("zoo", "path", f"zoo:{name}{form}", "--json"))["path"])
        assert path == zoo_folder() / name / (f"{name}{form}.onnx" if form else "") and path.exists()
    card = only_json(edgeguard("zoo", "card", name, "--json"))["card"]
    assert card == (zoo_folder() / name / "card.md").read_text(encoding="utf-8")
    assert edgeguard("zoo", "card", name).stdout == card and card.startswith(f"# {name}\n")
