"""A network for windows of 9,000 samples that trains in seconds, named `tiny_network:make`."""

import multiprocessing
import os
import signal
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Tiny(nn.Module):
    """Eight filters, batch normalisation, the mean of what they find."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, 8, 31, stride=10)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, classes)

    def forward(self, ecg: Tensor) -> Tensor:
        found = F.relu(self.norm(self.filters(ecg / 200)))
        logits: Tensor = self.head(torch.mean(found, dim=2))
        return logits


def make(classes: int) -> nn.Module:
    """A fresh network; the first worker process of a cluster that asks for one dies, where a file says so."""
    death = os.environ.get("TINY_NETWORK_DEATH")
    if death and multiprocessing.parent_process() is not None and Path(death).exists():
        Path(death).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return Tiny(classes)
