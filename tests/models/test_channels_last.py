"""Layers on [B, time, channels] against torch's on [B, channels, time], in float64: values, gradients, statistics."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.models.channels_last import convolve, convolve_signal, normalize
from edgeguard.models.edge import EdgeNet, edge_m, edge_s

CLOSE = {"rtol": 1e-10, "atol": 1e-10}


class PlainNorm(nn.BatchNorm1d):
    """Not exactly BatchNorm1d, so that a network takes its plain path."""


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(
    channels=st.integers(1, 4),
    out=st.integers(1, 4),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 4),
    dilation=st.integers(1, 3),
    extra=st.integers(0, 20),
)
@settings(max_examples=60, deadline=None)
def test_a_convolution(channels: int, out: int, kernel: int, stride: int, dilation: int, extra: int):
    x = drawn(2, channels, (kernel - 1) * dilation + 1 + extra)
    weight, bias = drawn(out, channels, kernel, seed=1), drawn(out, seed=2)
    expected = F.conv1d(x, weight, bias, stride, 0, dilation)
    actual = convolve(x.transpose(1, 2), weight, bias, stride=stride, dilation=dilation)
    torch.testing.assert_close(actual.transpose(1, 2), expected, **CLOSE)


@given(out=st.integers(1, 4), kernel=st.integers(1, 31), stride=st.integers(1, 8), extra=st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_a_convolution_of_the_signal(out: int, kernel: int, stride: int, extra: int):
    signal, weight = drawn(2, 1, kernel + extra), drawn(out, 1, kernel, seed=1)
    actual = convolve_signal(signal, weight, stride=stride)
    torch.testing.assert_close(actual.transpose(1, 2), F.conv1d(signal, weight, stride=stride), **CLOSE)


def test_normalisation_and_its_running_statistics():
    plain = nn.BatchNorm1d(3, momentum=0.3, eps=1e-3).double().train()
    with torch.no_grad():
        plain.weight.copy_(torch.tensor([0.5, -1.0, 2.0]))
        plain.bias.copy_(torch.tensor([1.0, 0.0, -3.0]))
    other = copy.deepcopy(plain)
    for step in range(3):
        x = drawn(4, 3, 11, seed=step) * (step + 1) + step
        torch.testing.assert_close(normalize(x.transpose(1, 2), other).transpose(1, 2), plain(x), **CLOSE)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, **CLOSE)


@pytest.mark.parametrize("make", [edge_m, edge_s])
def test_a_training_step_is_that_of_the_plain_layers(make: Callable[[], EdgeNet]):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fast = make().double().train()
    fast.dropout.p = 0.0
    plain = copy.deepcopy(fast)
    plain.norm.__class__ = PlainNorm
    ecg, labels = (200 * drawn(4, 1, 3000)).requires_grad_(True), torch.arange(4)
    gradients = []
    for model in (fast, plain):
        for _ in range(2):
            loss = F.cross_entropy(model(ecg), labels)
        gradients.append(torch.autograd.grad(loss, [ecg, *model.parameters()]))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11)
    assert all(gradient.abs().max() > 0 for gradient in gradients[0])
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(fast.state_dict()[name], value, **CLOSE)


def test_dropout_draws_the_same_features():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fast = edge_s().double().train()
    fast.dropout.p = 0.5
    plain = copy.deepcopy(fast)
    plain.norm.__class__ = PlainNorm
    logits = []
    for model in (fast, plain):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            logits.append(model(200 * drawn(4, 1, 3000)))
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-8, atol=1e-10)
