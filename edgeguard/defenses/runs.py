"""The runs in a folder: which are the same training, which are finished, and how far the others got."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgeguard.defenses import checkpoint
from edgeguard.defenses.config import ADDED, TrainConfig
from edgeguard.errors import InputError
from edgeguard.models.run import CONFIG, METRICS, is_finished, is_run
from edgeguard.runtime.files import read_json


def settings_of(config: dict[str, Any]) -> TrainConfig:
    """The settings that a run's config records; KeyError where one is missing that every run has."""
    options = config["options"]
    return TrainConfig(
        **{f.name: options[f.name] for f in fields(TrainConfig) if f.name in options or f.name not in ADDED}
    )


def identity(config: Any, *, precision: bool = True) -> str:
    """The parts of a config that decide the weights; without the number formats, where any will do.

    Empty for what is no config of a training.
    """
    try:
        parts = [config[key] for key in ("classes", "window", "sampling_rate", "split")]
        parts.append(config["data"]["fingerprint"])
        options = settings_of(config).deciding()
    except (KeyError, TypeError, InputError):
        return ""
    if not precision:
        options = {name: value for name, value in options.items() if not name.endswith("precision")}
    return json.dumps([*parts, options], sort_keys=True)


class Shelf:
    """The finished runs in a folder, as they were when it was looked through."""

    def __init__(self, root: Path) -> None:
        entries = sorted(root.glob(f"*/{CONFIG}"))
        self._found = [(e.parent, identity(read_json(e), precision=False)) for e in entries if is_finished(e.parent)]

    def same(self, config: dict[str, Any]) -> list[Path]:
        """Those with the identity of `config`, in whatever number format, by name."""
        wanted = identity(config, precision=False)
        return [path for path, found in self._found if found == wanted]


def is_whole(run: Path) -> bool:
    """Whether a finished run was given all its epochs; a deadline may have cut it short."""
    return bool(read_json(run / METRICS)["epochs"][-1] >= settings_of(read_json(run / CONFIG)).stage_epochs)


def vacant(folder: Path, config: dict[str, Any], *, reserved: Path) -> Path:
    """The folder, or with a number behind it where it is reserved, or holds another run or a finished one."""
    number, candidate = 1, folder
    while candidate == reserved or is_finished(candidate) or (is_run(candidate) and not is_same(candidate, config)):
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def is_same(run: Path, config: dict[str, Any]) -> bool:
    """Whether a run in the folder, finished or not, has the identity of `config`, number formats included."""
    return is_run(run) and identity(read_json(run / CONFIG)) == identity(config)


def epochs_begun(run: Path) -> int:
    """Epochs that an unfinished run has a checkpoint of."""
    names = sorted((run / checkpoint.FOLDER).glob("epoch-*.json"))
    return int(names[-1].stem.removeprefix("epoch-")) if names else 0
