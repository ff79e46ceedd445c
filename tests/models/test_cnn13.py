import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.models.cnn13 import CNN13, StridedMaxPool
from edgeguard.models.cost import cost


@pytest.fixture(scope="module")
def network() -> CNN13:
    """In float64 and eval mode, with batch statistics that are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CNN13().double().eval()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 2)
    return model


def test_it_has_the_parameters_of_the_port():
    with torch.device("meta"):
        model = CNN13()
    assert sum(p.numel() for p in model.parameters()) == 5_486_916


def test_shapes_of_half_a_minute():
    with torch.device("meta"):
        model, ecg = CNN13(), torch.empty(2, 1, 9000)
    assert model.features(ecg).shape == (2, 64, 1125)
    assert model(ecg).shape == (2, 4)


def test_half_a_minute_of_ecg_gives_finite_logits():
    with torch.no_grad():
        logits = CNN13().eval()(100 * torch.randn(1, 1, 9000))
    assert logits.shape == (1, 4) and logits.isfinite().all()


@pytest.mark.parametrize(("last", "expected"), [(8, [1, 3, 5, 7, 7]), (9, [1, 3, 5, 7, 9])])
def test_pooling_of_a_ramp(last: int, expected: list[int]):
    ramp = torch.arange(last + 1.0)[None, None]
    assert StridedMaxPool()(ramp).flatten().tolist() == expected


@pytest.mark.parametrize("length", [2, 3, 16, 17, 99])
def test_pooling_never_reads_even_places(length: int):
    signal = np.random.default_rng(length).normal(size=length)
    expected = [max(signal[i] for i in (2 * j - 1, 2 * j + 1) if 0 <= i < length) for j in range((length - 1) // 2 + 1)]
    pooled = StridedMaxPool()(torch.from_numpy(signal)[None, None])
    np.testing.assert_array_equal(pooled.numpy().ravel(), expected)


def strided_forward(model: CNN13, ecg: Tensor) -> Tensor:
    """The inference rewrite: pooled blocks compute odd outputs alone, then pool with size 2 and stride 1."""
    x = ecg
    layers = list(model.features)
    for number, conv in enumerate(layers):
        if not isinstance(conv, nn.Conv1d):
            continue
        norm = layers[number + 1]
        padded = F.pad(x, (conv.padding[0], conv.padding[0]))
        span = (conv.kernel_size[0] - 1) * conv.dilation[0]
        outputs = padded.shape[-1] - span
        pooled = isinstance(layers[number + 3], StridedMaxPool)
        if pooled:
            padded = padded[..., 1:]
        y = F.conv1d(padded, conv.weight, conv.bias, stride=2 if pooled else 1, dilation=conv.dilation[0])
        y = (y - norm.running_mean[:, None]) / (norm.running_var[:, None] + norm.eps).sqrt()
        x = (y * norm.weight[:, None] + norm.bias[:, None]).clamp(min=0)
        if pooled:
            x = F.pad(x, (1, outputs % 2), value=-torch.inf)
            x = torch.maximum(x[..., :-1], x[..., 1:])
    return x.mean(-1) @ model.head.weight.T + model.head.bias


@pytest.mark.parametrize("samples", [400, 401])
def test_the_stride_two_rewrite_is_equal(network: CNN13, samples: int):
    ecg = 200 * torch.randn(1, 1, samples, dtype=torch.float64)
    with torch.no_grad():
        expected = network(ecg)
        torch.testing.assert_close(strided_forward(network, ecg), expected, rtol=0, atol=1e-6)
    assert expected.abs().max() > 1e-3


def test_a_feature_sees_2306_samples():
    """Of the same geometry with one channel: reach and stride do not depend on the width."""
    with torch.device("meta"):
        layers = CNN13().features
    thin = [
        nn.Conv1d(1, 1, layer.kernel_size, padding=layer.padding, dilation=layer.dilation)
        if isinstance(layer, nn.Conv1d)
        else layer
        for layer in layers
        if isinstance(layer, nn.Conv1d | StridedMaxPool)
    ]
    figures = cost(nn.Sequential(*thin, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(1, 4)))
    assert (figures.receptive_field, figures.stride, figures.features) == (2306, 8, 1125)
