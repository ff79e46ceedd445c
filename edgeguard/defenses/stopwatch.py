"""How long a step of training takes on this machine."""

import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import torch

from edgeguard.defenses.batches import Records
from edgeguard.defenses.budget import Pace, Sizes
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.cost import forward_units
from edgeguard.defenses.trainer import fit, predict
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split, oversample
from edgeguard.models.registry import build

_PATIENCE_S = 2.0
_FEW, _MANY = 4, 2048


class Stopwatch:
    """Measures the pace of every kind of training step once, as the trainer takes it, on networks thrown away.

    Args:
        budget: seconds; a measured epoch takes a fiftieth of it at most, or a short step where that is longer.
    """

    def __init__(self, dataset: Dataset, split: Split, device: torch.device, *, budget: float) -> None:
        self._dataset, self._split, self._device = dataset, split, device
        self._patience = min(_PATIENCE_S, budget / 50)
        self.sizes = Sizes(len(oversample(dataset, split.train)), len(split.validation), len(dataset))
        self._records = Records(dataset, device)
        self._judge: dict[str, float] = {}
        self._paces: dict[str, Pace] = {}

    def pace(self, config: TrainConfig) -> Pace:
        """The pace of a stage's steps, measured; with `jr` and `nsr` of those after their warm-up."""
        step = _step(config)
        kind = repr(replace(step, defense="none", seed=0)) + repr(
            (config.row.objective, config.row.crafting, config.crafts)
        )
        if kind not in self._paces:
            train, epoch = _line(lambda count: self._train(step, count), len(self._alike), self._patience)
            self._paces[kind] = Pace(train, epoch, self._judging(config.arch))
        return self._paces[kind]

    def guess(self, config: TrainConfig, like: TrainConfig) -> Pace:
        """The pace by that of another training of the same network and both costs in forward units."""
        measured = self.pace(like)
        return replace(measured, train=measured.train * self._units(config) / self._units(like))

    def _units(self, config: TrainConfig) -> float:
        """Forward units a record and epoch, the regulariser on."""
        units = forward_units(replace(config, warm_up=0), classes=len(self._dataset.classes))
        return units / config.stage_epochs

    @property
    def _alike(self) -> np.ndarray:
        """Training records of the largest class: none of them is drawn twice in an epoch."""
        labels = self._dataset.labels[self._split.train]
        return self._split.train[labels == np.bincount(labels).argmax()]

    def _train(self, step: TrainConfig, count: int) -> float:
        """Seconds of an epoch over so many records, the quicker of two: the first one warms up."""
        few = replace(self._split, train=self._alike[:count], validation=self._split.validation[:1])
        # The progress bar would say that a training has begun.
        with tempfile.TemporaryDirectory() as folder, redirect_stderr(StringIO()):
            fitted = fit(step, self._dataset, few, Path(folder), device=self._device, judge=_no_judge)
        return min(entry["seconds"] for entry in fitted.log)

    def _judging(self, arch: str) -> float:
        if arch not in self._judge:
            model = build(arch, classes=len(self._dataset.classes), window=self._dataset.window, seed=0)
            model.to(self._device)

            def judge(count: int) -> float:
                predict(model, self._records, self._split.train[:1])
                began = time.perf_counter()
                predict(model, self._records, self._split.train[:count])
                return time.perf_counter() - began

            self._judge[arch] = _line(judge, min(64, len(self._split.train)), self._patience)[0]
        return self._judge[arch]


def _line(seconds: Callable[[int], float], most: int, patience: float) -> tuple[float, float]:
    """(seconds a record, fixed seconds), from a few records and from as many as `patience` seconds allow."""
    few = min(_FEW, most)
    short = seconds(few)
    many = min(most, _MANY, int(few * patience / short))
    if many < 2 * few:
        return short / few, 0.0
    long = seconds(many)
    each = (long - short) / (many - few) if long > short else long / many
    return each, max(0.0, short - few * each)


def _step(config: TrainConfig) -> TrainConfig:
    """Settings of two epochs whose steps cost what the stage's do, the regulariser on, and can do no harm.

    Perturbed by zero microvolts at the full cost no watchdog takes an epoch back, and at a tiny rate no loss overflows.
    """
    return replace(config, epochs=2, start_epochs=0, warm_up=0, eps=0.0, learning_rate=1e-9)


def _no_judge(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    return {"accuracy": 0.0, "f1": 0.0}
