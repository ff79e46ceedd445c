"""How an audit came about: with what, on what, by which command."""

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import edgeguard
from edgeguard.evaluation.audit.result import Provenance
from edgeguard.runtime.processor import processor_facts

_LIBRARIES = ("numpy", "scipy", "torch", "onnx", "onnxruntime")


def provenance(command: str, *, seed: int, seconds: Mapping[str, float]) -> Provenance:
    """Of an audit that ends now.

    Args:
        command: that repeats it.
        seconds: by section.
    """
    return Provenance(
        command=command,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seed=seed,
        versions=versions(),
        processor=processor_facts(),
        seconds={name: round(taken, 3) for name, taken in seconds.items()},
    )


def versions() -> dict[str, str]:
    """Of EdgeGuard, Python, and the libraries that figures depend on."""
    found = {"edgeguard": edgeguard.__version__, "python": platform.python_version()}
    return {**found, **{name: importlib.metadata.version(name) for name in _LIBRARIES}}


def repeating_command(model: Any, **options: Any) -> str:
    """`edgeguard audit MODEL --option value`; options of None and False are left out, true ones are flags."""
    words = ["edgeguard", "audit", str(model)]
    for name, value in options.items():
        if value is None or value is False:
            continue
        words += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
    return shlex.join(words)
