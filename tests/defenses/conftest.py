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
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import Record
from edgeguard.ecg.split import split
from edgeguard.evaluation.metrics import scores
from edgeguard.models.registry import register_architecture

WINDOW = 240

NETWORK = """
from torch import nn

def make(classes, channels=4):
    return nn.Sequential(
        nn.Conv1d(1, channels, 25, stride=25), nn.BatchNorm1d(channels), nn.ReLU(), nn.Dropout(0.2),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, classes))

def wider(classes):
    return make(classes, 5)
"""

MakeConfig = Callable[..., TrainConfig]
MakeJob = Callable[..., Job]


def network(classes: int, dropout: float, *, normalised: bool = True) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 6, 15, stride=4),
        nn.BatchNorm1d(6) if normalised else nn.Identity(),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(6, classes),
    )


def register_networks() -> None:
    """`tiny_networks:plain`; `:dropout`, which draws random numbers; `:bare`, where no record sees the others."""
    module = ModuleType("tiny_networks")
    module.plain = lambda classes: network(classes, 0.0)  # type: ignore[attr-defined]
    module.dropout = lambda classes: network(classes, 0.3)  # type: ignore[attr-defined]
    module.bare = lambda classes: network(classes, 0.0, normalised=False)  # type: ignore[attr-defined]
    sys.modules["tiny_networks"] = module
    for name in ("plain", "dropout", "bare"):
        register_architecture(f"tiny_networks:{name}")


@pytest.fixture(scope="session", autouse=True)
def networks() -> Iterator[None]:
    """The tiny networks, on one thread."""
    register_networks()
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


def short_config(**options: Any) -> TrainConfig:
    """Settings of a short training; keyword arguments win."""
    short: dict[str, Any] = dict(
        defense="none",
        arch="tiny_networks:dropout",
        epochs=2,
        batch=32,
        eps=10.0,
        alpha=4.0,
        crafting="sap",
        steps=2,
        smooth_steps=2,
        precision="float32",
        craft_precision="float32",
    )
    return make_config(**{**short, **options})


def short_job(out: Path, dataset: Dataset, **options: Any) -> Job:
    """A short training into `out`; options of the config, and with `job_` before them of the job."""
    own = {key.removeprefix("job_"): options.pop(key) for key in list(options) if key.startswith("job_")}
    data = own.get("dataset", dataset)
    return Job(
        **{
            "config": short_config(**options),
            "dataset": data,
            "split": split(data, seed=0),
            "out": out,
            "device": torch.device("cpu"),
            "judge": lambda labels, predicted: scores(labels, predicted, 4),
            "say": lambda line: None,
            **own,
        }
    )


@pytest.fixture
def config() -> MakeConfig:
    """`short_config`."""
    return short_config


@pytest.fixture
def job(dataset: Dataset, tmp_path: Path) -> MakeJob:
    """`short_job` under `tmp_path/runs`, by name."""
    return lambda name="run", **options: short_job(tmp_path / "runs" / name, dataset, **options)


@pytest.fixture(scope="session")
def make_job_in(dataset: Dataset) -> MakeJob:
    """`short_job` into any folder."""
    return lambda out, **options: short_job(out, dataset, **options)


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has: 40 records in `waves`, ten a class, and `own_network:make` and `:wider` in a file; read only."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("workplace")
    ecg = np.rint(rng.normal(0, 300, (40, 9000))).astype(np.float32)
    write_cinc(folder / "waves", [Record(f"W{n:02d}", row, label="NAO~"[n % 4]) for n, row in enumerate(ecg)])
    (folder / "own_network.py").write_text(NETWORK)
    return folder
