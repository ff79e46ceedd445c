"""The hunt between two linear networks whose region of disagreement is known."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeguard.attacks.divergence import Pair, difference, hunt, margins, straddle
from edgeguard.attacks.losses import margin

T = 32


class Threshold(nn.Module):
    """Class 1 where the record's mean exceeds a level, microvolts."""

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.tensor(level))

    def forward(self, ecg: Tensor) -> Tensor:
        above = ecg.mean((1, 2)) - self.level
        return torch.stack([-above, above], 1)


def batch(level: float) -> tuple[Tensor, Tensor, Tensor]:
    """Six records of class 0 around a mean of `level`, every second half padded."""
    ecg = torch.full((6, 1, T), level)
    mask = torch.ones(6, 1, T, dtype=torch.bool)
    mask[::2, :, T // 2 :] = False
    return ecg * mask, torch.zeros(6, dtype=torch.int64), mask


def test_losses_by_hand():
    logits = torch.tensor([[3.0, 1.0, 0.0, 2.0], [1.0, 3.0, 1.0, 5.0], [3.0, 1.0, 4.0, 1.0]])
    labels = torch.zeros(3, dtype=torch.int64)
    right, wrong = margins(logits, labels)
    assert right.tolist() == [-2, 2, -2] and wrong.tolist() == [2, 4, -3]
    assert difference(logits, labels).tolist() == [4, 2, -1]
    # Above zero on the first record alone, where one is right and the other wrong.
    assert straddle(logits, labels).tolist() == [2, -2, -3]


def test_a_pair_is_both_networks():
    one, other = Threshold(1.0), Threshold(2.0)
    ecg, labels, _ = batch(1.5)
    right, wrong = margins(Pair(one, other)(ecg), labels)
    assert torch.equal(right, margin(one(ecg), labels)) and torch.equal(wrong, margin(other(ecg), labels))


@pytest.mark.parametrize("shape", ["pgd", "sap"])
@pytest.mark.parametrize("seed", [None, 0])
def test_the_gap_between_two_thresholds_is_found(shape: str, seed: int | None):
    """Wrong above 5 and right below 5.4; the records lie at 2, so that a rise by 3 to 3.4 is a divergence."""
    ecg, labels, mask = batch(2.0)
    right, wrong = Threshold(5.4), Threshold(5.0)
    full = mask.all(2)[:, 0]
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    found = hunt(right, wrong, ecg, labels, mask, eps=6.0, shape=shape, generator=generator)
    with torch.no_grad():
        assert (margin(right(found), labels) < 0).all()
        assert (margin(wrong(found), labels) > 0)[full].all()
    assert (found - ecg).abs().max() <= 6 and torch.equal(found[~mask], ecg[~mask])


def test_the_difference_alone_overshoots():
    """Of two networks with different slopes the difference grows beyond the point where both are wrong."""

    class Steep(Threshold):
        def forward(self, ecg: Tensor) -> Tensor:
            return 3 * super().forward(ecg)

    ecg, labels, mask = batch(4.0)
    right, wrong, full = Threshold(6.0), Steep(5.0), mask.all(2)[:, 0]
    for loss, diverges in ((straddle, True), (difference, False)):
        found = hunt(right, wrong, ecg, labels, mask, eps=4.0, loss=loss)
        with torch.no_grad():
            hit = (margin(right(found), labels) < 0) & (margin(wrong(found), labels) > 0)
        assert bool(hit[full].all()) is diverges and bool(hit[full].any()) is diverges


def test_nothing_is_found_where_nothing_is_and_networks_are_left_alone():
    ecg, labels, mask = batch(0.0)
    same = Threshold(3.0).train()
    found = hunt(same, same, ecg, labels, mask, eps=5.0)
    with torch.no_grad():
        assert (straddle(Pair(same, same)(found), labels) <= 0).all()
    assert same.training and same.level.requires_grad and same.level.grad is None
    assert np.isfinite(found.numpy()).all()
