"""From what a user asks for to a graph of jobs, what of it is left to do, and what that will cost here."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeguard.attacks.gradient import crafting, loss_and_gradient
from edgeguard.attacks.losses import cross_entropy
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split
from edgeguard.errors import InputError, unknown
from edgeguard.evaluation.reproduction.collect import Collection
from edgeguard.evaluation.reproduction.graph import Job, Plan, ordered, plan
from edgeguard.evaluation.reproduction.grid import Grid
from edgeguard.evaluation.reproduction.networks import Network, Networks, resources, run_folders
from edgeguard.evaluation.reproduction.records import BATCH, about_records
from edgeguard.evaluation.reproduction.scope import Scope
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.models.registry import build

STORE = "store"
"""Name of the folder of results in the folder of a reproduction."""


@dataclass(frozen=True)
class Setting:
    """What every network of a reproduction shares.

    Attributes:
        options: of `make_config`: architecture, preset, epochs.
        data, labels: where the records are.
        test_records: names of the test part; None draws it.
        split_seed: of the parts.
        device: `cpu` or `cuda`.
    """

    options: dict[str, Any]
    data: str | None
    labels: Path | None
    test_records: list[str] | None
    split_seed: int
    device: str


@dataclass(frozen=True)
class Reproduction:
    """A graph of jobs, the store that holds their results, and the records that they are about.

    Attributes:
        tested: how many records the test part has.
    """

    scope: Scope
    setting: Setting
    dataset: Dataset
    tested: int
    grid: Grid
    networks: Networks
    store: Store
    jobs: list[Job]

    def plan(self) -> Plan:
        """What is left to do."""
        return plan(self.jobs, self.store)

    def used(self) -> list[Network]:
        """The networks that the results rest on, and those that their training rests on."""
        return self.networks.among(ordered(self.jobs))

    def collect(self) -> Collection:
        """What the jobs found, once they are finished."""
        return Collection(self.grid, self.store, self.dataset)


def prepare(scope: Scope, setting: Setting, *, runs: Sequence[Path], out: Path) -> Reproduction:
    """The graph of a scope. Writes nothing.

    Args:
        runs: folders of finished runs to take, before those under `out`, `runs/` and the package's zoo.
        out: folder of the reproduction.

    Raises InputError for bad input.
    """
    _check_device(setting.device)
    dataset = load_dataset(setting.data, labels=setting.labels)
    parts = split(dataset, seed=setting.split_seed, test_records=setting.test_records)
    about = about_records(dataset, parts, test_records=setting.test_records)
    labels = None if setting.labels is None else str(setting.labels.absolute())
    hints = {"data": _anywhere(setting.data), "labels": labels, "device": setting.device}
    store = Store(out / STORE)
    folders = run_folders(runs, [out, Path("runs")])
    networks = Networks(setting.options, dataset, parts, about, folders=folders, store=store, hints=hints)
    if 6 in scope.tables and scope.seeds == 1:
        scope = replace(scope, control=scope.control or networks.taken("none", 1))
    grid = Grid(
        scope,
        lambda defense, seed: networks.get(defense, seed).job,
        about,
        records=len(parts.test),
        hints=hints,
        resources=resources(hints),
    )
    return Reproduction(scope, setting, dataset, len(parts.test), grid, networks, store, grid.jobs())


def seconds_a_unit(arch: str, *, classes: int, window: int, device: str, least: float = 0.5) -> float:
    """What a forward pass of one record takes here, by the steps of an attack: each is two.

    Args:
        least: seconds to measure for.
    """
    place = torch.device(device)
    model = build(arch, classes=classes, window=window, seed=0).to(place).eval()
    ecg = torch.from_numpy(np.random.default_rng(0).normal(0, 200, (BATCH, 1, window)).astype(np.float32)).to(place)
    labels = torch.zeros(BATCH, dtype=torch.int64, device=place)
    with crafting(model, device) as forward:

        def step() -> float:
            began = time.perf_counter()
            _, gradient = loss_and_gradient(forward, ecg, labels, cross_entropy)
            float(gradient.sum())  # waits for the device
            return time.perf_counter() - began

        step()  # warms up
        taken = [step()]
        while sum(taken) < least:
            taken.append(step())
    return float(np.median(taken)) / (2 * BATCH)


def _anywhere(data: str | None) -> str | None:
    """A path that holds in any working directory; other sources as they are."""
    return str(Path(data).expanduser().absolute()) if data and Path(data).expanduser().exists() else data


def _check_device(device: str) -> None:
    if device not in ("cpu", "cuda"):
        raise unknown("--device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device; use --device cpu")
