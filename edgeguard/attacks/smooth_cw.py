"""A white-box attack that asks for little roughness beside a wrong class: the smooth Carlini-Wagner attack.

Chen et al., "ECGadv: Generating Adversarial Electrocardiogram to Misguide Arrhythmia Classification
System" (AAAI 2020, arXiv 1901.03808): Carlini and Wagner's objective with the variance of the perturbation's first
difference in the place of its length, by Adam, with a search for the weight between the two.
"""

import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import crafting
from edgeguard.attacks.losses import hard_labels, margin, stretched

_FACTOR = 10.0
# A hundredth of the range of the logits lies between "fooled" and what whole microvolts and int8 codes may undo.
CONFIDENCE = 0.1


def smooth_cw(
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    eps: float | None = None,
    targets: Tensor | None = None,
    alpha: float = 1.0,
    steps: int = 40,
    searches: int = 3,
    weight: float = 100.0,
    confidence: float = CONFIDENCE,
) -> Tensor:
    """Adversarial ecg [B, 1, T], as smooth as the attack finds it.

    Minimises weight * hinge + roughness, where the hinge is how far the logits are from a wrong class, or from the
    targets. The logits are stretched to a range of 10 first, so that a network of large logits cannot hide its
    gradient. Each search multiplies a record's weight by ten where it is not fooled yet and divides it by ten where
    it is, as long as the search has not yet gone both ways, then halves the gap on the scale of logarithms.
    Returned is a record's smoothest fooling iterate; where none fools, the one nearest to it.

    Args:
        model, ecg, labels, mask: as in `pgd`.
        eps: largest perturbation, microvolts; every iterate is clipped to it. None: no bound.
        targets: int64 [B], classes to reach; any wrong class by default.
        alpha: Adam's learning rate, microvolts.
        steps: Adam steps a search.
        searches: of the weight.
        weight: of the hinge in the first search, in square microvolts of roughness for a tenth of the logits' range.
        confidence: hinge beyond the boundary, of a range of 10.
    """
    wrong = None if targets is None else hard_labels(targets)
    right = hard_labels(labels)

    def deficit(logits: Tensor) -> Tensor:
        """[B]: at most zero where the record is fooled."""
        logits = stretched(logits)
        return -margin(logits, right) if wrong is None else margin(logits, wrong)

    best = _Best(ecg)
    low, high = torch.zeros(len(ecg)).to(ecg), torch.full((len(ecg),), torch.inf).to(ecg)
    weights = torch.full((len(ecg),), weight).to(ecg)
    with crafting(model, ecg.device.type) as forward:
        for _ in range(searches):
            delta = torch.zeros_like(ecg).requires_grad_(True)
            optimizer = torch.optim.Adam([delta], lr=alpha)
            fooled = torch.zeros(len(ecg), dtype=torch.bool, device=ecg.device)
            for step in range(steps + 1):
                with torch.enable_grad():
                    lack = deficit(forward(ecg + delta))
                    rough = roughness(delta, mask)
                    (weights * (lack + confidence).clamp_min(0) + rough).sum().backward()
                fooled |= best.offer(delta, lack, rough, confidence)
                if step == steps:
                    break
                optimizer.step()
                optimizer.zero_grad()
                with torch.no_grad():
                    delta *= mask
                    if eps is not None:
                        delta.clamp_(-eps, eps)
            low, high = torch.where(fooled, low, weights), torch.where(fooled, weights, high)
            weights = torch.where(
                high.isinf(), low * _FACTOR, torch.where(low == 0, high / _FACTOR, (low * high).sqrt())
            )
    return ecg + best.delta


def roughness(delta: Tensor, mask: Tensor) -> Tensor:
    """[B]: variance of a perturbation's first difference over real samples, square microvolts (Chen et al. 2020).

    Args:
        delta: [B, 1, T], microvolts.
        mask: bool [B, 1, T], False on padding.
    """
    real = mask[..., 1:] & mask[..., :-1]
    count = real.sum((1, 2)).clamp_min(1)
    difference = (delta[..., 1:] - delta[..., :-1]) * real
    mean = difference.sum((1, 2)) / count
    return (difference**2).sum((1, 2)) / count - mean**2


class _Best:
    """Each record's best perturbation so far: the smoothest that fools with confidence, else the nearest to it."""

    def __init__(self, ecg: Tensor) -> None:
        self.delta = torch.zeros_like(ecg)
        self._lack = torch.full((len(ecg),), torch.inf).to(ecg)
        self._rough = torch.full((len(ecg),), torch.inf).to(ecg)

    @torch.no_grad()
    def offer(self, delta: Tensor, lack: Tensor, rough: Tensor, confidence: float) -> Tensor:
        """Keep what is better; bool [B]: fooled with confidence."""
        lack = (lack + confidence).clamp_min(0)
        better = (lack < self._lack) | ((lack == self._lack) & (rough < self._rough))
        self.delta = torch.where(better[:, None, None], delta, self.delta)
        self._lack = torch.where(better, lack, self._lack)
        self._rough = torch.where(better, rough, self._rough)
        return lack == 0
