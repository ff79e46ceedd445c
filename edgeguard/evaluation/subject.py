"""What is evaluated: a torch network or an ONNX file, and the network that attacks on it are crafted with."""

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import torch
from torch import nn

from edgeguard.ecg.record import CLASSES, SAMPLING_RATE, WINDOW
from edgeguard.ecg.unseen import Training, names_seen
from edgeguard.errors import InputError
from edgeguard.models.run import Run, is_run, load_run
from edgeguard.runtime.model_spec import ModelSpec, StatedFacts
from edgeguard.runtime.run_files import holds_parent
from edgeguard.runtime.session import OnnxModel, open_model


@dataclass(frozen=True)
class Subject:
    """A classifier under evaluation.

    Attributes:
        name: path that the user gave, or the name of a network's class.
        logits: (ecg float32 [B, 1, T], microvolts) to float32 [B, C].
        spec: what it takes and gives.
        run: the torch run that it is, or that it was exported from; None where that is not at hand.
        data, split: what it was trained on, from its config or metadata; None where unknown.
        weights_sha256: of the run that it is, or that its file says it was exported from; None where unknown.
        sha256: of what is judged, the run's weights or the file.
        file: the opened file that it is; None for a network in torch.
        network: the torch network that it is; None for a file.
    """

    name: str
    logits: Callable[[np.ndarray], np.ndarray]
    spec: ModelSpec
    run: Run | None
    data: dict[str, Any] | None
    split: dict[str, Any] | None
    weights_sha256: str | None
    sha256: str
    file: OnnxModel | None = None
    network: nn.Module | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.spec.classes

    @property
    def window(self) -> int:
        """Samples that it takes."""
        return self.spec.window

    @property
    def is_file(self) -> bool:
        """Judged by ONNX Runtime; adversarial records are rounded to whole ADC codes first."""
        return self.file is not None

    def outputs(self, ecg: np.ndarray) -> np.ndarray:
        """float32 [B, outputs]: what the file or network itself gives, be that logits or not."""
        return self.logits(ecg) if self.file is None else self.file.outputs(ecg)

    def judge(self, ecg: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """int64 [B]: the class of each record of float32 [B, 1, T] microvolts, as `named` finds it.

        Args:
            labels: int64 [B], true classes.
        """
        return named(self.logits(ecg), labels)


def named(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """int64 [B]: the class that logits [B, C] stand for; ties go to the attacker.

    Among equal largest logits it is a wrong class, whichever the device would take: int8 logits do collide.

    Args:
        labels: int64 [B], true classes.
    """
    # Written so that a row with a NaN, which no class exceeds, is tied throughout.
    tied = ~(logits < logits.max(1, keepdims=True))
    wrong = tied & (np.arange(logits.shape[1]) != labels[:, None])
    return np.where(wrong.any(1), wrong.argmax(1), labels).astype(np.int64)


def open_subject(
    path: Path | nn.Module,
    *,
    threads: int | None = None,
    assumed: StatedFacts | None = None,
    **facts: Unpack[StatedFacts],
) -> Subject:
    """A run folder, an ONNX file or a network; the file's run is looked for in the file's folder.

    Args:
        threads: of ONNX Runtime; None: those of torch.
        assumed: facts that hold where neither the model nor `facts` has them.
        facts: what a file or a network does not say of itself, as in `open_model`.
    """
    if isinstance(path, nn.Module):
        stated = {**(assumed or {}), **{name: value for name, value in facts.items() if value is not None}}
        known = {name: stated.get(name) for name in ("classes", "window", "sampling_rate")}
        return network_subject(path, **{name: value for name, value in known.items() if value is not None})  # type: ignore[arg-type]
    if path.is_dir():
        return run_subject(load_run(path))
    if not path.is_file():
        raise InputError(f"{path}: neither a run folder nor an ONNX file; check the path")
    return file_subject(open_model(path, threads=threads or torch.get_num_threads(), assumed=assumed, **facts))


def run_subject(run: Run) -> Subject:
    """The network of a run."""
    config = run.config
    return Subject(
        str(run.path),
        _torch_logits(run.model),
        ModelSpec(tuple(config["classes"]), float(config.get("sampling_rate", SAMPLING_RATE)), config["window"]),
        run,
        config["data"],
        config["split"],
        run.weights_sha256,
        run.weights_sha256,
        network=run.model,
    )


def file_subject(file: OnnxModel) -> Subject:
    """An ONNX file that is open already; its run is looked for in the file's folder."""
    about = file.metadata
    return Subject(
        str(file.path),
        file.logits,
        file.spec,
        parent_run(file.path, about.parent_sha256),
        about.data,
        about.split,
        about.parent_sha256,
        file.sha256,
        file,
    )


def network_subject(
    network: nn.Module,
    *,
    classes: Sequence[str] = CLASSES,
    window: int = WINDOW,
    sampling_rate: float = SAMPLING_RATE,
) -> Subject:
    """A network in memory, from ecg [B, 1, T] in microvolts to logits [B, C]; a copy of it, in eval mode, is judged.

    Raises InputError for a network of another shape.
    """
    own, name = copy.deepcopy(network).eval(), type(network).__name__
    logits = _torch_logits(own)
    try:
        shape = logits(np.zeros((2, 1, window), np.float32)).shape
    except (RuntimeError, ValueError, TypeError) as error:
        line = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name}: fails on ecg [2, 1, {window}] ({line}); give its window, or wrap it") from error
    if shape != (2, len(classes)):
        raise InputError(
            f"{name}: makes {list(shape)} of ecg [2, 1, {window}], [2, {len(classes)}] needed; name its classes"
        )
    digest = hashlib.sha256(repr(own).encode())
    for key, tensor in own.state_dict().items():
        digest.update(key.encode())
        digest.update(tensor.cpu().double().numpy().tobytes())
    identity = digest.hexdigest()
    spec = ModelSpec(tuple(classes), sampling_rate, window)
    return Subject(name, logits, spec, None, None, None, identity, identity, network=own)


def parent_run(file: Path, weights_sha256: str | None) -> Run | None:
    """The run in the file's folder whose weights the file was exported from."""
    folder = file.parent
    return load_run(folder) if is_run(folder) and holds_parent(folder, weights_sha256) else None


def training_of(subject: Subject) -> Training:
    """What is known of the records that a subject was trained on."""
    return Training(subject.data, subject.split, names_seen(subject.run.path) if subject.run else None)


def device_of(model: nn.Module) -> torch.device:
    """Where the network's parameters and buffers lie; the processor for one that has none."""
    tensor = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


def _torch_logits(model: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    device = device_of(model)

    @torch.no_grad()
    def logits(ecg: np.ndarray) -> np.ndarray:
        values: np.ndarray = model(torch.from_numpy(ecg).to(device)).cpu().numpy()
        return values

    return logits
