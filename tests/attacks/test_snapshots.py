"""One crafting run looked at on the way equals as many separate attacks, bit for bit."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeguard.attacks import gradient, snapshots
from edgeguard.attacks.gradient import pgd, sap
from edgeguard.attacks.losses import margin
from edgeguard.attacks.smoothing import smooth, taps_like
from edgeguard.attacks.snapshots import sap_snapshots
from edgeguard.models import build

T = 3000


@pytest.fixture(scope="module")
def model() -> nn.Module:
    """An untrained edge-s: its gradients change sign from step to step, as those of a trained one do."""
    return build("edge-s", seed=3).eval()


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """(ecg, labels, mask) of four records, two of them padded."""
    rng = np.random.default_rng(1)
    ecg, mask = rng.integers(-300, 300, (4, 1, T)), np.ones((4, 1, T), bool)
    mask[1, :, :700], mask[2, :, -500:] = False, False
    return torch.from_numpy((ecg * mask).astype(np.float32)), torch.tensor([0, 1, 2, 3]), torch.from_numpy(mask)


@pytest.mark.parametrize("options", [{}, {"alpha": 1.25}, {"kernels": "zip5", "loss": margin}, {"eps": 3.0}])
def test_snapshots_equal_separate_attacks(
    model: nn.Module, batch: tuple[Tensor, Tensor, Tensor], options: dict[str, Any]
) -> None:
    plain, found = sap_snapshots(model, *batch, after=(2, 7, 4), steps=5, **options)
    without_kernels = {name: value for name, value in options.items() if name != "kernels"}
    assert torch.equal(plain, pgd(model, *batch, steps=5, **without_kernels))
    assert list(found) == [2, 4, 7]
    for steps, ecg in found.items():
        assert torch.equal(ecg, sap(model, *batch, steps=5, smooth_steps=steps, **options))
    assert not torch.equal(found[4], found[7])


def test_no_smooth_step_is_the_end_of_pgd_smoothed_once(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> None:
    ecg, _, mask = batch
    plain, found = sap_snapshots(model, *batch, after=(0,), steps=3)
    # Whole microvolts: the perturbation is exact in float32.
    assert torch.equal(found[0], ecg + smooth(plain - ecg, taps_like(ecg)) * mask)


def test_nothing_after_pgd_costs_nothing(
    model: nn.Module, batch: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []

    def counting(*arguments: Any) -> Any:
        steps.append(1)
        return gradient_of(*arguments)

    gradient_of = gradient.loss_and_gradient
    monkeypatch.setattr(gradient, "loss_and_gradient", counting)
    monkeypatch.setattr(snapshots, "loss_and_gradient", counting)
    assert sap_snapshots(model, *batch, after=(), steps=3)[1] == {}
    assert len(steps) == 3
    sap_snapshots(model, *batch, after=(1, 5), steps=3)
    assert len(steps) == 3 + 3 + 5
