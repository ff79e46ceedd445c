"""JSON Schemas (2020-12) of everything that EdgeGuard prints with `--json` or writes as JSON; docs/machine-output.md.

The file NAME-VERSION.json has the `$id` `edgeguard.NAME/VERSION`, which is what an output says as its `schema`. Within
a version keys may be added, none is renamed or removed.
"""

import json
from importlib.resources import files
from typing import Any

from edgeguard.errors import unknown

_SUFFIX = ".json"


def names() -> list[str]:
    """Of all schemas, as `edgeguard.evaluate/1`, in alphabetical order."""
    stems = (file.name.removesuffix(_SUFFIX) for file in files(__name__).iterdir() if file.name.endswith(_SUFFIX))
    return sorted("edgeguard.{}/{}".format(*stem.rsplit("-", 1)) for stem in stems)


def load_schema(name: str) -> dict[str, Any]:
    """One schema by what an output says as its `schema`, `edgeguard.evaluate/1`, or short `evaluate/1`.

    Raises InputError for a name that is none.
    """
    full = name if name.startswith("edgeguard.") else f"edgeguard.{name}"
    if full not in names():
        raise unknown("schema", name, names())
    stem, version = full.removeprefix("edgeguard.").split("/")
    text = (files(__name__) / f"{stem}-{version}{_SUFFIX}").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
