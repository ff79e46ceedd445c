"""`tiny_network:make`, a network for windows of 9,000 samples that is good at faint waves before it is trained."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgeguard.ecg.record import Record
from edgeguard.models.registry import register_architecture

WAVES = (0.03, 0.1, 0.25, 0.6)
"""Radians a sample, one a class."""


def faint_waves() -> list[Record]:
    """Eighty records in noise, twenty a class, some short; ten microvolts are much to some of them."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(80):
        length, loudness = (9000, 9100, 5401)[number % 3], 20 + 4 * (number % 7)
        wave = loudness * np.sin(np.arange(length) * WAVES[number % 4] + rng.uniform(0, 6))
        ecg = np.rint(wave + rng.normal(0, 60, length)).astype(np.float32)
        records.append(Record(f"W{number:02d}", ecg, label="NAO~"[number % 4]))
    return records


class Tiny(nn.Module):
    """To begin with a sine and a cosine filter for each wave, and each class where its own two find most."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.filters = nn.Conv1d(1, 2 * len(WAVES), 31, stride=10)
        self.head = nn.Linear(2 * len(WAVES), classes)
        time = torch.arange(31) - 15.0
        waves = [part(wave * time) for wave in WAVES for part in (torch.sin, torch.cos)]
        self.filters.weight.data = torch.stack([wave / wave.norm() for wave in waves])[:, None]
        self.head.weight.data = torch.eye(classes).repeat_interleave(2, dim=1) - 0.25

    def forward(self, ecg: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.mean(F.relu(self.filters(ecg / 40)), dim=2))
        return logits


def make(classes: int) -> nn.Module:
    """A fresh network; the first worker process of a cluster that asks for one dies, where a file says so."""
    death = os.environ.get("TINY_NETWORK_DEATH")
    if death and multiprocessing.parent_process() is not None and Path(death).exists():
        Path(death).unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    return Tiny(classes)


register_architecture("tiny_network:make")
