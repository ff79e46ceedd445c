"""The networks whose gradient crafts against a file: its twin, the float run it came from, both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import crafting
from edgeguard.errors import InputError, unknown
from edgeguard.evaluation.subject import Subject
from edgeguard.export.twin import build_twin
from edgeguard.models.run import Run

_TWINS = {"twin": "clipped", "twin-pure": "pure", "none": "none"}
"""Gradient to the twin's way through rounding."""
GRADIENTS = ("twin", "twin-pure", "parent", "mean", "none")
"""`twin`: straight-through where nothing saturates; `twin-pure`: straight-through everywhere; `parent`: of the float
run beside the file; `mean`: of twin and parent; `none`: the rounded network's own, which is zero nearly everywhere."""
BY_PROFILE = {"paper": ("twin",), "strict": ("twin", "parent"), "full": ("twin", "twin-pure", "parent", "mean")}
"""What crafts where nobody chooses; without a run beside the file, those that need none."""

AGREEMENT = 0.995
_ROWS = 256
_BATCH = 32
# What the order of a float sum may change, far below one step of int8: of a logit, and of the largest beside it.
_OF_ITSELF, _OF_LARGEST = 1e-4, 2e-6

BuildTwin = Callable[..., nn.Module]
"""(opened file, gradient=...) to a network that computes the file's logits [B, C] from ecg [B, 1, T] in microvolts."""


@dataclass(frozen=True)
class Source:
    """A network that crafts.

    Attributes:
        name: `run` for a network in torch, or one of GRADIENTS.
        model: ecg [B, 1, T] in microvolts to logits [B, C].
        identity: equal where two sources craft the same.
        twin_of: path of the file that it claims to compute; None for a float network.
    """

    name: str
    model: nn.Module
    identity: str
    twin_of: str | None = None


class MeanGradient(nn.Module):
    """The first network's logits, with the mean of both networks' gradients by the ecg."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def outputs(self, ecg: Tensor) -> Tensor:
        """What the first network gives, a file's twin."""
        outputs: Tensor = self.first.outputs(ecg)  # type: ignore[operator]
        return outputs

    def forward(self, ecg: Tensor) -> Tensor:
        ours, theirs = self.first(ecg), self.second(ecg)
        # A tensor less itself is exactly zero, and still has its gradient.
        return ours.detach() + 0.5 * ((ours - ours.detach()) + (theirs - theirs.detach()))


def run_source(run: Run, name: str = "run") -> Source:
    """The network of a run."""
    return Source(name, run.model, run.weights_sha256)


def sources_of(
    subject: Subject, *, profile: str, chosen: Sequence[str] | None = None, build: BuildTwin = build_twin
) -> tuple[tuple[Source, ...], str | None]:
    """Everything that crafts against the subject, and a line to say where its twin could not be built.

    Args:
        subject: a network in torch has one source, itself.
        profile: whose default sources are meant.
        chosen: names from GRADIENTS; files only.
        build: makes a file's twin.

    Raises InputError for an unknown name, for a chosen source that is not at hand, and where nothing is left.
    """
    for name in chosen or ():
        if name not in GRADIENTS:
            raise unknown("--gradient", name, GRADIENTS)
    if not subject.is_file:
        assert subject.network is not None
        return (Source("run", subject.network, subject.sha256),), None
    run = subject.run
    names = tuple(dict.fromkeys(chosen)) if chosen else _at_hand(BY_PROFILE[profile], run)
    if run is None and (needs := [name for name in names if name in ("parent", "mean")]):
        raise InputError(f"--gradient {needs[0]}: no run beside {subject.name}; leave it out, or put the file there")
    try:
        return tuple(_file_source(name, subject, build) for name in names), None
    except InputError as error:
        if chosen:
            raise
        if run is None:
            raise InputError(f"{error}; or craft on another network with --source RUN") from error
        return (run_source(run, "parent"),), f"{error}; crafting on its float run alone"


def check_agreement(source: Source, subject: Subject, ecg: np.ndarray) -> None:
    """Refuse a twin that does not compute what ONNX Runtime does.

    A row agrees where all its outputs are equal but for the rounding of float sums.

    Args:
        ecg: float32 [B, 1, T]; at most 256 rows of it are compared.

    Raises InputError where fewer than 99.5 % of the rows agree.
    """
    rows = ecg[:_ROWS]
    outputs = getattr(source.model, "outputs", source.model)
    with crafting(source.model), torch.no_grad():
        parts = [outputs(torch.from_numpy(rows[i : i + _BATCH])).numpy() for i in range(0, len(rows), _BATCH)]
    expected = subject.outputs(rows)
    size = np.abs(expected)
    bound = _OF_ITSELF * np.maximum(size, 1) + _OF_LARGEST * size.max(1, keepdims=True)
    share = float((np.abs(np.concatenate(parts) - expected) <= bound).all(1).mean()) if len(rows) else 1.0
    if share < AGREEMENT:
        raise InputError(
            f"{subject.name}: its twin agrees with ONNX Runtime on {100 * share:.1f} % of {len(rows)} rows, "
            f"{100 * AGREEMENT:g} % needed to attack; see edgeguard verify, or take --gradient parent"
        )


def _at_hand(names: tuple[str, ...], run: Run | None) -> tuple[str, ...]:
    return names if run else tuple(name for name in names if name not in ("parent", "mean"))


def _file_source(name: str, subject: Subject, build: BuildTwin) -> Source:
    if name == "parent":
        assert subject.run is not None
        return run_source(subject.run, name)
    twin = build(subject.file, gradient=_TWINS.get(name, "clipped"))
    if name == "mean":
        assert subject.run is not None
        twin = MeanGradient(twin, subject.run.model)
    return Source(name, twin, f"{subject.sha256}:{name}", subject.name)
