"""A watch's state on disk, with what it belongs to: model, front end, hop and rules."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.errors import InputError
from edgeguard.firmware_sim.samples import State
from edgeguard.firmware_sim.scorers import StreamModel, WindowModel
from edgeguard.firmware_sim.simulator import WatchOptions
from edgeguard.runtime.npz import read_npz, reading, write_npz

SCHEMA = "edgeguard.watch-state/1"
_STATE = "state."


def save_state(path: Path, state: State, model: WindowModel | StreamModel, watch: WatchOptions) -> None:
    """Write what a stream goes on from, atomically. Raises InputError when the file cannot be written."""
    arrays = {_STATE + name: array for name, array in state.items()}
    write_npz(path, {"schema": SCHEMA, "watch": _identity(model, watch), **arrays})


def load_state(path: Path, model: WindowModel | StreamModel, watch: WatchOptions) -> State | None:
    """What `save_state` wrote; None where there is no file.

    Raises InputError for a damaged file, or the state of another model or watch.
    """
    if not path.exists():
        return None
    with reading(path, "state of a watch"):
        stored = read_npz(path, SCHEMA)
        mine = str(stored["watch"]) == _identity(model, watch)
    if not mine:
        raise InputError(
            f"{path}: is the state of another model or of other settings; name another file with --state, or remove it"
        )
    return {name.removeprefix(_STATE): array for name, array in stored.items() if name.startswith(_STATE)}


def _identity(model: WindowModel | StreamModel, watch: WatchOptions) -> str:
    """Hex digest of all that a state's meaning depends on."""
    facts: dict[str, Any] = {
        "model": getattr(model, "sha256", None),
        "hop": watch.hop,
        "front_end": None if watch.front_end is None else asdict(watch.front_end),
        "faults": [[fault.name, asdict(fault)] for fault in watch.faults],
        "rules": None if watch.rules is None else asdict(watch.rules),
        "seed": watch.seed,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True, default=_plain).encode()).hexdigest()


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
