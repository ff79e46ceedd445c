"""The files of a run folder, and whether one was the parent of an exported file."""

from pathlib import Path

from edgeguard.runtime.files import sha256_file

CONFIG = "config.json"
WEIGHTS = "weights.safetensors"
SPLIT = "split.json"
"""Names of the records of each part; runs of one split may share it, beside their folders."""
METRICS = "metrics.json"


def holds_parent(folder: Path, weights_sha256: str | None) -> bool:
    """Whether a folder holds the weights that a file says it was exported from; no file says so by None."""
    weights = folder / WEIGHTS
    return weights_sha256 is not None and weights.is_file() and sha256_file(weights) == weights_sha256
