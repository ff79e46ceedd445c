"""Strangers' files: networks of the usual kinds as torch exports them, with nothing tuned, and the facts of each."""

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

SECONDS = 3
CLASSES = {2: "N,A", 3: "N,A,O", 5: "N,A,O,~,X"}


class Scaled(nn.Module):
    """About one for a heart beat, whatever the unit of the input."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.factor = {"mV": 1.0, "uV": 1e-3}[unit]

    def forward(self, ecg: Tensor) -> Tensor:
        return ecg * self.factor


class Block(nn.Module):
    """Two same-padded convolutions with a skip around them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(8, 8, 7, padding=3), nn.Conv1d(8, 8, 7, padding=3)
        self.norms = nn.ModuleList([nn.BatchNorm1d(8), nn.BatchNorm1d(8)])

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(x + self.norms[1](self.second(inner)))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gru = nn.Conv1d(1, 8, 25, stride=25), nn.GRU(8, 12, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        hidden: Tensor = self.gru(torch.tanh(self.stem(x)).transpose(1, 2))[0]
        return hidden[:, -1]


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 16, 25, stride=25)
        self.layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, activation="gelu", dropout=0.0)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        encoded: Tensor = self.norm(self.layer(self.stem(x).transpose(1, 2)))
        return encoded.mean(1)


def _pooled() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool1d(1), nn.Flatten()]


FAMILIES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "residual": (lambda: nn.Sequential(nn.Conv1d(1, 8, 9, stride=4, padding=4), Block(), *_pooled()), 8),
    "plain": (
        lambda: nn.Sequential(nn.Conv1d(1, 8, 15, stride=6), nn.ELU(), nn.Conv1d(8, 8, 5), nn.ReLU(), *_pooled()),
        8,
    ),
    "depthwise": (
        lambda: nn.Sequential(
            nn.Conv1d(1, 8, 9, stride=4, padding=4),
            nn.Conv1d(8, 8, 7, padding=3, groups=8),
            nn.Conv1d(8, 16, 1),
            nn.BatchNorm1d(16),
            nn.SiLU(),
            *_pooled(),
        ),
        16,
    ),
    "gru": (Recurrent, 24),
    "transformer": (Attentive, 16),
}
"""Family -> what makes the network up to its last layer, and the features that it gives."""


@dataclass(frozen=True)
class Case:
    """One stranger's file."""

    family: str
    dynamo: bool
    batch: str
    head: str
    classes: int
    rate: int
    unit: str
    layout: str
    opset: int | None

    @property
    def name(self) -> str:
        exporter = "dynamo" if self.dynamo else "script"
        parts = (self.family, exporter, self.batch, self.head, self.classes, self.rate, self.unit, self.layout)
        return "-".join(map(str, (*parts, self.opset or "default")))

    @property
    def facts(self) -> list[str]:
        """The options that say what the file does not."""
        single = ["--threshold", "0.5"] if self.head == "sigmoid" else []
        return ["--classes", CLASSES[self.classes], "--sampling-rate", str(self.rate), "--unit", self.unit, *single]


AXES: dict[str, tuple[Any, ...]] = {
    "family": tuple(FAMILIES),
    "dynamo": (True, False),
    "batch": ("1", "open"),
    "head": ("logits", "softmax", "sigmoid"),
    "classes": (2, 3, 5),
    "rate": (250, 300, 360, 500),
    "unit": ("mV", "uV"),
    "layout": ("B1T", "BT", "BT1"),
    "opset": (None, 17, 18, 20, 21, 23),
}


def _sound(values: dict[str, Any]) -> dict[str, Any]:
    """A single sigmoid tells two classes apart; TorchScript writes opsets up to 20, the other exporter from 18 on."""
    if values["head"] == "sigmoid":
        values["classes"] = 2
    if values["opset"] is not None:
        values["opset"] = max(values["opset"], 18) if values["dynamo"] else min(values["opset"], 20)
    return values


def covering(least: int = 42, *, seed: int = 0) -> list[Case]:
    """Cases in which every pair of values of two axes that can go together does; the same ones for the same seed."""
    rng = random.Random(seed)
    pairs = {(a, x, b, y) for a, b in itertools.combinations(AXES, 2) for x in AXES[a] for y in AXES[b]}
    cases: list[Case] = []
    for _ in range(4_000):
        if not pairs and len(cases) >= least:
            break
        tried = [_sound({axis: rng.choice(values) for axis, values in AXES.items()}) for _ in range(30)]
        covered = [{(a, one[a], b, one[b]) for a, b in itertools.combinations(AXES, 2)} & pairs for one in tried]
        best = max(range(len(tried)), key=lambda place: len(covered[place]))
        if not covered[best] and len(cases) >= least:
            continue
        pairs -= covered[best]
        case = Case(**tried[best])
        if case not in cases:
            cases.append(case)
    return cases


class Whole(nn.Module):
    """The network with its layout and head."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        make, features = FAMILIES[case.family]
        self.layout, self.head, self.scaled = case.layout, case.head, Scaled(case.unit)
        self.body = make()
        self.last = nn.Linear(features, 1 if case.head == "sigmoid" else case.classes)

    def forward(self, ecg: Tensor) -> Tensor:
        if self.layout == "BT":
            ecg = ecg.unsqueeze(1)
        elif self.layout == "BT1":
            ecg = ecg.transpose(1, 2)
        logits: Tensor = self.last(self.body(self.scaled(ecg)))
        if self.head == "softmax":
            return torch.softmax(logits, 1)
        return torch.sigmoid(logits) if self.head == "sigmoid" else logits


def network(case: Case, *, seed: int = 0) -> Whole:
    """The case's network in eval mode, its last layer centred so that records of noise get different classes."""
    torch.manual_seed(seed)
    made = Whole(case).eval()
    generator = torch.Generator().manual_seed(seed)
    ecg = torch.randn(64, case.rate * SECONDS, generator=generator).cumsum(1)
    ecg = ecg / ecg.std(1, keepdim=True) * torch.rand(64, 1, generator=generator) / made.scaled.factor
    with torch.no_grad():
        features = made.body(made.scaled(ecg.unsqueeze(1)))
        spread = features.std(0).clamp_min(1e-3)
        made.last.weight.copy_(torch.randn(made.last.weight.shape, generator=generator) / spread)
        made.last.bias.copy_(-(made.last.weight @ features.mean(0)))
    return made


def write(case: Case, folder: Path) -> Path:
    """The file as torch exports it; small weights lie inside, as the exporters do by themselves or are told to."""
    length = case.rate * SECONDS
    shape = {"B1T": (1, length), "BT": (length,), "BT1": (length, 1)}[case.layout]
    rows = 1 if case.batch == "1" else 2
    options: dict[str, Any] = {} if case.opset is None else {"opset_version": case.opset}
    if case.batch == "open" and case.dynamo:
        options["dynamic_shapes"] = ({0: torch.export.Dim.DYNAMIC},)
    elif case.batch == "open":
        options |= {"input_names": ["ecg"], "dynamic_axes": {"ecg": {0: "batch"}}}
    path = folder / f"{case.name}.onnx"
    torch.onnx.export(network(case), (torch.zeros(rows, *shape),), path, dynamo=case.dynamo, verbose=False, **options)
    return path
