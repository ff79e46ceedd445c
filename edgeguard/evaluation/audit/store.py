"""An audit as files: `audit.json`, and `pictures.npz` for what it drew."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import SCHEMA, Audit, Picture
from edgeguard.runtime.files import read_json, write_json
from edgeguard.runtime.npz import compact, need, read_npz, reading, write_npz
from edgeguard.runtime.typed_json import from_json

NAME, PICTURES = "audit.json", "pictures.npz"
_PICTURES_SCHEMA = "edgeguard.audit.pictures/1"
_ARRAYS = ("ecg", "adversarial", "clean_saliency", "attacked_saliency")


def save_audit(audit: Audit, folder: Path) -> None:
    """Write both files, atomically each."""
    arrays: dict[str, Any] = {"schema": np.array(_PICTURES_SCHEMA), "count": np.array(len(audit.pictures))}
    for number, picture in enumerate(audit.pictures):
        for field in fields(Picture):
            value = getattr(picture, field.name)
            if value is not None:
                name = f"{number}_{field.name}"
                arrays[name] = compact(value) if field.name in ("ecg", "adversarial") else np.asarray(value)
    write_npz(folder / PICTURES, arrays)
    write_json(folder / NAME, audit.to_json())


def load_audit(path: Path) -> Audit:
    """What `save_audit` wrote.

    Args:
        path: the folder, or its `audit.json`.

    Raises InputError for something else, or a damaged file.
    """
    file = path / NAME if path.is_dir() else path
    value = read_json(file)
    if not isinstance(value, dict) or value.get("schema") != SCHEMA:
        raise InputError(f"{file}: no audit; name the folder that edgeguard audit wrote")
    audit = from_json(Audit, value, where=str(file))
    return replace(audit, pictures=_load_pictures(file.with_name(PICTURES)))


def _load_pictures(path: Path) -> tuple[Picture, ...]:
    if not path.is_file():
        return ()
    with reading(path, "pictures of an audit"):
        arrays = read_npz(path, _PICTURES_SCHEMA)
        return tuple(_picture(arrays, number) for number in range(int(arrays["count"])))


def _picture(arrays: dict[str, np.ndarray], number: int) -> Picture:
    values: dict[str, Any] = {}
    for field in fields(Picture):
        stored = arrays.get(f"{number}_{field.name}")
        if field.name in _ARRAYS:
            need(stored is not None or "saliency" in field.name, f"lacks {field.name} of picture {number}")
            values[field.name] = None if stored is None else stored.astype(np.float32)
        else:
            assert stored is not None
            values[field.name] = stored.item()
    return Picture(**values)
