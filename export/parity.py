"""Does the file say what the network says? Every export answers before it is written."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from edgeguard.runtime.census import float_convolutions, fused_operators
from edgeguard.runtime.session import OnnxModel, open_model

LOGIT_TOLERANCE = 1e-3
"""Largest difference of logits, torch against ONNX Runtime in float, relative to the largest logit (at least 1)."""
LABEL_AGREEMENT = 0.9
"""Least share of windows on which int8 and float files name the same class."""


@dataclass(frozen=True)
class Check:
    """Whether one comparison holds, and the figure that decides."""

    holds: bool
    figure: float
    meaning: str


def float_parity(model: nn.Module, file: OnnxModel, ecg: np.ndarray) -> Check:
    """Logits of the torch network against those of its float file on windows [B, 1, T]."""
    with torch.no_grad():
        expected = torch.cat([model(part) for part in torch.from_numpy(ecg).split(64)]).numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(expected - file.logits(ecg)).max()) / scale
    return Check(
        difference <= LOGIT_TOLERANCE,
        difference,
        f"largest relative logit difference, torch and fp32, {len(ecg)} windows",
    )


def int8_parity(fp32: OnnxModel, int8: OnnxModel, ecg: np.ndarray) -> Check:
    """Share of windows on which both files name the same class."""
    agreement = float((fp32.labels(ecg) == int8.labels(ecg)).mean())
    return Check(
        agreement >= LABEL_AGREEMENT,
        agreement,
        f"share of {len(ecg)} windows with equal class, fp32 and int8",
    )


def host_form_parity(path: Path, ecg: np.ndarray) -> Check:
    """Whether the file as stored and the form that runs on a host name the same classes; the share of equal bits.

    The codes are the same but for near-ties of a fused addition, which ONNX Runtime rounds in float.
    """
    stored, host = open_model(path, host_form=False).logits(ecg), open_model(path).logits(ecg)
    same = bool((stored.argmax(axis=1) == host.argmax(axis=1)).all())
    equal = float((stored == host).all(axis=1).mean())
    meaning = f"share of {len(ecg)} windows with bit-equal logits, S8S8 and its host form; all classes equal"
    return Check(same, equal, meaning)


def integer_convolutions(path: Path, *, allowed: int = 0) -> tuple[Check, dict[str, int]]:
    """How many convolutions ONNX Runtime would still run in float, and the census of fused operators.

    Args:
        allowed: convolutions that were left in float on purpose.
    """
    census = fused_operators(path)
    left = float_convolutions(census)
    return Check(left <= allowed, left, "convolutions left in float after fusion"), census


def as_json(checks: dict[str, Check]) -> dict[str, dict[str, Any]]:
    """Checks by name, ready for JSON."""
    return {name: asdict(check) for name, check in checks.items()}
