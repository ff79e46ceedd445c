"""How every network of the zoo is trained and judged: `recipes.toml`, read."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError

RECIPES = "recipes.toml"


@dataclass(frozen=True)
class Recipe:
    """A network of the zoo.

    Attributes:
        options: of `edgeguard train`, among them defense, arch and preset.
        teachers: networks whose mean is learnt, by name, or `NAME:SEED` for a further seed of one; none: the preset's
            own teacher.
        strict: budgets of the strict profile, microvolts; the paper's profile always has 10.
        records: of the strict profile at most so many, stratified; None: the whole test part.
        seeds: how many seeds are trained; the first is published, the others tell the spread.
        note: a sentence for the card.
    """

    name: str
    options: dict[str, Any]
    teachers: tuple[str, ...] = ()
    strict: tuple[float, ...] = (10.0,)
    records: int | None = None
    seeds: int = 1
    note: str = ""

    def command(self) -> str:
        """The training as a command line."""
        given = {**self.options, **({"seed": 0} if "seed" not in self.options else {})}
        words = [_word(key, value) for key, value in given.items()]
        words += [f"--teacher {_teacher_word(teacher)}" for teacher in self.teachers]
        return " ".join(["edgeguard train", *words, "--data training2017.zip"])


def seed_folder(name: str, seed: int) -> str:
    """Where a further seed of a recipe stands beside the zoo's networks; it is not published."""
    return f"seeds/{name}-s{seed}"


def teacher_of(token: str) -> tuple[str, int | None]:
    """(recipe, further seed or None) of an entry of `teachers`."""
    name, colon, seed = token.partition(":")
    return name, int(seed) if colon else None


def _teacher_word(token: str) -> str:
    name, seed = teacher_of(token)
    return f"zoo:{name}" if seed is None else seed_folder(name, seed)


def _word(key: str, value: Any) -> str:
    name = key.replace("_", "-")
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {str(value).removesuffix('.0') if isinstance(value, float) else value}"


def read_recipes(folder: Path) -> dict[str, Recipe]:
    """The recipes by name, in the order of the file.

    Raises InputError for a file that is missing or no TOML, and for a teacher that stands below its student.
    """
    path = folder / RECIPES
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found; name the folder that holds the recipes") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not valid TOML ({error}); restore the file") from error
    recipes: dict[str, Recipe] = {}
    for name, entry in found.items():
        if not isinstance(entry, dict):
            raise InputError(f"{path}: {name} stands outside of every network; move it below a [NAME]")
        own = {key: entry.pop(key) for key in ("teachers", "strict", "records", "seeds", "note") if key in entry}
        for key in ("teachers", "strict"):
            if key in own:
                own[key] = tuple(own[key])
        recipe = Recipe(name, entry, **own)
        if missing := [one for one in recipe.teachers if not _stands(one, recipes)]:
            raise InputError(f"{path}: {name}.teachers names {missing[0]}, which does not stand above it; move it up")
        recipes[name] = recipe
    return recipes


def _stands(token: str, recipes: dict[str, Recipe]) -> bool:
    name, colon, seed = token.partition(":")
    return name in recipes and (not colon or (seed.isdecimal() and 0 < int(seed) < recipes[name].seeds))
