"""A run folder: config, weights, log and metrics of one training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from edgeguard.errors import InputError
from edgeguard.models.registry import build
from edgeguard.runtime.files import read_json, sha256_file, write_bytes
from edgeguard.runtime.run_files import CONFIG, METRICS, SPLIT, WEIGHTS
from edgeguard.runtime.zoo import own_or_shared


@dataclass(frozen=True)
class Run:
    """A finished training: its folder, its config, and its network in eval mode."""

    path: Path
    config: dict[str, Any]
    model: nn.Module

    @property
    def weights_sha256(self) -> str:
        """Hex SHA-256 of the weights file, by which an exported file names its parent."""
        return sha256_file(self.path / WEIGHTS)


def is_run(path: Path) -> bool:
    """Whether the folder holds a run, finished or not."""
    return (path / CONFIG).is_file()


def is_finished(path: Path) -> bool:
    """Whether the folder holds a finished run."""
    return is_run(path) and (path / WEIGHTS).is_file() and (path / METRICS).is_file()


def split_file(run: Path) -> Path:
    """Where the names of a run's parts lie: in it, or beside it where the networks of a zoo share theirs."""
    return own_or_shared(run, SPLIT)


def load_run(path: Path) -> Run:
    """Read a finished run.

    Raises InputError for a folder without config or weights, for an architecture that is not registered, and for
    weights that do not fit it.
    """
    if not is_run(path):
        raise InputError(f"{path}: no run folder ({CONFIG} is missing); make one with edgeguard train")
    if not (path / WEIGHTS).is_file():
        raise InputError(f"{path}: {WEIGHTS} is missing; finish the run with edgeguard train --resume --out {path}")
    config = read_json(path / CONFIG)
    try:
        arch, classes, window = config["arch"], config["classes"], config["window"]
    except (KeyError, TypeError) as error:
        raise InputError(f"{path / CONFIG}: field {error} is missing; restore the file or train anew") from error
    try:
        model = build(arch, classes=len(classes), window=window)
    except InputError as error:
        raise InputError(f"{path / CONFIG}: {error}") from error
    tensors = load_tensors(path / WEIGHTS)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise InputError(
            f"{path / WEIGHTS}: does not fit architecture {arch}; restore the file or train anew"
        ) from error
    return Run(path, config, model.eval())


def newest_run(root: Path = Path("runs")) -> Path:
    """The finished run below `root` whose weights are newest; InputError when there is none."""
    found = [p.parent for p in root.glob(f"**/{WEIGHTS}") if is_finished(p.parent)]
    if not found:
        raise InputError(f"{root}/: no finished run; make one with edgeguard train, or name a run folder")
    return max(found, key=lambda p: (p / WEIGHTS).stat().st_mtime_ns)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file; InputError when it is cut short or something else."""
    try:
        return load(path.read_bytes())
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); restore the file or train anew") from error


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write named tensors atomically."""
    # safetensors refuses tensors that share memory, as tied weights do.
    own = {name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
    write_bytes(path, save(own))
