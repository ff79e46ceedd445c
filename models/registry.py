"""Architectures by name: the built-in ones, and a user's own once they are registered as `module:factory`."""

import importlib
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

import torch
from torch import nn

from edgeguard.errors import InputError
from edgeguard.models.cnn13 import CNN13
from edgeguard.models.edge import edge_m, edge_s

ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {"edge-m": edge_m, "edge-s": edge_s, "cnn13": CNN13}
DEFAULT_ARCHITECTURE = "edge-m"

_own: dict[str, Callable[[int], nn.Module] | None] = {}
"""A user's own architectures by `module:factory`; None for one that is permitted and not imported yet."""


def register_architecture(arch: str) -> None:
    """Import a user's own architecture, so that runs and settings may name it.

    Importing runs the module's code, so only a name that a person typed is registered: a file that names one which
    is not registered is refused by `build`.

    Args:
        arch: `module:factory`; the factory is called with the number of classes. The module is looked for in the
            working directory first. A built-in name is left as it is.

    Raises InputError for another name, and for a factory that cannot be imported.
    """
    if arch not in ARCHITECTURES:
        _own[arch] = _imported(arch)


def permit_architectures(names: Iterable[str]) -> None:
    """Take names that another process has registered; each is imported when a network of it is first built."""
    for name in names:
        _own.setdefault(name, None)


def registered_architectures() -> tuple[str, ...]:
    """The names of a user's own architectures that this process knows."""
    return tuple(_own)


def check_registered(arch: str) -> None:
    """Raises InputError for an architecture that is neither built in nor registered."""
    if isinstance(arch, str) and (arch in ARCHITECTURES or arch in _own):
        return
    if isinstance(arch, str) and ":" in arch:
        raise InputError(
            f"architecture {arch!r} is code from outside of EdgeGuard, and no file can make it run; if you trust it, "
            "name it with --arch, a teacher's with --teacher-arch (in Python: edgeguard.register_architecture)"
        )
    raise _unknown(arch)


def build(arch: str, *, classes: int = 4, window: int = 9000, seed: int | None = None) -> nn.Module:
    """A freshly initialised network from ecg [B, 1, window] in microvolts to logits [B, classes].

    Args:
        arch: a built-in or registered name.
        seed: of the initial weights; the global generator is left as it was. None uses the global generator.

    Raises InputError for a name that is not registered, for a network of another output shape, and for a window that
    is too short for the network.
    """
    check_registered(arch)
    check_window(arch, window)
    factory = ARCHITECTURES.get(arch) or _own[arch] or _imported(arch)
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


def _unknown(arch: object) -> InputError:
    return InputError(f"--arch {arch}: unknown; choose {', '.join(ARCHITECTURES)} or module:factory")


# Whatever a user's own code raises, at import or later, becomes one line that names it.


def _imported(arch: str) -> Callable[[int], nn.Module]:
    module_name, colon, attribute = arch.partition(":")
    if not colon:
        raise _unknown(arch)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        factory: Callable[[int], nn.Module] = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:
        raise InputError(
            f"--arch {arch}: cannot be imported ({_line(error)}); give a module on the path and its factory"
        ) from error
    return factory


def _checked(arch: str, factory: Callable[[int], object], classes: int, window: int) -> nn.Module:
    """The factory's network, once it has turned an input into logits of the right shape."""
    try:
        model = factory(classes)
    except Exception as error:
        raise InputError(f"--arch {arch}: the factory fails on {classes} classes ({_line(error)})") from error
    if not isinstance(model, nn.Module):
        raise InputError(f"--arch {arch}: the factory returned {type(model).__name__}, a torch.nn.Module is needed")
    try:
        with torch.no_grad():
            shape = tuple(model.eval()(torch.zeros(2, 1, window)).shape)
    except Exception as error:
        raise InputError(f"--arch {arch}: fails on an input of [2, 1, {window}] ({_line(error)})") from error
    if shape != (2, classes):
        raise InputError(
            f"--arch {arch}: returns {list(shape)} for an input of [2, 1, {window}], needed [2, {classes}]"
        )
    return model.train()


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
