"""The trained networks that come with the package: found by name, and whole by their hashes."""

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError, did_you_mean, either
from edgeguard.runtime.files import read_json, sha256_file

PREFIX = "zoo:"
INDEX = "index.json"
CARD = "card.md"
SCHEMA = "edgeguard.zoo/1"
FILE_FORMS = ("int8", "int8-streaming")
"""Forms of a network that are stored as a file; the run itself is the folder, fp32 is made of it."""
SHARED = ("split.json",)
"""Files that networks of the same split have in common."""
FLOAT_FORM = "fp32"


@dataclass(frozen=True)
class ZooModel:
    """A network of the zoo.

    Attributes:
        folder: a finished run, with the exported files and the card beside it. What all networks were split by lies
            once, in the folder around it.
        about: what the index says of it: defense, arch, preset, seed, parameters and the main scores.
        files: name to hex SHA-256.
    """

    name: str
    folder: Path
    about: dict[str, Any]
    files: dict[str, str]

    @property
    def forms(self) -> tuple[str, ...]:
        """What stands behind `zoo:NAME-`, beside the run itself."""
        return (FLOAT_FORM, *(form for form in FILE_FORMS if self.file_name(form) in self.files))

    def file_name(self, form: str) -> str:
        """Of a stored form."""
        return f"{self.name}-{form}.onnx"

    def sizes(self) -> dict[str, int]:
        """Stored form -> bytes of its file."""
        names = {form: self.file_name(form) for form in self.forms if form != FLOAT_FORM}
        return {form: (self.folder / name).stat().st_size for form, name in names.items()}

    def path(self, name: str) -> Path:
        """Of one of the files."""
        return own_or_shared(self.folder, name) if name in SHARED else self.folder / name

    def checked(self, *names: str) -> Path:
        """The folder, once these of its files, by default all, are what was published.

        Raises InputError for one that is missing or changed.
        """
        for name in names or tuple(self.files):
            path = self.path(name)
            if not path.is_file() or sha256_file(path) != self.files[name]:
                fault = "was changed" if path.is_file() else "is missing"
                raise InputError(f"{path}: {fault} since it was published; install EdgeGuard anew")
        return self.folder


def own_or_shared(folder: Path, name: str) -> Path:
    """Where a file lies: in the folder, or beside it where several folders share theirs."""
    own, shared = folder / name, folder.parent / name
    return shared if shared.is_file() and not own.is_file() else own


def zoo_folder() -> Path:
    """Where the package keeps its networks; found without importing what needs torch."""
    spec = importlib.util.find_spec("edgeguard.models")
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "zoo"


@cache
def zoo_models(folder: Path | None = None) -> dict[str, ZooModel]:
    """The networks by name, in the order of the index."""
    root = folder or zoo_folder()
    if not (root / INDEX).is_file():
        raise InputError(f"{root / INDEX}: not found; install EdgeGuard anew, or make it with edgeguard zoo build")
    index = read_json(root / INDEX)
    models = {}
    for name, entry in index["models"].items():
        about = {key: value for key, value in entry.items() if key != "files"}
        models[name] = ZooModel(name, root / name, about, entry["files"])
    return models


def parse(name: str, models: dict[str, ZooModel]) -> tuple[ZooModel, str | None]:
    """The network that a name stands for, and its form; None is the run itself.

    Args:
        name: with or without `zoo:`, such as `adt-edge-m-int8`.

    Raises InputError for a name that the zoo does not have.
    """
    bare = name.removeprefix(PREFIX)
    if bare in models:
        return models[bare], None
    for model in models.values():
        for form in model.forms:
            if bare == f"{model.name}-{form}":
                return model, form
    base = next((known for known in sorted(models, key=len, reverse=True) if bare.startswith(f"{known}-")), None)
    if base:
        forms = models[base].forms
        guess = did_you_mean(bare.removeprefix(f"{base}-"), forms)
        raise InputError(f"{PREFIX}{bare}: {base} has no such form; {guess}choose {either(forms)}, or leave it out")
    guess = did_you_mean(bare, models)
    raise InputError(f"{PREFIX}{bare}: no such network; {guess}choose {either(list(models))} (edgeguard zoo list)")
