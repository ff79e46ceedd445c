"""Networks for a watch: valid convolutions only, so that a stream and a window compute the same features."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

INPUT_SCALE_UV = 300.0
"""Microvolts that become 1 inside the network; a fixed constant, folded into the stem at export."""


@dataclass(frozen=True)
class Stage:
    """One residual block: two convolutions and the skip around them."""

    channels: int
    kernel: int
    stride: int = 1
    second_kernel: int = 7
    second_dilation: int = 1


class ResidualBlock(nn.Module):
    """relu(conv-bn(relu(conv-bn(x))) + skip(crop(x))), no padding anywhere.

    The skip is cropped by constants to the samples that the two convolutions are centred on, so both branches see
    the same instants whatever the length.
    """

    def __init__(self, channels: int, stage: Stage) -> None:
        super().__init__()
        out = stage.channels
        self.conv1 = nn.Conv1d(channels, out, stage.kernel, stage.stride, bias=False)
        self.norm1 = nn.BatchNorm1d(out)
        self.conv2 = nn.Conv1d(out, out, stage.second_kernel, dilation=stage.second_dilation, bias=False)
        self.norm2 = nn.BatchNorm1d(out)
        self.skip: nn.Module = nn.Identity()
        if stage.stride > 1 or channels != out:
            self.skip = nn.Sequential(nn.Conv1d(channels, out, 1, stage.stride, bias=False), nn.BatchNorm1d(out))
        span = (stage.kernel - 1) + (stage.second_kernel - 1) * stage.second_dilation * stage.stride
        self.crop_left = span // 2
        self.crop_right = span - span // 2

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + self.skip(x[..., self.crop_left : -self.crop_right]))


class EdgeNet(nn.Module):
    """Stem, residual blocks, mean over time, linear: ecg [B, 1, T] in microvolts to logits [B, classes]."""

    def __init__(
        self,
        *,
        stem_channels: int,
        stem_kernel: int,
        stem_stride: int,
        stages: tuple[Stage, ...],
        classes: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, stem_channels, stem_kernel, stem_stride, bias=False)
        self.norm = nn.BatchNorm1d(stem_channels)
        channels = stem_channels
        blocks = []
        for stage in stages:
            blocks.append(ResidualBlock(channels, stage))
            channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)

    def forward(self, ecg: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(ecg * (1 / INPUT_SCALE_UV))))
        x = self.pool(self.blocks(x))
        return self.head(self.dropout(x.flatten(1)))


def edge_m(classes: int = 4) -> EdgeNet:
    """144 k parameters, 29 MMAC a 30 s window, receptive field 1,860 samples (6.2 s), total stride 60."""
    return EdgeNet(
        stem_channels=16,
        stem_kernel=30,
        stem_stride=5,
        stages=(
            Stage(32, 7, 3),
            Stage(48, 7, 2),
            Stage(64, 7, 2),
            Stage(64, 6, 1, second_kernel=6, second_dilation=2),
        ),
        classes=classes,
        dropout=0.3,
    )


def edge_s(classes: int = 4) -> EdgeNet:
    """31 k parameters, under 5 MMAC a 30 s window, receptive field 1,860 samples (6.2 s), total stride 60."""
    return EdgeNet(
        stem_channels=8,
        stem_kernel=20,
        stem_stride=10,
        stages=(Stage(20, 5, 3), Stage(32, 7, 2), Stage(32, 7, 1, second_dilation=2)),
        classes=classes,
        dropout=0.1,
    )
