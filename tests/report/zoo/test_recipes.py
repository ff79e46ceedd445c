"""The recipes of the zoo: read in order, refused where they cannot be built, and said as a command that trains them."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from click.core import ParameterSource

from edgeguard.cli.train import command
from edgeguard.defenses.config import make_config
from edgeguard.errors import InputError
from edgeguard.report.zoo.recipes import Recipe, read_recipes, seed_folder, teacher_of
from edgeguard.runtime.zoo import zoo_folder

SMALL = """
[strong]
defense = "at"
seeds = 3

[plain]
defense = "none"
preset = "full"
strict = [10, 25.5]
records = 384

[student]
defense = "adt"
epochs = 7
teachers = ["strong:2", "plain", "strong"]
strict = []
note = "Taught by three."
"""
PUBLISHED = read_recipes(zoo_folder())


def recipes_of(folder: Path, text: str) -> dict[str, Recipe]:
    (folder / "recipes.toml").write_text(text, encoding="utf-8")
    return read_recipes(folder)


def test_the_recipes_are_read_in_their_order(tmp_path: Path) -> None:
    assert list(recipes_of(tmp_path, SMALL).values()) == [
        Recipe("strong", {"defense": "at"}, seeds=3),
        Recipe("plain", {"defense": "none", "preset": "full"}, strict=(10, 25.5), records=384),
        Recipe(
            "student",
            {"defense": "adt", "epochs": 7},
            teachers=("strong:2", "plain", "strong"),
            strict=(),
            note="Taught by three.",
        ),
    ]
    assert recipes_of(tmp_path, SMALL)["strong"].strict == (10.0,)


def test_a_teacher_is_a_network_or_a_further_seed_of_one() -> None:
    assert teacher_of("plain") == ("plain", None) and teacher_of("strong:2") == ("strong", 2)
    assert seed_folder("strong", 2) == "seeds/strong-s2"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[some]\ndefense = none", "not valid TOML"),
        ("[some]\n[some]", "not valid TOML"),
        ('[a]\nteachers = ["b"]\n[b]', "a.teachers names b, which does not stand above it; move it up"),
        ('[a]\n[b]\nteachers = ["a", "c"]', "b.teachers names c, which does not stand above it"),
        ('[a]\nteachers = ["a"]', "a.teachers names a, which does not stand above it"),
        ('[a]\nseeds = 3\nteachers = ["a:1"]', "a.teachers names a:1, which does not stand above it"),
        ('[a]\nseeds = 2\n[b]\nteachers = ["a:2"]', "b.teachers names a:2, which does not stand above it"),
        ('[a]\nseeds = 2\n[b]\nteachers = ["a:0"]', "b.teachers names a:0, which does not stand above it"),
        ('[a]\nseeds = 2\n[b]\nteachers = ["a:x"]', "b.teachers names a:x, which does not stand above it"),
    ],
)
def test_recipes_that_cannot_be_built_are_refused(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(InputError) as refusal:
        recipes_of(tmp_path, text)
    assert line in str(refusal.value) and str(refusal.value).startswith(f"{tmp_path / 'recipes.toml'}: ")
    assert "\n" not in str(refusal.value)


def test_a_folder_without_recipes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"recipes\.toml: not found; name the folder that holds the recipes"):
        read_recipes(tmp_path)
    (tmp_path / "recipes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"recipes\.toml: not valid TOML"):
        read_recipes(tmp_path)


def parsed(line: str) -> dict[str, Any]:
    """What `edgeguard train` is given by a command line."""
    program, name, *words = shlex.split(line)
    assert (program, name) == ("edgeguard", "train")
    context = command.make_context("train", words)
    return {
        key: value
        for key, value in context.params.items()
        if context.get_parameter_source(key) is ParameterSource.COMMANDLINE
    }


EVERY_KIND = Recipe(
    "every",
    {
        "defense": "adt",
        "arch": "edgeguard.models.edge:edge_s",
        "epochs": 7,
        "learning_rate": 0.000123456789,
        "eps": 30.0,
        "weight_decay": 1e-09,
        "augment": True,
        "distort": False,
        "smooth_steps": 2,
        "start_epochs": 0,
        "seed": 5,
    },
    teachers=("plain", "strong:2"),
)


@pytest.mark.parametrize("recipe", [EVERY_KIND, *PUBLISHED.values()], ids=lambda recipe: recipe.name)
def test_the_command_trains_the_recipe(recipe: Recipe) -> None:
    found = parsed(recipe.command())
    assert found.pop("data") == "training2017.zip"
    teachers = {
        token: f"seeds/{token.replace(':', '-s')}" if ":" in token else f"zoo:{token}" for token in recipe.teachers
    }
    assert [str(path) for path in found.pop("teacher", ())] == list(teachers.values())
    assert found == {"seed": 0, **recipe.options}
    make_config(**found)


def test_the_package_has_recipes_with_teachers_and_seeds() -> None:
    """So that the round trip of the published ones is none of empty ones."""
    assert any(recipe.teachers for recipe in PUBLISHED.values())
    assert any(recipe.seeds > 1 for recipe in PUBLISHED.values())
    assert all("defense" in recipe.options for recipe in PUBLISHED.values())
