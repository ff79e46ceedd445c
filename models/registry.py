"""Architectures by name, and a user's own by `module:factory`."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from edgeguard.errors import InputError
from edgeguard.models.cnn13 import CNN13
from edgeguard.models.edge import edge_m, edge_s

ARCHITECTURES: dict[str, Callable[[int], nn.Module]] = {"edge-m": edge_m, "edge-s": edge_s, "cnn13": CNN13}
DEFAULT_ARCHITECTURE = "edge-m"


def build(arch: str, *, classes: int = 4, window: int = 9000, seed: int | None = None) -> nn.Module:
    """A freshly initialised network from ecg [B, 1, window] in microvolts to logits [B, classes].

    Args:
        arch: a name in ARCHITECTURES, or `module:factory`; the factory is called with the number of classes. The
            module is looked for in the working directory first.
        seed: of the initial weights; the global generator is left as it was. None uses the global generator.

    Raises InputError for an unknown name, a factory that cannot be imported, or a network of another output shape.
    """
    factory = ARCHITECTURES.get(arch) or _imported(arch)
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        return factory(classes) if arch in ARCHITECTURES else _checked(arch, factory, classes, window)


# Whatever a user's own code raises, at import or later, becomes one line that names it.


def _imported(arch: str) -> Callable[[int], nn.Module]:
    module_name, colon, attribute = arch.partition(":")
    if not colon:
        raise InputError(f"--arch {arch}: unknown; choose {', '.join(ARCHITECTURES)} or module:factory")
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
