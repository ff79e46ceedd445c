"""What an attack maximises and a training minimises: one value a record, from logits."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, C], labels int64 [B] or probabilities [B, C]) to [B]."""

# Far from saturation, 1 - softmax is exact in float32, yet a class out of reach hardly counts: its share is e^-10.
_RANGE = 10.0
# Equal logits have no range to divide by.
_LEAST_RANGE = 1e-6


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


def rescaled(logits: Tensor, labels: Tensor) -> Tensor:
    """[B]: cross-entropy on logits stretched or shrunk until each record's largest and smallest are 10 apart.

    A network whose logits are all large saturates the softmax, and the float32 gradient of its cross-entropy is then
    zero although the network is as easy to fool as before; dividing the logits by a constant brings the gradient back
    (Carlini & Wagner 2016, arXiv 1607.04311). Here the constant is each record's own range, so that the attack is the
    same whatever the factor on the logits; it is not differentiated, so the direction is that of cross-entropy.
    """
    top, bottom = logits.detach().amax(1, keepdim=True), logits.detach().amin(1, keepdim=True)
    scale = _RANGE / (top - bottom).clamp_min(_LEAST_RANGE)
    return cross_entropy((logits - top) * scale, labels)


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin, "rescaled": rescaled}
