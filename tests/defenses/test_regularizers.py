"""Regularisers against finite differences, arithmetic by hand and plain loops, and what they must leave alone."""

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeguard.defenses.regularizers import jacobian_norm, logit_mse, noise_to_signal, within_margin
from edgeguard.models.cnn13 import StridedMaxPool
from edgeguard.models.registry import build

T, CLASSES = 30, 4
Batch = tuple[Tensor, Tensor, Tensor]
Regularizer = Callable[[nn.Module, Batch], Tensor]

REGULARIZERS: dict[str, Regularizer] = {
    "jacobian_norm": lambda model, batch: jacobian_norm(model, batch[0], batch[2], scale_uv=100.0),
    "noise_to_signal": lambda model, batch: noise_to_signal(model, *batch, eps_max=10.0),
}


class Millivolts(nn.Module):
    def forward(self, ecg: Tensor) -> Tensor:
        return ecg / 1000


class Linear(nn.Module):
    """Logits are `weight` times the samples."""

    def __init__(self, weight: list[list[float]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float64))

    def forward(self, ecg: Tensor) -> Tensor:
        return ecg[:, 0] @ self.weight.T


def network(kind: str) -> nn.Module:
    """Tiny, float64, with running statistics of its own; in train mode, as in the middle of a training step."""
    activation = {"smooth": nn.Tanh, "rectified": nn.ReLU}[kind]
    pool = {"smooth": nn.Identity, "rectified": StridedMaxPool}[kind]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = nn.Sequential(
            Millivolts(),
            nn.Conv1d(1, 4, 5, stride=2),
            nn.BatchNorm1d(4),
            activation(),
            pool(),
            nn.Dropout(0.5),
            nn.Conv1d(4, 3, 3),
            nn.BatchNorm1d(3),
            activation(),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(3, CLASSES),
        ).double()
        for norm in (model[2], model[7]):
            norm.running_mean.normal_(0, 0.1)
            norm.running_var.uniform_(0.3, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.uniform_(norm.bias, 0.2, 1)
    return model.train()


@pytest.fixture(params=["smooth", "rectified"])
def model(request: pytest.FixtureRequest) -> nn.Module:
    return network(request.param)


def deployed(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).eval()


def make_batch(model: nn.Module) -> Batch:
    """(ecg, labels, mask) of six records, padding at either side; the last two labels are wrong."""
    rng = np.random.default_rng(3)
    mask = np.ones((6, 1, T), bool)
    mask[1, :, :7], mask[4, :, -11:] = False, False
    ecg = torch.from_numpy(rng.normal(0, 900, (6, 1, T)) * mask)
    labels = deployed(model)(ecg).argmax(1)
    labels[4:] = (labels[4:] + 1) % CLASSES
    return ecg, labels, torch.from_numpy(mask)


@torch.no_grad()
def finite_differences(model: nn.Module, ecg: Tensor) -> Tensor:
    """Jacobian [B, C, T] of the deployed network, logits per microvolt, by central differences."""
    model, step = deployed(model), 1e-3
    columns = []
    for sample in range(ecg.shape[-1]):
        bump = torch.zeros_like(ecg)
        bump[..., sample] = step
        columns.append((model(ecg + bump) - model(ecg - bump)) / (2 * step))
    return torch.stack(columns, dim=-1)


@pytest.mark.parametrize("scale_uv", [1.0, 1000.0])
def test_jacobian_norm_is_that_of_finite_differences(model: nn.Module, scale_uv: float):
    ecg, _, mask = make_batch(model)
    jacobian = (finite_differences(model, ecg) * mask).numpy() * scale_uv
    expected = math.sqrt((jacobian**2).sum() + 1e-12) / (6 * CLASSES)
    assert expected > 1e-6 * scale_uv
    assert jacobian_norm(model, ecg, mask, scale_uv=scale_uv).item() == pytest.approx(expected, rel=1e-6)


def test_noise_to_signal_is_that_of_finite_differences(model: nn.Module):
    ecg, labels, mask = make_batch(model)
    jacobian, logits = finite_differences(model, ecg) * mask, deployed(model)(ecg).detach()
    terms = []
    for record in range(4):  # the correct ones
        label = int(labels[record])
        signal = logits[record, label].item()
        if signal > 0:
            terms.append(math.log(1 + 25 * jacobian[record, label].abs().sum().item() / (signal + 0.01)))
    assert len(terms) >= 2
    value = noise_to_signal(model, ecg, labels, mask, eps_max=25.0).item()
    assert value == pytest.approx(sum(terms) / 4, rel=1e-6)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_the_gradient_by_every_parameter_is_that_of_finite_differences(model: nn.Module, name: str):
    batch = make_batch(model)
    regularizer = REGULARIZERS[name]
    gradients = torch.autograd.grad(regularizer(model, batch), list(model.parameters()), allow_unused=True)
    assert sum(g.norm().item() > 1e-4 for g in gradients if g is not None) >= 5
    # gradcheck moves the parameters in place, so the network that the function closes over moves too.
    assert torch.autograd.gradcheck(
        lambda *_: regularizer(model, batch), tuple(model.parameters()), eps=1e-6, atol=1e-6, rtol=1e-4
    )


@pytest.mark.parametrize("arch", ["edge-s", "edge-m", "cnn13"])
def test_every_layer_of_a_real_network_is_regularised(arch: str):
    samples = 64 if arch == "cnn13" else 1980
    model = build(arch, classes=4, window=samples, seed=0).train()
    ecg = torch.from_numpy(np.random.default_rng(0).normal(0, 300, (2, 1, samples)).astype(np.float32))
    mask = torch.ones_like(ecg, dtype=torch.bool)
    with torch.no_grad():
        labels = deployed(model)(ecg).argmax(1)
    value = jacobian_norm(model, ecg, mask, scale_uv=1000.0) + noise_to_signal(model, ecg, labels, mask, eps_max=10.0)
    value.backward()
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all() and parameter.grad.abs().max() > 0, name


def test_the_jacobian_per_millivolt_is_a_thousand_times_that_per_microvolt(model: nn.Module):
    ecg, _, mask = make_batch(model)
    microvolt, millivolt = (jacobian_norm(model, ecg, mask, scale_uv=scale) for scale in (1.0, 1000.0))
    b_c = 6 * CLASSES
    squares = [(r * b_c).item() ** 2 - 1e-12 for r in (microvolt, millivolt)]
    assert squares[1] == pytest.approx(1e6 * squares[0], rel=1e-9)


def test_the_jacobian_of_a_batch_is_that_of_its_records(model: nn.Module):
    ecg, _, mask = make_batch(model)

    def sum_of_squares(ecg: Tensor, mask: Tensor) -> float:
        return (jacobian_norm(model, ecg, mask).item() * len(ecg) * CLASSES) ** 2 - 1e-12

    alone = [sum_of_squares(ecg[n : n + 1], mask[n : n + 1]) for n in range(6)]
    assert min(alone) > 0
    assert sum_of_squares(ecg, mask) == pytest.approx(sum(alone), rel=1e-9)


def test_the_noise_to_signal_of_a_batch_is_that_of_its_records(model: nn.Module):
    ecg, labels, mask = make_batch(model)
    one = [slice(n, n + 1) for n in range(6)]
    alone = [noise_to_signal(model, ecg[n], labels[n], mask[n], eps_max=10.0).item() for n in one]
    assert max(alone) > 0 and alone[4:] == [0, 0]
    value = noise_to_signal(model, ecg, labels, mask, eps_max=10.0).item()
    assert value == pytest.approx(sum(alone) / 4, rel=1e-9)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_modes_buffers_and_gradients_are_left_as_they_were(model: nn.Module, name: str):
    ecg, labels, mask = make_batch(model)
    model[7].eval()
    model[6].requires_grad_(False)
    modes = [module.training for module in model.modules()]
    trainable = [parameter.requires_grad for parameter in model.parameters()]
    buffers = {key: value.clone() for key, value in model.named_buffers()}
    REGULARIZERS[name](model, (ecg, labels, mask))
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == trainable
    assert all(torch.equal(buffers[key], value) for key, value in model.named_buffers())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not ecg.requires_grad


@pytest.mark.parametrize("name", REGULARIZERS)
def test_modes_are_put_back_after_an_error(name: str):
    model = network("smooth")
    model[7].eval()
    modes = [module.training for module in model.modules()]
    too_short = torch.zeros(2, 1, 3, dtype=torch.float64)
    with pytest.raises(RuntimeError):
        REGULARIZERS[name](model, (too_short, torch.tensor([0, 1]), too_short == 0))
    assert [module.training for module in model.modules()] == modes


@pytest.mark.parametrize("name", REGULARIZERS)
def test_autocast_changes_nothing(name: str):
    model = network("rectified").float()
    ecg, labels, mask = make_batch(network("rectified"))
    batch = ecg.float(), labels, mask
    with torch.autocast("cpu", torch.bfloat16):
        inside = REGULARIZERS[name](model, batch)
    exact = REGULARIZERS[name](network("rectified"), (ecg, labels, mask)).item()
    assert inside.dtype == torch.float32 and inside.item() == pytest.approx(exact, rel=1e-5)
    assert torch.equal(inside, REGULARIZERS[name](model, batch))


@pytest.mark.parametrize("name", REGULARIZERS)
def test_weights_that_only_see_padding_do_not_count(name: str):
    rng = np.random.default_rng(5)
    mask = torch.ones(2, 1, 6, dtype=torch.bool)
    mask[..., :2] = False
    ecg = torch.from_numpy(rng.normal(0, 1, (2, 1, 6))) * mask
    model = Linear(rng.normal(0, 1, (CLASSES, 6)).tolist())
    batch = ecg, model(ecg).argmax(1), mask
    value = REGULARIZERS[name](model, batch)
    (gradient,) = torch.autograd.grad(value, model.weight)
    assert value > 1e-3 and gradient[:, :2].abs().max() == 0 and (gradient[:, 2:] != 0).any()
    with torch.no_grad():
        model.weight[:, :2] += 50
    assert torch.equal(REGULARIZERS[name](model, batch), value)


def test_a_linear_jacobian_by_hand():
    """Each of two records has the squares 9 + 16 and 0 + 1, less the 16 of the second one's masked sample."""
    model = Linear([[3, 4], [0, 1]])
    mask = torch.tensor([[[True, True]], [[True, False]]])
    value = jacobian_norm(model, torch.zeros(2, 1, 2, dtype=torch.float64), mask)
    # (9 + 16 + 0 + 1) + (9 + 0) = 35; B C = 4
    assert value.item() == pytest.approx(math.sqrt(35) / 4, rel=1e-12)


@pytest.mark.parametrize("name", REGULARIZERS)
def test_a_constant_network_has_finite_gradients(name: str):
    model = network("smooth")
    nn.init.zeros_(model[-1].weight)
    batch = make_batch(model)
    value = REGULARIZERS[name](model, batch)
    assert value.item() == pytest.approx(1e-6 / (6 * CLASSES) if name == "jacobian_norm" else 0.0, abs=1e-15)
    value.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


WEIGHT = [[1.0, -2.0, 0.5], [0.0, 1.0, 1.0]]
"""||w_0||_1 = 3.5, ||w_1||_1 = 2."""


def linear_batch(*rows: list[float]) -> tuple[Tensor, Tensor]:
    """(ecg [B, 1, 3], mask) without padding."""
    ecg = torch.tensor(rows, dtype=torch.float64)[:, None]
    return ecg, torch.ones_like(ecg, dtype=torch.bool)


def test_nsr_of_two_records_by_hand():
    model = Linear(WEIGHT)
    ecg, mask = linear_batch([2, 0, 2], [0, 1, 1])
    labels = torch.tensor([0, 1])
    # z = (2 + 1, 2) = (3, 2) and (-2 + 0.5, 1 + 1) = (-1.5, 2): both correct, both z_y > 0
    logits = model(ecg)
    # L1 = ((3 - 1)^2 + 2^2 + 1.5^2 + (2 - 1)^2) / 2 = (4 + 4 + 2.25 + 1) / 2
    assert logit_mse(logits, labels).item() == pytest.approx(5.625)
    # L3 = (log(1 + 2 x 3.5 / 3.01) + log(1 + 2 x 2 / 2.01)) / 2
    value = noise_to_signal(model, ecg, labels, mask, eps_max=2.0)
    assert value.item() == pytest.approx((math.log(1 + 7 / 3.01) + math.log(1 + 4 / 2.01)) / 2, rel=1e-12)
    # By w_00: with N = 2 ||w_0||_1 = 7 and Z = z_y + 0.01 = 3.01 of record 0, d N = 2 sign(w_00) = 2, d Z = x_0 = 2,
    # d log(1 + N / Z) = (d N Z - N d Z) / (Z (Z + N)) = (6.02 - 14) / (3.01 x 10.01); halved by |S| = 2
    value.backward()
    assert model.weight.grad[0, 0].item() == pytest.approx((6.02 - 14) / (3.01 * 10.01) / 2, rel=1e-12)
    # Without the first sample of record 0 its norm is 2 + 0.5
    mask[0, 0, 0] = False
    value = noise_to_signal(model, ecg, labels, mask, eps_max=2.0)
    assert value.item() == pytest.approx((math.log(1 + 5 / 3.01) + math.log(1 + 4 / 2.01)) / 2, rel=1e-12)


@pytest.mark.parametrize("negative", [[0.0, 0.0, -1.0], [0.0, 0.0, -0.02], [0.0, 0.0, 0.0]])
def test_a_correct_record_without_signal_only_counts_in_the_mean(negative: list[float]):
    """z_y = -0.5, whose ratio 7 / -0.49 has no logarithm; -0.01, which has no ratio; 0, a tie that class 0 wins."""
    model = Linear(WEIGHT)
    ecg, mask = linear_batch([2, 0, 2], negative)
    value = noise_to_signal(model, ecg, torch.tensor([0, 0]), mask, eps_max=2.0)
    assert value.item() == pytest.approx(math.log(1 + 7 / 3.01) / 2, rel=1e-12)
    (gradient,) = torch.autograd.grad(value, model.weight)
    alone = noise_to_signal(model, ecg[:1], torch.tensor([0]), mask[:1], eps_max=2.0)
    torch.testing.assert_close(gradient, torch.autograd.grad(alone / 2, model.weight)[0])


@pytest.mark.parametrize(
    ("ecg", "labels"),
    [
        pytest.param([[2, 0, 2], [0, 1, 1]], [1, 0], id="none correct"),
        pytest.param([[0, 0, -1], [0, 0, -2]], [0, 0], id="no signal above zero"),
    ],
)
def test_nothing_that_counts_gives_zero_and_zero_gradients(ecg: list[list[float]], labels: list[int]):
    model = Linear(WEIGHT)
    value = noise_to_signal(model, *linear_batch(*ecg)[:1], torch.tensor(labels), linear_batch(*ecg)[1], eps_max=2.0)
    assert value.item() == 0
    value.backward()
    assert torch.equal(model.weight.grad, torch.zeros_like(model.weight))


@pytest.mark.parametrize(
    ("logits", "label", "expected"),
    [
        pytest.param([1.0, 0.5, 0.25, -3.0], 0, (0.5 + 0.25) / 2, id="two within the margin"),
        pytest.param([1.0, 1.0, -3.0, -3.0], 0, 1.0, id="a tie that the right class wins"),
        pytest.param([2.0, 1.0, 1.0, 0.0], 0, 0.0, id="h = 0"),
        pytest.param([0.0, 1.0, -3.0, -3.0], 0, 0.0, id="h = 2, and not correct"),
        pytest.param([0.0, 0.5, -3.0, -3.0], 0, 0.0, id="0 < h < 2, but not correct"),
        pytest.param([9.0, 1.0, 1.0, 0.0], 0, 0.0, id="well beyond the margin"),
    ],
)
def test_within_margin_by_hand(logits: list[float], label: int, expected: float):
    rows = torch.tensor([logits], requires_grad=True)
    value = within_margin(rows, torch.tensor([label]))
    assert value.item() == expected
    value.backward()
    assert rows.grad.isfinite().all() and bool(rows.grad.any()) is (expected > 0)


def test_within_margin_pulls_the_right_logit_up_and_the_near_ones_down():
    logits = torch.tensor([[1.0, 0.5, 0.25, -3.0], [2.0, 2.0, 0.0, 0.0]], requires_grad=True)
    within_margin(logits, torch.tensor([0, 0])).backward()
    # Three active terms, each with -1/3 for its z_y and 1/3 for its z_j
    torch.testing.assert_close(logits.grad * 3, torch.tensor([[-2.0, 1.0, 1.0, 0.0], [-1.0, 1.0, 0.0, 0.0]]))


@given(data=st.data(), records=st.integers(1, 6), classes=st.integers(2, 5))
@settings(max_examples=100, deadline=None)
def test_within_margin_is_the_plain_double_loop(data: st.DataObject, records: int, classes: int):
    """Quarters, so that ties and h = 0 and 2 come up and sums are exact."""
    row = st.lists(st.integers(-8, 8).map(lambda n: n / 4), min_size=classes, max_size=classes)
    logits = data.draw(st.lists(row, min_size=records, max_size=records))
    labels = data.draw(st.lists(st.integers(0, classes - 1), min_size=records, max_size=records))
    active = []
    for z, y in zip(logits, labels, strict=True):
        if z.index(max(z)) != y:
            continue
        for j in range(classes):
            h = 1 - z[y] + z[j]
            if j != y and 0 < h < 2:
                active.append(h)
    expected = sum(active) / len(active) if active else 0.0
    assert within_margin(torch.tensor(logits), torch.tensor(labels)).item() == pytest.approx(expected, rel=1e-6)


def test_logits_of_half_precision_are_compared_in_full():
    logits = torch.tensor([[1.0, 0.25, -0.5, 0.0]]).bfloat16()
    labels = torch.tensor([0])
    for loss in (logit_mse, within_margin):
        assert loss(logits, labels).dtype == torch.float32
        assert loss(logits, labels) == loss(logits.float(), labels)
