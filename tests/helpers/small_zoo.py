"""A zoo of a few bytes, for whatever finds networks and does not open them."""

import json
from pathlib import Path
from typing import Any

from edgeguard.runtime.files import sha256_file

RATE = {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}
ABOUT: dict[str, Any] = {
    "defense": "none",
    "arch": "edge-m",
    "preset": "fast",
    "seed": 0,
    "parameters": 12,
    "clean": {"accuracy": RATE, "f1": RATE},
    "attacked": {"accuracy": {**RATE, "value": 0.4375}, "f1": RATE},
    "worst_case": {"10": {**RATE, "value": 0.375}},
}
RUN = ("config.json", "split.json", "metrics.json", "weights.safetensors")


def write_small_zoo(root: Path) -> Path:
    """Networks `some` and `some-fast`, a name that begins as the other does; the second was not compiled to a stream.

    Every file holds its own name.
    """
    files = {
        "some": (*RUN, "card.md", "some-int8.onnx", "some-int8-streaming.onnx"),
        "some-fast": (*RUN, "card.md", "some-fast-int8.onnx"),
    }
    for network, names in files.items():
        (root / network).mkdir(parents=True)
        for name in names:
            (root / network / name).write_text(name)
    write_index(root, {network: ABOUT for network in files})
    return root


def write_index(root: Path, about: dict[str, dict[str, Any]]) -> None:
    """What the index says of each network, with the hashes of its files as they are now."""
    hashes = {name: {path.name: sha256_file(path) for path in sorted((root / name).iterdir())} for name in about}
    models = {name: {**entry, "files": hashes[name]} for name, entry in about.items()}
    (root / "index.json").write_text(json.dumps({"schema": "edgeguard.zoo/1", "models": models}))
