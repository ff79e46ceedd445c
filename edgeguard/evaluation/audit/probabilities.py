"""What a file's output says of its certainty."""

from typing import Any

import numpy as np


def probabilities(output: Any) -> np.ndarray:
    """float64 [N, C]: the softmax of logits [N, C]; an output that is a distribution already stays as it is."""
    values = np.asarray(output, np.float64)
    if gives_probabilities(values):
        return values
    shifted = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(shifted / shifted.sum(1, keepdims=True))


def gives_probabilities(output: np.ndarray) -> bool:
    """Whether every row is a distribution: not below zero, and of sum 1."""
    return bool(len(output) and (output >= 0).all() and np.allclose(output.sum(1), 1, atol=1e-4))
