"""Architectures by name: the built-in ones, and a user's own once they are registered as `module:factory`."""

from collections.abc import Callable
from functools import cache

import torch
from torch import nn

from edgeguard.errors import InputError
from edgeguard.models.cnn13 import CNN13
from edgeguard.models.edge import edge_m, edge_s
from edgeguard.runtime.registry import Registry, reported

ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {"edge-m": edge_m, "edge-s": edge_s, "cnn13": CNN13}
DEFAULT_ARCHITECTURE = "edge-m"

REGISTRY = Registry(
    ARCHITECTURES,
    kind="architecture",
    option="--arch",
    function="edgeguard.register_architecture",
    typed_with="--arch, a teacher's with --teacher-arch",
)


def register_architecture(arch: str) -> None:
    """Import a user's own architecture, so that runs and settings may name it.

    Importing runs the module's code, so only a name that a person typed is registered: a file that names one which
    is not registered is refused by `build`.

    Args:
        arch: `module:factory`; the factory is called with the number of classes. The module is looked for in the
            working directory first. A built-in name is left as it is.

    Raises InputError for another name, and for a factory that cannot be imported.
    """
    REGISTRY.register(arch)


def build(arch: str, *, classes: int = 4, window: int = 9000, seed: int | None = None) -> nn.Module:
    """A freshly initialised network from ecg [B, 1, window] in microvolts to logits [B, classes].

    Args:
        arch: a built-in or registered name.
        seed: of the initial weights; the global generator is left as it was. None uses the global generator.

    Raises InputError for a name that is not registered, for a network of another output shape, and for a window that
    is too short for the network.
    """
    factory = REGISTRY.get(arch)
    check_window(arch, window)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return factory(classes) if arch in ARCHITECTURES else _checked(arch, factory, classes, window)


def check_window(arch: str, window: int) -> None:
    """Raises InputError for a window that is too short for the network."""
    if window < least_window(arch):
        raise InputError(
            f"--window {window}: too short for {arch}, which needs at least {least_window(arch)} samples; "
            f"give --window {least_window(arch)} or more, or records of a higher sampling rate"
        )


@cache
def least_window(arch: str) -> int:
    """Samples of the shortest window that a built-in network takes; 1 for a user's own, of which that is unknown."""
    if arch not in ARCHITECTURES:
        return 1
    with torch.device("meta"):
        network = ARCHITECTURES[arch](2)
    return int(getattr(network, "least_window", 1))


def _checked(arch: str, factory: Callable[[int], object], classes: int, window: int) -> nn.Module:
    """The factory's network, once it has turned an input into logits of the right shape."""
    with reported(f"--arch {arch}: the factory, called with {classes} classes,"):
        model = factory(classes)
    if not isinstance(model, nn.Module):
        raise InputError(f"--arch {arch}: the factory returned {type(model).__name__}, a torch.nn.Module is needed")
    with reported(f"--arch {arch}: the network, run on an input of [2, 1, {window}],"), torch.no_grad():
        shape = tuple(model.eval()(torch.zeros(2, 1, window)).shape)
    if shape != (2, classes):
        raise InputError(
            f"--arch {arch}: the network returns {list(shape)} for an input of [2, 1, {window}], needed [2, {classes}]"
        )
    return model.train()
