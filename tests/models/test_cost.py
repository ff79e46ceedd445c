import pytest
import torch
from torch import Tensor, nn

from edgeguard.models.cost import Cost, cost


def pooled(*layers: nn.Module, channels: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, 4))


@pytest.mark.parametrize(
    ("layers", "channels", "field", "stride", "features"),
    [
        ((nn.Conv1d(1, 3, 5),), 3, 5, 1, 96),
        ((nn.Conv1d(1, 3, 5, stride=4),), 3, 5, 4, 24),
        ((nn.Conv1d(1, 2, 3, dilation=4), nn.ReLU(), nn.Conv1d(2, 2, 3)), 2, 11, 1, 90),
        ((nn.Conv1d(1, 2, 4, stride=2), nn.MaxPool1d(2), nn.Conv1d(2, 2, 3, stride=3)), 2, 14, 12, 8),
    ],
)
def test_receptive_field_and_stride(
    layers: tuple[nn.Module, ...], channels: int, field: int, stride: int, features: int
):
    figures = cost(pooled(*layers, channels=channels), window=100)
    assert (figures.receptive_field, figures.stride, figures.features) == (field, stride, features)


def test_parameters_and_multiplications_by_hand():
    model = pooled(nn.Conv1d(1, 6, 5, stride=2), nn.Conv1d(6, 6, 3, groups=3), channels=6)
    places = (100 - 5) // 2 + 1
    figures = cost(model, window=100)
    assert figures.macs == 6 * 5 * places + 6 * 2 * 3 * (places - 2) + 6 * 4
    assert figures.parameters == (6 * 5 + 6) + (6 * 2 * 3 + 6) + (6 * 4 + 4)


def test_a_linear_layer_at_every_instant_counts_at_every_instant():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(10, 7), nn.Linear(7, 4)

        def forward(self, ecg: Tensor) -> Tensor:
            return self.last(self.first(ecg.reshape(len(ecg), -1, 10)).mean(1))

    assert cost(Tokens(), window=100).macs == 10 * (10 * 7) + 7 * 4


def test_frozen_parameters_do_not_count():
    model = pooled(nn.Conv1d(1, 2, 3), channels=2)
    model[0].requires_grad_(False)
    assert cost(model, window=50).parameters == 12


def test_a_network_without_global_pool_has_no_features():
    model = nn.Sequential(nn.Flatten(), nn.Linear(50, 4))
    assert cost(model, window=50) == Cost(204, 200, None, None, None)


def test_measuring_leaves_mode_and_statistics_alone():
    model = pooled(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), channels=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost(model, window=50)
    assert all(m.training for m in model.modules())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
