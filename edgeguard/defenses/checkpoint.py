"""Where a training stands, on disk: weights, optimiser state and log, so that it goes on as if never stopped.

Nothing random is stored: batch order, augmentation and dropout are drawn from (seed, epoch).
"""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeguard.errors import InputError
from edgeguard.models.run import load_tensors, save_tensors
from edgeguard.runtime.files import read_json, write_json

FOLDER = "checkpoint"
_KEPT = 2


def save(
    run: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    log: list[dict[str, Any]],
    average: nn.Module | None = None,
) -> None:
    """Write the checkpoint after the epoch that `log` ends with; the one before it stays until the next."""
    folder = run / FOLDER
    stem = folder / f"epoch-{len(log):04d}"
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": torch.as_tensor(value) for name, value in state.items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    save_tensors(stem.with_suffix(".safetensors"), tensors)
    write_json(stem.with_suffix(".json"), log)
    for old in sorted(folder.glob("epoch-*.json"))[:-_KEPT]:
        old.with_suffix(".safetensors").unlink(missing_ok=True)
        old.unlink()


def restore(
    run: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: nn.Module | None = None
) -> list[dict[str, Any]]:
    """Load the newest whole checkpoint into model, optimiser and average; the log so far, empty where there is none.

    A checkpoint that cannot be read, or is another network's, is passed over for the one before it.
    """
    shapes = _shapes(model.state_dict())
    averages = _shapes(average.state_dict()) if average is not None else {}
    for entry in sorted((run / FOLDER).glob("epoch-*.json"), reverse=True):
        try:
            log: list[dict[str, Any]] = read_json(entry)
            tensors = load_tensors(entry.with_suffix(".safetensors"))
        except InputError:
            continue
        weights = _part(tensors, "model.")
        # Looked at first: load_state_dict leaves a network half overwritten where it fails.
        mean = _part(tensors, "average.")
        if _shapes(weights) != shapes or _shapes(mean) != averages:
            continue
        model.load_state_dict(weights)
        if average is not None:
            average.load_state_dict(mean)
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _part(tensors, "optimizer.").items():
            number, field = name.split(".", 1)
            states.setdefault(int(number), {})[field] = value
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": states, "param_groups": groups})
        return log
    return []


def remove(run: Path) -> None:
    """Delete the checkpoints of a finished run."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def _part(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _shapes(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in tensors.items()}
