"""What an attack maximises and a training minimises: one value a record, from logits."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from edgeguard.errors import InputError, unknown

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
    hard = hard_labels(labels)
    right = logits.gather(1, hard[:, None])[:, 0]
    wrong = logits.scatter(1, hard[:, None], -torch.inf).max(1).values
    return wrong - right


def dlr(logits: Tensor, labels: Tensor) -> Tensor:
    """[B]: `margin` in units of the gap between the largest and the third largest logit (Croce & Hein 2020, eq. 6).

    The difference of logits ratio sees neither a factor on the logits nor a shift (arXiv 2003.01690). Three classes
    or more; where the three largest logits are equal the gap counts as 1e-6, so that value and gradient are finite.
    Soft labels count as their most likely class.
    """
    largest = logits.topk(3, dim=1).values
    return margin(logits, labels) / (largest[:, 0] - largest[:, 2]).clamp_min(_LEAST_RANGE)


def targeted_dlr(targets: Tensor) -> Loss:
    """The loss [B] that leads towards classes `targets` int64 [B] (Croce & Hein 2020, eq. 7).

    The target's logit less the right one, in units of the gap between the largest logit and the mean of the third and
    the fourth largest; of three classes, the third. Where these are equal the gap counts as 1e-6.
    """

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        largest = logits.topk(min(4, logits.shape[1]), dim=1).values
        gap = (largest[:, 0] - largest[:, 2:].mean(1)).clamp_min(_LEAST_RANGE)
        rows = torch.arange(len(logits), device=logits.device)
        return (logits[rows, targets] - logits[rows, hard_labels(labels)]) / gap

    return loss


def rescaled(logits: Tensor, labels: Tensor) -> Tensor:
    """[B]: cross-entropy on logits stretched or shrunk until each record's largest and smallest are 10 apart.

    A network whose logits are all large saturates the softmax, and the float32 gradient of its cross-entropy is then
    zero although the network is as easy to fool as before; dividing the logits by a constant brings the gradient back
    (Carlini & Wagner 2016, arXiv 1607.04311). Here the constant is each record's own range, so that the attack is the
    same whatever the factor on the logits; it is not differentiated, so the direction is that of cross-entropy.
    """
    return cross_entropy(stretched(logits), labels)


def stretched(logits: Tensor) -> Tensor:
    """[B, C]: logits whose largest is 0 and whose smallest -10, record by record; shift and factor are constants."""
    top, bottom = logits.detach().amax(1, keepdim=True), logits.detach().amin(1, keepdim=True)
    return (logits - top) * (_RANGE / (top - bottom).clamp_min(_LEAST_RANGE))


def hard_labels(labels: Tensor) -> Tensor:
    """int64 [B]: hard labels as they are, soft ones [B, C] as their most likely class."""
    return labels.argmax(1) if labels.is_floating_point() else labels


LOSSES: dict[str, Loss] = {"ce": cross_entropy, "margin": margin, "dlr": dlr, "rescaled": rescaled}
LEAST_CLASSES = {"dlr": 3}
"""Loss -> classes that it needs, where two are not enough."""


def check_losses(names: Iterable[str], *, classes: int) -> None:
    """Raises InputError for a loss that does not exist, and for one that needs more classes."""
    for name in names:
        if name not in LOSSES:
            raise unknown("--loss", name, LOSSES)
        if classes < LEAST_CLASSES.get(name, 2):
            raise InputError(
                f"--loss {name}: needs {LEAST_CLASSES[name]} classes, the model has {classes}; take margin"
            )
