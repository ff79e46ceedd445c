"""The divergence hunt: records inside the eps ball that one network gets right and its supposed equal gets wrong.

An export that keeps its accuracy may still answer otherwise than the network that was tested. Such inputs lie near the
decision boundary of both, so the hunt climbs to where the two margins have opposite signs.
"""

import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import pgd, sap, uniform_start
from edgeguard.attacks.losses import Loss, margin

SHAPES = ("pgd", "sap")


class Pair(nn.Module):
    """Two networks as one: ecg [B, 1, T] to the logits [B, 2C] of the one to keep right, then of the one to mislead."""

    def __init__(self, right: nn.Module, wrong: nn.Module) -> None:
        super().__init__()
        self.right = right
        self.wrong = wrong

    def forward(self, ecg: Tensor) -> Tensor:
        return torch.cat([self.right(ecg), self.wrong(ecg)], 1)


def margins(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """(of the network to keep right [B], of the one to mislead [B]): `losses.margin` of either half of [B, 2C]."""
    right, wrong = logits.chunk(2, dim=1)
    return margin(right, labels), margin(wrong, labels)


def difference(logits: Tensor, labels: Tensor) -> Tensor:
    """[B]: the misled network's margin less the other's, of logits [B, 2C].

    The loss of DIVA (Hao et al. 2022, arXiv 2204.10933) with margins for probabilities.
    """
    right, wrong = margins(logits, labels)
    return wrong - right


def straddle(logits: Tensor, labels: Tensor) -> Tensor:
    """[B]: above zero exactly where the one network is right and the other wrong, of logits [B, 2C].

    The smaller of the misled network's margin and of the other's, negated. Where both agree it is the distance from
    the boundary, which it climbs to first; `difference` may grow far from any boundary.
    """
    right, wrong = margins(logits, labels)
    return torch.minimum(wrong, -right)


def hunt(
    right: nn.Module,
    wrong: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    eps: float = 10.0,
    steps: int = 40,
    shape: str = "pgd",
    loss: Loss = straddle,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Candidates [B, 1, T] within eps microvolts of `ecg` that `right` classifies rightly and `wrong` wrongly.

    Signed steps that shrink as a cosine from eps / 4 on; each record's iterate of highest loss. Whether a candidate
    is a divergence is for the deployed files to say.

    Args:
        right, wrong: networks from [B, 1, T] microvolts to logits [B, C], such as a file's twin and its float parent.
        labels: int64 [B].
        mask: bool [B, 1, T], False on padding; the perturbation is zero there.
        shape: `pgd` or `sap`, whose steps are half before and half after smoothing.
        generator: of a uniform start; without it the hunt starts at the record.
    """
    pair = Pair(right, wrong)
    start = None if generator is None else uniform_start(ecg, eps, generator)
    if shape == "sap":
        before = steps // 2
        return sap(
            pair, ecg, labels, mask, eps=eps, alpha=eps / 4, steps=before, smooth_steps=steps - before,
            loss=loss, start=start, best=True, schedule="cosine",
        )  # fmt: skip
    return pgd(
        pair,
        ecg,
        labels,
        mask,
        eps=eps,
        alpha=eps / 4,
        steps=steps,
        loss=loss,
        start=start,
        best=True,
        schedule="cosine",
    )
