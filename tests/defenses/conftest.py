"""A data set and a network so small that a training takes a fraction of a second."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.defenses.train import Job
from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import Record
from edgeguard.ecg.split import split
from edgeguard.evaluation.metrics import scores

WINDOW = 240

MakeConfig = Callable[..., TrainConfig]
MakeJob = Callable[..., Job]


def network(classes: int, dropout: float) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 6, 15, stride=4),
        nn.BatchNorm1d(6),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )


@pytest.fixture(scope="session", autouse=True)
def networks() -> Iterator[None]:
    """`tiny_networks:plain`, and `tiny_networks:dropout`, which draws random numbers."""
    module = ModuleType("tiny_networks")
    module.plain = lambda classes: network(classes, 0.0)  # type: ignore[attr-defined]
    module.dropout = lambda classes: network(classes, 0.3)  # type: ignore[attr-defined]
    sys.modules["tiny_networks"] = module
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    del sys.modules["tiny_networks"]


def make_dataset(seed: int = 0) -> Dataset:
    """48 records, 24 N, 6 A, 12 O, 6 ~: waves of four frequencies in noise, some shorter than the window."""
    rng = np.random.default_rng(seed)
    records = []
    for number in range(48):
        length = (WINDOW, WINDOW + 30, WINDOW - 61)[number % 3]
        label = "NNNNAOO~"[number % 8]
        wave = 200 * np.sin(np.arange(length) * (0.1 + 0.25 * "NAO~".index(label)) + rng.uniform(0, 6))
        ecg = np.rint(wave + rng.normal(0, 150, length)).astype(np.float32)
        records.append(Record(f"R{number:02d}", ecg, label=label))
    return build("waves", records, window=WINDOW)


@pytest.fixture(scope="session")
def dataset() -> Dataset:
    return make_dataset()


@pytest.fixture
def config() -> MakeConfig:
    """Settings of a short training; keyword arguments win."""

    def make(**options: Any) -> TrainConfig:
        short: dict[str, Any] = dict(
            defense="none",
            arch="tiny_networks:dropout",
            epochs=2,
            batch=32,
            eps=10.0,
            alpha=4.0,
            steps=2,
            smooth_steps=2,
        )
        return make_config(**{**short, **options})

    return make


@pytest.fixture
def job(dataset: Dataset, tmp_path: Path, config: MakeConfig) -> MakeJob:
    """A training under `tmp_path/runs`; options of the config, and with `job_` before them of the job."""

    def make(name: str = "run", **options: Any) -> Job:
        own = {key.removeprefix("job_"): options.pop(key) for key in list(options) if key.startswith("job_")}
        data = own.get("dataset", dataset)
        return Job(
            **{
                "config": config(**options),
                "dataset": data,
                "split": split(data, seed=0),
                "out": tmp_path / "runs" / name,
                "device": torch.device("cpu"),
                "judge": lambda labels, predicted: scores(labels, predicted, 4),
                "say": lambda line: None,
                **own,
            }
        )

    return make
