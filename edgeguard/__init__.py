"""EdgeGuard: is the ECG model that ships on the watch still accurate, and still robust, after export?"""

import importlib
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from edgeguard.errors import InputError
from edgeguard.telemetry import disable_telemetry

if TYPE_CHECKING:
    from edgeguard.api import (
        attack,
        audit,
        describe,
        evaluate,
        load_records,
        plan,
        pool_seeds,
        register_architecture,
        register_attack,
        register_defense,
        reproduce,
        simulate,
        split,
        to_onnx,
        train,
        verify,
    )

disable_telemetry()

try:
    __version__ = version("edgeguard-ecg")
except PackageNotFoundError:
    __version__ = "0+uninstalled"

__all__ = [
    "InputError",
    "__version__",
    "attack",
    "audit",
    "describe",
    "evaluate",
    "load_records",
    "plan",
    "pool_seeds",
    "register_architecture",
    "register_attack",
    "register_defense",
    "reproduce",
    "simulate",
    "split",
    "to_onnx",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """A function of the API (`edgeguard.api`), imported when it is first asked for."""
    if name in __all__:
        return getattr(importlib.import_module("edgeguard.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
