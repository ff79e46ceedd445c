"""Auto-PGD against networks whose strongest perturbation is known, and against its paper's own schedule."""

import pytest
import torch
from torch import Tensor, nn

from edgeguard.attacks.apgd import apgd, checkpoints
from edgeguard.attacks.gradient import pgd
from edgeguard.attacks.losses import cross_entropy, margin
from edgeguard.attacks.smoothing import smooth, taps_like

T, EPS = 64, 3.0


class Linear(nn.Module):
    """Logits w x and -w x; counts what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(T, generator=torch.Generator().manual_seed(3)) / T)
        self.asked = 0

    def forward(self, ecg: Tensor) -> Tensor:
        self.asked += len(ecg)
        z = ecg[:, 0] @ self.weight
        return torch.stack([z, -z], 1)


class Ravine(nn.Module):
    """Class 1 wins in a narrow ravine beside the record, which steps of one size jump over."""

    def forward(self, ecg: Tensor) -> Tensor:
        z = 100 * (ecg[:, 0, 0] - 0.37) ** 2 + (ecg[:, 0, 1:] ** 2).sum(1)
        return torch.stack([z, torch.full_like(z, 0.05)], 1)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """(ecg, labels, mask) of five records; two are padded."""
    ecg = torch.randn(5, 1, T, generator=torch.Generator().manual_seed(0)) * 50
    mask = torch.ones(5, 1, T, dtype=torch.bool)
    mask[1, :, :9], mask[4, :, -20:] = False, False
    return ecg * mask, torch.tensor([0, 1, 0, 1, 0]), mask


@pytest.mark.parametrize("kernels", [None, "nest25"])
@pytest.mark.parametrize("loss", [cross_entropy, margin])
def test_on_a_linear_network_it_ends_at_the_closed_form(
    batch: tuple[Tensor, Tensor, Tensor], kernels: str | None, loss
) -> None:
    """Every sample at the edge, against the weight's sign; in SAP's space before the smoothing."""
    (ecg, labels, mask), network = batch, Linear()
    found = apgd(network, ecg, labels, mask, eps=EPS, steps=12, loss=loss, kernels=kernels)
    away = torch.where(labels == 0, -1.0, 1.0)[:, None, None] * network.weight.detach() * mask
    if kernels is None:
        expected = EPS * away.sign()
    else:
        taps = taps_like(ecg, kernels)
        expected = smooth(EPS * (smooth(away, taps) * mask).sign(), taps) * mask
    torch.testing.assert_close(found - ecg, expected, atol=1e-4, rtol=0)
    assert (found - ecg).abs().max() <= EPS + 1e-4 and torch.equal(found[~mask], ecg[~mask])


def test_it_halves_its_step_where_one_size_jumps_over(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    """At the record the right class leads by far; the wrong one needs a sample within 0.02 uV of 0.37."""
    ecg, labels, mask = torch.zeros(1, 1, 4), torch.tensor([0]), torch.ones(1, 1, 4, dtype=torch.bool)
    options = dict(eps=1.0, steps=60, loss=margin)
    adaptive = apgd(Ravine(), ecg, labels, mask, **options)
    constant = pgd(Ravine(), ecg, labels, mask, alpha=2.0, best=True, **options)
    assert margin(Ravine()(adaptive), labels) > 0 > margin(Ravine()(constant), labels)


def test_it_takes_as_many_gradients_as_steps_and_one_look(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    (ecg, labels, mask), network = batch, Linear()
    apgd(network, ecg, labels, mask, eps=EPS, steps=7)
    assert network.asked == 8 * len(ecg)
    assert torch.equal(apgd(network, ecg, labels, mask, eps=EPS, steps=0), ecg)
    assert torch.equal(apgd(network, ecg, labels, mask, eps=0.0, steps=5), ecg)


def test_a_records_result_is_its_own(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    ecg, labels, mask = batch
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(1, 3, 9, stride=5), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)).double()
    start = EPS * (torch.rand(ecg.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1).double()
    options = dict(eps=EPS, steps=20)
    whole = apgd(network, ecg.double(), labels, mask, start=start, **options)
    for row in range(len(ecg)):
        one = slice(row, row + 1)
        alone = apgd(network, ecg[one].double(), labels[one], mask[one], start=start[one], **options)
        reached = [cross_entropy(network(found), labels[one]) for found in (alone, whole[one])]
        torch.testing.assert_close(*reached, rtol=1e-3, atol=0)
    begun = ecg.double() + start * mask
    assert (cross_entropy(network(whole), labels) > cross_entropy(network(begun), labels)).all()


def test_checkpoints_are_the_papers() -> None:
    """p = 0, .22, then each period .03 shorter than the one before, .06 at least (section 4.1), of 100 steps."""
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    for steps in (1, 5, 8, 25):
        assert checkpoints(steps) == sorted(set(checkpoints(steps))) and all(
            0 < at < steps for at in checkpoints(steps)
        )
