"""One step from a random start: exact on a linear network, smooth where it shall be, and what it must not do."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeguard.attacks.gradient import pgd
from edgeguard.attacks.losses import margin
from edgeguard.attacks.single_step import single_step
from edgeguard.attacks.smoothing import smoothing_taps

T = 600
RATE = 300


class Linear(nn.Module):
    """Two classes; the loss of class 0 rises along `v` wherever the record is."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(np.random.default_rng(seed).normal(size=(2, T))).float() / 50)

    @property
    def v(self) -> np.ndarray:
        return (self.weight[1] - self.weight[0]).detach().double().numpy()

    def forward(self, ecg: Tensor) -> Tensor:
        return ecg[:, 0] @ self.weight.T


class Convolutional(nn.Module):
    """Curved, with batch statistics and dropout that an attack might disturb."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv1d(1, 6, 7), nn.BatchNorm1d(6), nn.Tanh(), nn.Dropout(0.5))
            self.head = nn.Linear(6, 4)

    def forward(self, ecg: Tensor) -> Tensor:
        return self.head(self.body(ecg / 100).mean(-1))


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """(ecg, labels, mask) of four records in whole microvolts; two are padded."""
    rng = np.random.default_rng(1)
    mask = np.ones((4, 1, T), bool)
    mask[1, :, :90], mask[2, :, -200:] = False, False
    ecg = np.rint(rng.normal(0, 200, (4, 1, T))) * mask
    return torch.from_numpy(ecg.astype(np.float32)), torch.tensor([0, 1, 2, 3]), torch.from_numpy(mask)


def draws(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(*smoothly: bool) -> Tensor:
    return torch.tensor(smoothly)


@given(eps=st.integers(0, 30), noise=st.sampled_from([0.0, 0.5, 2.0]), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_linear_model_is_attacked_exactly(eps: int, noise: float, seed: int):
    """Raw and smooth row, padded, against numpy in float64; the start is redrawn from the same seed."""
    model = Linear(seed)
    ecg = torch.from_numpy(np.random.default_rng(9).integers(-500, 500, (2, 1, T))).float()
    mask = torch.ones(2, 1, T, dtype=torch.bool)
    mask[..., :40], mask[..., -7:] = False, False
    attacked = single_step(
        model,
        ecg,
        torch.zeros(2, dtype=torch.int64),
        mask,
        eps=eps,
        noise=noise,
        smooth_rows=rows(False, True),
        loss=margin,
        generator=draws(seed),
    )
    start = (torch.rand(2, T, generator=draws(seed)).double().numpy() * 2 - 1) * noise * eps
    real = mask[0, 0].numpy()
    taps = smoothing_taps()
    raw = (start[0] + eps * np.sign(model.v)) * real
    inner = np.convolve(model.v * real, taps, mode="same") * real
    smooth = np.convolve((start[1] + eps * np.sign(inner)) * real, taps, mode="same") * real
    np.testing.assert_allclose((attacked - ecg)[:, 0].numpy(), np.stack([raw, smooth]), atol=2e-4)


@given(noise=st.sampled_from([0.0, 1.0, 2.0, 3.5]), smoothly=st.lists(st.booleans(), min_size=4, max_size=4))
@settings(max_examples=15, deadline=None)
def test_it_stays_within_noise_and_step_and_off_the_padding(noise: float, smoothly: list[bool]):
    rng = np.random.default_rng(2)
    ecg = torch.from_numpy(np.rint(rng.normal(0, 200, (4, 1, T)))).float()
    mask = torch.from_numpy(rng.random((4, 1, T)) > 0.2)
    labels = torch.tensor([0, 1, 2, 3])
    attacked = single_step(
        Convolutional(), ecg, labels, mask, eps=10, noise=noise, smooth_rows=rows(*smoothly), generator=draws()
    )
    delta = attacked - ecg
    assert delta.abs().max() <= 10 * (1 + noise) + 1e-3
    assert delta.abs().amax((1, 2)).min() > 3
    assert torch.equal(attacked[~mask], ecg[~mask])
    assert attacked.dtype == torch.float32 and not attacked.requires_grad


def test_without_clip_it_leaves_the_ball_of_the_step(batch: tuple[Tensor, Tensor, Tensor]):
    raw = torch.zeros(4, dtype=torch.bool)
    attacked = single_step(Convolutional(), *batch, eps=10, smooth_rows=raw, generator=draws())
    assert (attacked - batch[0]).abs().max() > 29


def test_without_eps_and_noise_the_record_comes_back(batch: tuple[Tensor, Tensor, Tensor]):
    for noise in (0.0, 2.0):
        attacked = single_step(
            Convolutional(), *batch, eps=0, noise=noise, smooth_rows=rows(True, False, True, False), generator=draws()
        )
        assert torch.equal(attacked, batch[0])


def test_without_noise_a_raw_row_is_one_step_of_pgd(batch: tuple[Tensor, Tensor, Tensor]):
    model = Convolutional()
    raw = torch.zeros(4, dtype=torch.bool)
    attacked = single_step(model, *batch, eps=10, noise=0, smooth_rows=raw, generator=draws())
    assert torch.equal(attacked, pgd(model, *batch, eps=10, alpha=10, steps=1))


def test_records_do_not_see_each_other(batch: tuple[Tensor, Tensor, Tensor]):
    """A batch is its records one after the other, also in what they draw."""
    ecg, labels, mask = batch
    smoothly = rows(True, False, False, True)
    model = Convolutional()
    together = single_step(model, ecg, labels, mask, eps=10, smooth_rows=smoothly, generator=draws())
    generator = draws()
    for row in range(4):
        one = slice(row, row + 1)
        alone = single_step(
            model, ecg[one], labels[one], mask[one], eps=10, smooth_rows=smoothly[one], generator=generator
        )
        torch.testing.assert_close(alone, together[one], rtol=0, atol=1e-3)


def test_smooth_rows_hold_little_above_60_hz(batch: tuple[Tensor, Tensor, Tensor]):
    """The filter is 20 dB down at 55 Hz; a raw row keeps what noise and signs have there."""
    ecg, labels, _ = batch
    everywhere = torch.ones_like(ecg, dtype=torch.bool)
    smoothly = rows(True, True, False, False)
    attacked = single_step(Convolutional(), ecg, labels, everywhere, eps=10, smooth_rows=smoothly, generator=draws())
    energy = torch.fft.rfft((attacked - ecg)[:, 0].double()).abs().square()
    high = torch.fft.rfftfreq(T, 1 / RATE) > 60
    share = energy[:, high].sum(1) / energy.sum(1)
    assert share[smoothly].max() < 0.03
    assert share[~smoothly].min() > 0.2


@pytest.mark.parametrize("kernels", ["nest25", "zip5"])
def test_the_kernels_are_those_of_sap(kernels: str, batch: tuple[Tensor, Tensor, Tensor]):
    """With every gradient zero only the start is left, smoothed."""
    model = Linear()
    nn.init.zeros_(model.weight)
    ecg, _, mask = (part[:1] for part in batch)
    attacked = single_step(
        model,
        ecg,
        torch.zeros(1, dtype=torch.int64),
        mask,
        eps=5,
        noise=3,
        smooth_rows=rows(True),
        kernels=kernels,
        generator=draws(8),
    )
    start = (torch.rand(T, generator=draws(8)).double().numpy() * 2 - 1) * 15
    expected = np.convolve(start, smoothing_taps(kernels), mode="same")
    np.testing.assert_allclose((attacked - ecg)[0, 0].numpy(), expected, atol=2e-4)


def test_the_generator_alone_decides(batch: tuple[Tensor, Tensor, Tensor]):
    model, smoothly = Convolutional(), rows(True, True, False, False)
    before = torch.random.get_rng_state()
    first, again, other = (
        single_step(model, *batch, eps=10, smooth_rows=smoothly, generator=draws(seed)) for seed in (5, 5, 6)
    )
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_network_is_left_as_it_was(batch: tuple[Tensor, Tensor, Tensor]):
    model = Convolutional().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    single_step(model, *batch, eps=10, smooth_rows=rows(True, False, True, False), generator=draws())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
