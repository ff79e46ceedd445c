"""One batch of training records."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Records of one step.

    Attributes:
        ecg: float32 [B, 1, T], microvolts.
        mask: bool [B, 1, T], False on padding.
        target: what is learnt: labels int64 [B], or probabilities float32 [B, C].
        share: [B, 1, 1], the part of eps that a record is attacked with; None: all of it.
    """

    ecg: Tensor
    mask: Tensor
    target: Tensor
    share: Tensor | None = None
