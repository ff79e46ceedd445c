"""Networks for a watch: valid convolutions only, so that a stream and a window compute the same features."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.models.channels_last import convolve, convolve_signal, normalize
from edgeguard.models.folded import Transform, fold, fold_stem

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

    def train_step(self, x: Tensor) -> Tensor:
        """`forward` in train mode, on [B, time, channels]."""
        y = torch.relu(_convolve(x, self.conv1, self.norm1))
        y = _convolve(y, self.conv2, self.norm2)
        x = x[:, self.crop_left : -self.crop_right]
        return torch.relu(y + (_convolve(x, *self.skip) if isinstance(self.skip, nn.Sequential) else x))

    def folded(self) -> Transform:
        """This block in eval mode, its weights as they are now, on [B, time, channels]."""
        first, second = fold(self.conv1, self.norm1), fold(self.conv2, self.norm2)
        skip = fold(*self.skip) if isinstance(self.skip, nn.Sequential) else nn.Identity()

        def forward(x: Tensor) -> Tensor:
            y = second(first(x).relu_())
            return (y + skip(x[:, self.crop_left : -self.crop_right])).relu_()

        return forward


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

    @property
    def least_window(self) -> int:
        """Samples of the shortest window: what one feature before the mean sees."""
        field, stride = self.stem.kernel_size[0], self.stem.stride[0]
        for block in cast("Iterable[ResidualBlock]", self.blocks):
            for conv in (block.conv1, block.conv2):
                field += (conv.kernel_size[0] - 1) * conv.dilation[0] * stride
                stride *= conv.stride[0]
        return field

    def forward(self, ecg: Tensor) -> Tensor:
        if self.training and ecg.device.type == "cpu" and type(self.norm) is nn.BatchNorm1d:
            return self._train_step(ecg)
        with _full_precision(ecg):
            x = torch.relu(self.norm(self.stem(ecg * (1 / INPUT_SCALE_UV))))
        x = self.blocks(x)
        with _full_precision(ecg):
            x = self.pool(x.to(self.head.weight.dtype))
            return self.head(self.dropout(x.flatten(1)))

    def _train_step(self, ecg: Tensor) -> Tensor:
        """`forward` in train mode, a third faster on a processor; the same but for rounding."""
        with _full_precision(ecg):
            gain = 1 / INPUT_SCALE_UV
            x = convolve_signal(ecg, self.stem.weight * gain, stride=self.stem.stride[0])
            x = torch.relu(normalize(x, self.norm))
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        for block in cast("Iterable[ResidualBlock]", self.blocks):
            x = block.train_step(x)
        with _full_precision(ecg):
            return self.head(self.dropout(x.to(self.head.weight.dtype).mean(1)))

    def folded(self) -> Transform:
        """This network in eval mode, its weights as they are now: ecg [B, 1, T] in microvolts to logits [B, classes].

        Equal but for rounding, also in its gradient by the ecg, and on a processor about twice as fast; for attacks,
        which ask the same weights many times.
        """
        stem = fold_stem(self.stem, self.norm, gain=1 / INPUT_SCALE_UV)
        blocks = [block.folded() for block in cast("Iterable[ResidualBlock]", self.blocks)]
        head = self.head.weight.detach().clone(), self.head.bias.detach().clone()

        def forward(ecg: Tensor) -> Tensor:
            with _full_precision(ecg):
                x = stem(ecg).relu_()
            for block in blocks:
                x = block(x)
            with _full_precision(ecg):
                return F.linear(x.to(ecg.dtype).mean(1), *head)

        return forward


def _convolve(x: Tensor, conv: nn.Conv1d, norm: nn.BatchNorm1d) -> Tensor:
    """`norm(conv(x))` in train mode, on [B, time, channels]."""
    return normalize(convolve(x, conv.weight, stride=conv.stride[0], dilation=conv.dilation[0]), norm)


def _full_precision(ecg: Tensor) -> AbstractContextManager[object]:
    """No autocast, for stem and head.

    bfloat16 holds eight bits: it would round an ecg of hundreds of microvolts to whole microvolts, so that neither a
    network nor an attack with steps of one microvolt could see what the attack does.
    """
    device = ecg.device.type
    # Without autocast there is no context, so that an exported graph has no trace of it.
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext()


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
