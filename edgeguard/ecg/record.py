"""What a recording is, and the conventions that every part of EdgeGuard shares."""

from dataclasses import dataclass

import numpy as np

CLASSES = ("N", "A", "O", "~")
"""Normal, atrial fibrillation, other rhythm, noise: the order of logits and labels."""

CLASS_NAMES = {"N": "Normal", "A": "AF", "O": "Other", "~": "Noise"}
ALARM = "A"
"""Class that a watch announces, and whose sensitivity and false alarms are told beside every accuracy."""
SAMPLING_RATE = 300.0
WINDOW = 9000
"""Samples of one window: 30 s at 300 Hz."""


@dataclass(frozen=True)
class Record:
    """One single-lead recording.

    Attributes:
        name: identifier, unique in its source.
        ecg: float32 [L], microvolts.
        sampling_rate: hertz.
        label: one of CLASSES, or None where unknown.
    """

    name: str
    ecg: np.ndarray
    sampling_rate: float = SAMPLING_RATE
    label: str | None = None
