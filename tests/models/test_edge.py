"""Networks for a watch: their limits, and that a stream computes what a window computes."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgeguard.models.channels_last import convolve_signal
from edgeguard.models.cost import cost
from edgeguard.models.edge import EdgeNet, ResidualBlock, Stage, edge_m, edge_s

STRIDE, SECOND = 60, 300


@pytest.fixture(scope="module", params=[edge_m, edge_s], ids=["edge-m", "edge-s"])
def network(request: pytest.FixtureRequest) -> EdgeNet:
    """In float64 and eval mode, with batch statistics that are not the initial ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = request.param().double().eval()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean.normal_(0, 0.1)
                layer.running_var.uniform_(0.5, 2)
                layer.bias.data.normal_(0, 0.1)
    return model


def features(model: EdgeNet, ecg: Tensor) -> Tensor:
    """[B, channels, places]: what the global pool is given."""
    seen: list[Tensor] = []
    handle = model.pool.register_forward_hook(lambda _m, inputs, _o: seen.append(inputs[0]))
    with torch.no_grad():
        model(ecg)
    handle.remove()
    return seen[0]


@pytest.mark.parametrize(("make", "parameters", "macs"), [(edge_m, 160_000, 32_000_000), (edge_s, 40_000, 5_000_000)])
def test_they_keep_within_their_limits(make: Callable[[], EdgeNet], parameters: int, macs: int):
    figures = cost(make())
    assert figures.parameters <= parameters and figures.macs <= macs
    assert figures.stride == STRIDE
    assert figures.receptive_field is not None and figures.features is not None
    assert figures.receptive_field <= 3000 and figures.receptive_field % STRIDE == 0
    assert figures.features % 5 == 0
    assert figures.features == (9000 - figures.receptive_field) // STRIDE + 1


@pytest.mark.parametrize("hop", [STRIDE, SECOND])
def test_features_of_a_later_window_are_the_later_features(network: EdgeNet, hop: int):
    ecg = 300 * torch.randn(1, 1, 4500 + hop, dtype=torch.float64)
    now, later = features(network, ecg[..., :4500]), features(network, ecg[..., hop:])
    torch.testing.assert_close(later[..., : -hop // STRIDE], now[..., hop // STRIDE :], rtol=0, atol=1e-10)
    assert now.std() > 0


def test_logits_are_the_mean_of_the_features(network: EdgeNet):
    ecg = 300 * torch.randn(2, 1, 3000, dtype=torch.float64)
    with torch.no_grad():
        expected = features(network, ecg).mean(-1) @ network.head.weight.T + network.head.bias
        torch.testing.assert_close(network(ecg), expected, rtol=0, atol=1e-10)


def test_nothing_is_padded(network: EdgeNet):
    assert all(layer.padding == (0,) for layer in network.modules() if isinstance(layer, nn.Conv1d))


def test_skip_and_convolutions_look_at_the_same_instants():
    """A block whose convolutions pass their middle sample on doubles what the skip passes on."""
    block = ResidualBlock(1, Stage(1, 7, 1, second_kernel=5, second_dilation=2)).eval()
    for conv in (block.conv1, block.conv2):
        nn.init.zeros_(conv.weight)
        conv.weight.data[0, 0, conv.kernel_size[0] // 2] = 1
    ramp = torch.arange(50.0)[None, None]
    with torch.no_grad():
        out = block(ramp)[0, 0]
    torch.testing.assert_close(out, 2 * torch.arange(7.0, 43.0), rtol=1e-4, atol=0)


def test_the_number_of_classes_is_free():
    assert edge_s(3)(torch.zeros(2, 1, 2400)).shape == (2, 3)


@pytest.mark.parametrize("make", [edge_m, edge_s])
def test_reduced_precision_leaves_stem_and_head_alone(make: Callable[[], EdgeNet]):
    """A microvolt on an ecg of hundreds is below bfloat16's last digit; the stem sees it all the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().eval()
        ecg = (300 * torch.randn(4, 1, 3000)).round() + 600
    changed = ecg.clone()
    changed[..., ::7] += 1
    assert (changed.bfloat16() - ecg.bfloat16()).count_nonzero() < 0.6 * (changed - ecg).count_nonzero()
    stems: list[Tensor] = []
    inside: list[torch.dtype] = []
    heads: list[Tensor] = []
    model.blocks.register_forward_pre_hook(lambda _m, inputs: stems.append(inputs[0]))
    model.blocks.register_forward_hook(lambda _m, _i, out: inside.append(out.dtype))
    model.head.register_forward_pre_hook(lambda _m, inputs: heads.append(inputs[0]))
    with torch.no_grad():
        for signal in (ecg, changed):
            model(signal)
            with torch.autocast("cpu", torch.bfloat16):
                logits = model(signal)
                assert torch.is_autocast_enabled("cpu")
            assert logits.dtype == heads[-1].dtype == torch.float32
    assert inside == [torch.float32, torch.bfloat16] * 2
    assert stems[1].dtype == torch.float32
    assert torch.equal(stems[0], stems[1]) and torch.equal(stems[2], stems[3])
    assert not torch.equal(stems[0], stems[2])


def test_a_training_step_keeps_stem_and_head_in_full_precision_too(monkeypatch: pytest.MonkeyPatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = edge_s().train()
        ecg = 300 * torch.randn(2, 1, 3000)
    stems: list[Tensor] = []
    heads: list[torch.dtype] = []

    def seen(*args: Any, **options: Any) -> Tensor:
        stems.append(convolve_signal(*args, **options))
        return stems[-1]

    monkeypatch.setattr("edgeguard.models.edge.convolve_signal", seen)
    model.head.register_forward_pre_hook(lambda _m, inputs: heads.append(inputs[0].dtype))
    exact = model(ecg)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = model(ecg)
    assert torch.equal(stems[0], stems[1])
    assert heads == [torch.float32] * 2 and reduced.dtype == torch.float32
    assert not torch.equal(reduced, exact)


def test_a_folded_network_keeps_stem_and_head_in_full_precision_too():
    """Without blocks between them nothing is reduced; with blocks the logits are close and in float32."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bare = EdgeNet(stem_channels=8, stem_kernel=20, stem_stride=10, stages=(), classes=4, dropout=0.1)
        whole = edge_s().eval()
        ecg = 300 * torch.randn(2, 1, 3000)
    for model, close in ((bare, 0.0), (whole, 0.02)):
        folded = model.folded()
        exact = folded(ecg)
        with torch.autocast("cpu", torch.bfloat16):
            reduced = folded(ecg)
        assert reduced.dtype == torch.float32
        torch.testing.assert_close(reduced, exact, rtol=0, atol=close)
        assert torch.equal(reduced, exact) == (model is bare)
