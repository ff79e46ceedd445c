"""Does a file say what the network says? torch against its float file, and the float file against the int8 one."""

import numpy as np
import torch
from torch import nn

from edgeguard.export.rung import Rung
from edgeguard.runtime.session import OnnxModel

LOGIT_TOLERANCE = 1e-3
"""Largest difference of logits, torch against ONNX Runtime in float, relative to the largest logit (at least 1)."""
LABEL_AGREEMENT = 0.9
"""Least share of windows on which int8 and float files name the same class."""


def float_parity(model: nn.Module, file: OnnxModel, ecg: np.ndarray) -> Rung:
    """Logits of the torch network against those of its float file on windows [B, 1, T]."""
    with torch.no_grad():
        expected = torch.cat([model(part) for part in torch.from_numpy(ecg).split(64)]).numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    difference = float(np.abs(expected - file.outputs(ecg)).max()) / scale
    meaning = f"largest relative logit difference on {len(ecg)} windows, torch and float graph"
    return Rung("torch_fp32", difference <= LOGIT_TOLERANCE, difference, meaning)


def folded_parity(file: OnnxModel, folded: OnnxModel, ecg: np.ndarray) -> Rung:
    """What a float file gives against what its folded graph gives on windows [B, 1, T]."""
    expected = file.outputs(ecg)
    difference = float(np.abs(expected - folded.outputs(ecg)).max()) / max(1.0, float(np.abs(expected).max()))
    meaning = f"largest relative logit difference on {len(ecg)} windows, the float file and its folded graph"
    return Rung("folded", difference <= LOGIT_TOLERANCE, difference, meaning)


def int8_parity(fp32: OnnxModel, int8: OnnxModel, ecg: np.ndarray) -> Rung:
    """Share of windows on which both files name the same class."""
    agreement = float((fp32.labels(ecg) == int8.labels(ecg)).mean())
    meaning = f"share of {len(ecg)} windows with equal class, fp32 and int8"
    if agreement >= LABEL_AGREEMENT:
        return Rung("fp32_int8", True, agreement, meaning)
    mend = f"{LABEL_AGREEMENT:g} needed; rank calibrations (auto), use 16 input bits, or exclude nodes"
    return Rung("fp32_int8", False, agreement, meaning, mend)
