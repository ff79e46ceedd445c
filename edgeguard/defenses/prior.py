"""Class frequencies: what oversampling has taught a network too much of is taken back after training.

A network trained on copies of rare classes expects them as often in use. Adding log(true / trained frequency) to its
logits corrects that exactly where it has learnt probabilities (Saerens et al. 2002; Menon et al. 2021, eq. 9).
"""

import numpy as np
import torch
from torch import nn

from edgeguard.errors import InputError


def final_linear(model: nn.Module, classes: int) -> nn.Linear:
    """The layer that computes the logits; InputError where the last linear layer cannot be it."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not layers or layers[-1].out_features != classes or layers[-1].bias is None:
        raise InputError("--prior: the network does not end in a linear layer with a bias; use --prior 0")
    return layers[-1]


def restore_prior(
    model: nn.Module, labels: np.ndarray, trained: np.ndarray, true: np.ndarray, *, classes: int, strength: float
) -> None:
    """Move the final bias from the class frequencies of `trained` towards those of `true`, by `strength`.

    Args:
        labels: int64 [N] of the whole data set.
        trained: record indices of one epoch, copies included.
        true: record indices of the training part.
        strength: 0 leaves the network, 1 restores the frequencies of the training part.

    Raises InputError for a network without a final linear layer.
    """
    last = final_linear(model, classes)
    was, real = (np.bincount(labels[index], minlength=classes) / len(index) for index in (trained, true))
    # A class without records has been taught nothing, and is left alone.
    step = np.log(np.where(was > 0, real, 1.0) / np.where(was > 0, was, 1.0))
    with torch.no_grad():
        last.bias.add_(strength * torch.as_tensor(step, dtype=last.bias.dtype, device=last.bias.device))
