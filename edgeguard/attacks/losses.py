"""What an attack maximises and a training minimises: one value a record, from logits."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, C], labels int64 [B] or probabilities [B, C]) to [B]."""


def cross_entropy(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """[B]: -sum_i Y_i log softmax(z / T)_i for hard or soft labels (ADT paper, eq. 1 to 4)."""
    return F.cross_entropy(logits / temperature, labels, reduction="none")


def margin(logits: Tensor, labels: Tensor) -> Tensor:
    """[B]: the best wrong logit less the right one; above zero where the network is fooled (Carlini & Wagner 2017).

    Soft labels count as their most likely class.
    """
    hard = labels.argmax(1) if labels.is_floating_point() else labels
    right = logits.gather(1, hard[:, None])[:, 0]
    wrong = logits.scatter(1, hard[:, None], -torch.inf).max(1).values
    return wrong - right


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin}
