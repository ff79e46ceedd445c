"""One crafting run looked at on the way equals as many separate attacks, bit for bit."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeguard.attacks import gradient, snapshots
from edgeguard.attacks.gradient import pgd_path, sap
from edgeguard.attacks.losses import cross_entropy, margin
from edgeguard.attacks.smoothing import smooth, taps_like
from edgeguard.attacks.snapshots import sap_snapshots, smoothed_ecg
from edgeguard.models import build

T = 3000
Batch = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """An untrained edge-s: its gradients change sign from step to step, as those of a trained one do."""
    return build("edge-s", seed=3).eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    """(ecg, labels, mask) of four records, two of them padded."""
    rng = np.random.default_rng(1)
    ecg, mask = rng.integers(-300, 300, (4, 1, T)), np.ones((4, 1, T), bool)
    mask[1, :, :700], mask[2, :, -500:] = False, False
    return torch.from_numpy((ecg * mask).astype(np.float32)), torch.tensor([0, 1, 2, 3]), torch.from_numpy(mask)


def end_of_pgd(model: nn.Module, batch: Batch, **options: Any) -> Tensor:
    settings = {"eps": 10.0, "alpha": 1.0, "loss": cross_entropy, **options}
    return pgd_path(model, *batch, steps=5, start=None, best=False, **settings)[0]


@pytest.mark.parametrize("options", [{}, {"alpha": 1.25}, {"loss": margin}, {"eps": 3.0}])
@pytest.mark.parametrize("kernels", ["nest25", "zip5"])
def test_snapshots_equal_separate_attacks(
    model: nn.Module, batch: Batch, options: dict[str, Any], kernels: str
) -> None:
    ecg, _, mask = batch
    start = end_of_pgd(model, batch, **options)
    found = sap_snapshots(model, *batch, start, after=(2, 7, 4), kernels=kernels, **options)
    assert list(found) == [2, 4, 7]
    for steps, delta in found.items():
        apart = sap(model, *batch, steps=5, smooth_steps=steps, kernels=kernels, **options)
        assert torch.equal(smoothed_ecg(ecg, delta, mask, kernels), apart)
    assert not torch.equal(found[4], found[7])


def test_no_smooth_step_leaves_the_end_of_pgd(model: nn.Module, batch: Batch) -> None:
    ecg, _, mask = batch
    start = end_of_pgd(model, batch)
    found = sap_snapshots(model, *batch, start, after=(0,))
    assert torch.equal(found[0], start)
    assert torch.equal(smoothed_ecg(ecg, found[0], mask), ecg + smooth(start * mask, taps_like(ecg)) * mask)


def test_the_longest_attack_alone_costs(model: nn.Module, batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = []

    def counting(*arguments: Any) -> Any:
        steps.append(1)
        return gradient.loss_and_gradient(*arguments)

    monkeypatch.setattr(snapshots, "loss_and_gradient", counting)
    start = torch.zeros_like(batch[0])
    assert sap_snapshots(model, *batch, start, after=()) == {}
    assert not steps
    sap_snapshots(model, *batch, start, after=(1, 5, 3))
    assert len(steps) == 5
