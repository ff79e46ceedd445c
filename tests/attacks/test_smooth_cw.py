"""The smooth C&W attack: within eps, never on padding, smoother than signed steps, and not stopped by large logits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeguard.attacks.gradient import pgd
from edgeguard.attacks.losses import margin
from edgeguard.attacks.smooth_cw import roughness, smooth_cw

T = 60
Batch = tuple[Tensor, Tensor, Tensor]


class Prototypes(nn.Module):
    """Logits: correlation with four slow waves, times a factor."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        time = torch.arange(T) / T
        waves = torch.stack([torch.sin(2 * torch.pi * (k + 1) * time) for k in range(4)])
        self.waves = nn.Parameter(waves / T)
        self.factor = factor

    def forward(self, ecg: Tensor) -> Tensor:
        return self.factor * (ecg[:, 0] @ self.waves.T)


@pytest.fixture
def batch() -> Batch:
    """(ecg, labels, mask): two records of each class, 6 uV of its wave on nothing; half of them padded."""
    labels = torch.arange(8) % 4
    mask = torch.ones(8, 1, T, dtype=torch.bool)
    mask[4:, :, :10] = False
    waves = Prototypes().waves.detach() * T
    return 6 * waves[labels][:, None] * mask, labels, mask


def fooled(model: nn.Module, ecg: Tensor, labels: Tensor) -> Tensor:
    return model(ecg).argmax(1) != labels


def test_the_roughness_is_numpys_variance_of_the_first_difference(batch: Batch):
    mask = batch[2]
    delta = torch.from_numpy(np.random.default_rng(0).normal(0, 5, (8, 1, T))) * mask
    expected = [np.var(np.diff(row[real].numpy())) for row, real in zip(delta, mask, strict=True)]
    np.testing.assert_allclose(roughness(delta, mask), expected, rtol=1e-12)
    ramp = torch.arange(T).expand(8, 1, T).double()
    assert roughness(3 * ramp, torch.ones_like(mask)).abs().max() < 1e-9
    assert roughness(ramp, torch.zeros_like(mask)).tolist() == [0] * 8


def test_every_record_is_fooled_within_eps_and_padding_stays(batch: Batch):
    model, (ecg, labels, mask) = Prototypes(), batch
    before = ecg.clone()
    assert not fooled(model, ecg, labels).any()
    attacked = smooth_cw(model, ecg, labels, mask, eps=8.0)
    assert fooled(model, attacked, labels).all() and torch.equal(ecg, before)
    assert (attacked - ecg).abs().max() <= 8 + 1e-5 and not (attacked - ecg)[~mask].any()
    assert all(p.grad is None and p.requires_grad for p in model.parameters()) and model.training


def test_it_is_smoother_than_signed_steps(batch: Batch):
    model, (ecg, labels, mask) = Prototypes(), batch
    signed = pgd(model, ecg, labels, mask, eps=8, alpha=1, steps=20, loss=margin)
    smooth = smooth_cw(model, ecg, labels, mask, eps=8.0, steps=80)
    assert (fooled(model, signed, labels) & fooled(model, smooth, labels)).all()
    assert (roughness(smooth - ecg, mask) < roughness(signed - ecg, mask)).all()


@pytest.mark.parametrize("target", range(4))
def test_a_target_is_reached(batch: Batch, target: int):
    model, (ecg, labels, mask) = Prototypes(), batch
    targets = torch.full_like(labels, target)
    attacked = smooth_cw(model, ecg, labels, mask, targets=targets, alpha=2.0)
    assert model(attacked).argmax(1).tolist() == [target] * 8


def test_large_logits_hide_nothing(batch: Batch):
    """A factor of 2^20, under which cross-entropy has no gradient, changes the attack in nothing."""
    ecg, labels, mask = batch
    found = [smooth_cw(Prototypes(factor), ecg, labels, mask, eps=8.0, steps=10) for factor in (1.0, 2.0**20)]
    torch.testing.assert_close(*found)


def test_a_fooled_record_needs_no_perturbation(batch: Batch):
    model, (ecg, labels, mask) = Prototypes(), batch
    wrong = (labels + 1) % 4
    assert torch.equal(smooth_cw(model, ecg, wrong, mask, eps=8.0, steps=5), ecg)


@given(eps=st.floats(0, 6), steps=st.integers(0, 6), searches=st.integers(1, 3), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_nothing_leaves_the_ball(eps: float, steps: int, searches: int, seed: int):
    rng = np.random.default_rng(seed)
    ecg = torch.from_numpy(rng.normal(0, 20, (3, 1, T))).float()
    mask, labels = torch.from_numpy(rng.random((3, 1, T)) < 0.8), torch.from_numpy(rng.integers(0, 4, 3))
    attacked = smooth_cw(Prototypes(), ecg, labels, mask, eps=eps, alpha=5.0, steps=steps, searches=searches)
    assert (attacked - ecg).abs().max() <= eps + 1e-5 and not (attacked - ecg)[~mask].any()


def test_more_searches_are_smoother_and_no_weaker(batch: Batch):
    model, (ecg, labels, mask) = Prototypes(), batch
    one, five = (smooth_cw(model, ecg, labels, mask, steps=40, searches=k, weight=100.0) for k in (1, 5))
    assert (fooled(model, five, labels) >= fooled(model, one, labels)).all()
    assert (roughness(five - ecg, mask) <= roughness(one - ecg, mask)).all()
    assert (roughness(five - ecg, mask) < roughness(one - ecg, mask)).any()
