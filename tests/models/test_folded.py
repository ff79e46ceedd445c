"""Folded convolutions against the layers that they stand for, in float64, values and gradients."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from edgeguard.models.edge import EdgeNet, Stage, edge_m, edge_s
from edgeguard.models.folded import fold, fold_stem

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


def normalisation(channels: int) -> nn.BatchNorm1d:
    """Nothing in it has its initial value."""
    norm = nn.BatchNorm1d(channels).double().eval()
    for value in (norm.running_mean, norm.weight.data, norm.bias.data):
        value.normal_()
    norm.running_var.uniform_(0.2, 3)
    return norm


def with_gradient(forward: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """The output and the input's gradient of a fixed, uneven functional of it."""
    x = x.detach().requires_grad_(True)
    out = forward(x)
    (gradient,) = torch.autograd.grad((out * torch.linspace(-1, 2, out.numel()).view(out.shape)).sum(), x)
    return out.detach(), gradient


def trained(model: EdgeNet, steps: int = 4) -> EdgeNet:
    """After a few steps on noise: neither weights nor running statistics are the initial ones."""
    model = model.double().train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(steps):
        loss = nn.functional.cross_entropy(model(200 * torch.randn(4, 1, 2400).double()), torch.arange(4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


@given(
    channels=st.integers(1, 5),
    kernel=st.integers(1, 9),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    extra=st.integers(0, 20),
)
@settings(max_examples=60, deadline=None)
def test_a_folded_convolution(channels: int, kernel: int, stride: int, dilation: int, extra: int):
    conv = nn.Conv1d(channels, 3, kernel, stride, dilation=dilation, bias=False).double()
    norm = normalisation(3)
    x = torch.randn(2, channels, (kernel - 1) * dilation + 1 + extra).double()
    folded = fold(conv, norm)
    found, found_gradient = with_gradient(lambda x: folded(x.transpose(1, 2)).transpose(1, 2), x)
    expected, gradient = with_gradient(lambda x: norm(conv(x)), x)
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(found_gradient, gradient, **CLOSE)


@given(kernel=st.integers(1, 31), stride=st.integers(1, 12), extra=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_a_folded_stem_whatever_the_remainders(kernel: int, stride: int, extra: int):
    """Also where the stride divides neither the kernel nor the signal, or is longer than the kernel."""
    conv = nn.Conv1d(1, 4, kernel, stride, bias=False).double()
    norm = normalisation(4)
    signal = torch.randn(2, 1, kernel + extra).double()
    stem = fold_stem(conv, norm, gain=0.25)
    found, found_gradient = with_gradient(lambda x: stem(x).transpose(1, 2), signal)
    expected, gradient = with_gradient(lambda x: norm(conv(0.25 * x)), signal)
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(found_gradient, gradient, **CLOSE)


@pytest.mark.parametrize("samples", [9000, 2401])
@pytest.mark.parametrize("make", [edge_m, edge_s])
def test_a_folded_network_is_the_network(make: Callable[[], EdgeNet], samples: int):
    torch.manual_seed(0)
    model = trained(make())
    ecg = 200 * torch.randn(3, 1, samples).double()
    found, found_gradient = with_gradient(model.folded(), ecg)
    expected, gradient = with_gradient(model, ecg)
    assert expected.std() > 0 and gradient.std() > 0
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(found_gradient, gradient, **CLOSE)


def test_a_network_of_other_stages():
    torch.manual_seed(1)
    model = trained(
        EdgeNet(
            stem_channels=5,
            stem_kernel=11,
            stem_stride=4,
            stages=(Stage(5, 4), Stage(7, 3, 1, second_kernel=4), Stage(7, 5, 2, second_dilation=3)),
            classes=4,
            dropout=0.5,
        )
    )
    ecg = 200 * torch.randn(2, 1, 997).double()
    found, found_gradient = with_gradient(model.folded(), ecg)
    expected, gradient = with_gradient(model, ecg)
    torch.testing.assert_close(found, expected, **CLOSE)
    torch.testing.assert_close(found_gradient, gradient, **CLOSE)


def test_it_keeps_the_weights_of_its_moment():
    torch.manual_seed(2)
    model = trained(edge_s())
    ecg = 200 * torch.randn(2, 1, 2400).double()
    before, folded = model(ecg), model.folded()
    trained(model, steps=1)
    after = model(ecg)
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(folded(ecg), before, **CLOSE)
    torch.testing.assert_close(model.folded()(ecg), after, **CLOSE)
    assert not folded(ecg).requires_grad


def test_in_train_mode_it_is_what_eval_mode_would_give():
    torch.manual_seed(3)
    model = trained(edge_s())
    ecg = 200 * torch.randn(2, 1, 2400).double()
    expected = model(ecg)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.testing.assert_close(model.train().folded()(ecg), expected, **CLOSE)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("options", [{"padding": 1}, {"groups": 2}, {"bias": True}])
def test_what_it_cannot_fold_is_refused(options: dict):
    conv = nn.Conv1d(2, 4, 3, **{"bias": False, **options})
    with pytest.raises(ValueError, match="padding, groups and bias"):
        fold(conv, nn.BatchNorm1d(4))


@pytest.mark.parametrize("options", [{"in_channels": 2}, {"dilation": 2}])
def test_a_stem_that_has_no_polyphase_form_is_refused(options: dict):
    conv = nn.Conv1d(**{"in_channels": 1, "out_channels": 4, "kernel_size": 3, "bias": False, **options})
    with pytest.raises(ValueError, match="polyphase"):
        fold_stem(conv, nn.BatchNorm1d(4), gain=1.0)
