"""`streamable_network:make`, the tiny network with a mean over time that a stream can repeat, and records for it."""

from dataclasses import replace

import torch
from tiny_network import Tiny, faint_waves
from torch import Tensor, nn

from edgeguard.ecg.record import Record
from edgeguard.models.registry import register_architecture


class Streamable(Tiny):
    """Its mean is a layer, so that the export quantises it."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.pool = nn.AdaptiveAvgPool1d(1)

    def forward(self, ecg: Tensor) -> Tensor:
        logits: Tensor = self.head(self.pool(torch.relu(self.filters(ecg / 40))).flatten(1))
        return logits


def make(classes: int) -> nn.Module:
    """A fresh network."""
    return Streamable(classes)


def waves() -> list[Record]:
    """The tiny network's records, four times as loud: eight bits suffice for them, and 16 uV turn some."""
    return [replace(record, ecg=4 * record.ecg) for record in faint_waves()]


register_architecture("streamable_network:make")
