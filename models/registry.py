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
        model = factory(classes)
    if arch not in ARCHITECTURES:
        _check_shape(arch, model, classes, window)
    return model


def _imported(arch: str) -> Callable[[int], nn.Module]:
    module_name, colon, attribute = arch.partition(":")
    if not colon:
        raise InputError(f"--arch {arch}: unknown; choose {', '.join(ARCHITECTURES)} or module:factory")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        factory: Callable[[int], nn.Module] = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"--arch {arch}: cannot be imported ({error}); give a module on the path and its factory"
        ) from error
    return factory


def _check_shape(arch: str, model: object, classes: int, window: int) -> None:
    if not isinstance(model, nn.Module):
        raise InputError(
            f"--arch {arch}: the factory returned {type(model).__name__}, a torch.nn.Module is needed"
        )
    model.eval()
    try:
        with torch.no_grad():
            shape = tuple(model(torch.zeros(2, 1, window)).shape)
    except (RuntimeError, ValueError, TypeError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"--arch {arch}: fails on an input of [2, 1, {window}] ({first})") from error
    if shape != (2, classes):
        raise InputError(
            f"--arch {arch}: returns {list(shape)} for an input of [2, 1, {window}], needed [2, {classes}]"
        )
