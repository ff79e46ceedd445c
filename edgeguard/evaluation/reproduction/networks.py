"""Which network of the reproduction is taken from a finished run, and which has to be trained."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.defenses.cost import forward_units
from edgeguard.defenses.runs import Shelf, is_whole
from edgeguard.defenses.train import Job as Training
from edgeguard.defenses.train import run_config
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split, oversample
from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores
from edgeguard.evaluation.reproduction.graph import Job
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.models.run import WEIGHTS, is_finished
from edgeguard.runtime.files import sha256_file
from edgeguard.runtime.zoo import zoo_folder

_JOBS = "edgeguard.evaluation.reproduction.network_jobs"


@dataclass(frozen=True)
class Network:
    """One defence of one seed, and the job that has it.

    Attributes:
        taken: folder of the finished run that is taken; None where it is trained.
    """

    defense: str
    seed: int
    job: Job
    taken: Path | None


class Networks:
    """The networks of one architecture, preset and data set.

    Args:
        options: of `make_config`, without defence and seed.
        about: of the records, from `about_records`.
        folders: of finished runs, the first of which that has the same settings and data is taken.
        store: what was trained in it before is not looked for elsewhere.
        hints: {"data", "labels", "device"} for the jobs.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        dataset: Dataset,
        parts: Split,
        about: dict[str, Any],
        *,
        folders: Sequence[Path],
        store: Store,
        hints: dict[str, Any],
    ) -> None:
        self._options, self._about, self._hints, self._store = dict(options), about, hints, store
        named = about["split"]["test_records"] is not None
        self._describe = partial(_describe, dataset=dataset, parts=parts, fixed_test=named)
        self._items, self._classes = len(oversample(dataset, parts.train)), len(dataset.classes)
        self._shelves = [Shelf(folder) for folder in folders]
        self._found: dict[tuple[str, int], Network] = {}

    def get(self, defense: str, seed: int) -> Network:
        """The network, by the job that takes or trains it."""
        if (defense, seed) not in self._found:
            self._found[defense, seed] = self._resolve(defense, seed)
        return self._found[defense, seed]

    def taken(self, defense: str, seed: int) -> bool:
        """Whether the network is at hand, finished."""
        network = self.get(defense, seed)
        return network.taken is not None or self._store.is_done(network.job)

    def among(self, jobs: Iterable[Job]) -> list[Network]:
        """Those whose job is one of the jobs."""
        keys = {job.key for job in jobs}
        return [network for network in self._found.values() if network.job.key in keys]

    def _resolve(self, defense: str, seed: int) -> Network:
        config = make_config(**self._options, defense=defense, seed=seed)
        training = self._training(config)
        run = None if self._store.is_done(training) else self._finished(config)
        if run is None:
            return Network(defense, seed, training, None)
        digest = sha256_file(run / WEIGHTS)
        take = Job(
            f"{_JOBS}:take_network",
            {"defense": defense, "seed": seed, "weights_sha256": digest},
            title=f"take {defense} seed {seed}",
            hints={"run": str(run.absolute())},
        )
        return Network(defense, seed, take, run)

    def _finished(self, config: TrainConfig) -> Path | None:
        """The first finished run of the same settings and data that was given all its epochs."""
        described = self._describe(config)
        same = (run for shelf in self._shelves for run in shelf.same(described))
        return next((run for run in same if is_whole(run)), None)

    def _training(self, config: TrainConfig) -> Job:
        # The teacher of a network that starts from its teacher is one network, not two.
        needed = dict.fromkeys(one.defense for one in (config.start(), config.teacher()) if one)
        return Job(
            f"{_JOBS}:train_network",
            {"options": {**self._options, "defense": config.defense, "seed": config.seed}, "records": self._about},
            needs=tuple(self.get(name, config.seed).job for name in needed),
            title=f"train {config.defense} seed {config.seed}",
            cost=float(forward_units(config, classes=self._classes) * self._items),
            resources=resources(self._hints),
            hints=self._hints,
        )


def resources(hints: Mapping[str, Any]) -> dict[str, float]:
    """What a job on a network needs of a cluster's worker."""
    return {"GPU": 1} if hints["device"] == "cuda" else {}


def run_folders(named: Sequence[Path], beside: Sequence[Path]) -> list[Path]:
    """Where finished runs are looked for: the folders named, those beside, the package's zoo.

    Raises InputError for a named folder without a finished run in it.
    """
    for folder in named:
        if not any(is_finished(run) for run in (folder.iterdir() if folder.is_dir() else ())):
            raise InputError(f"--runs {folder}: holds no finished run; name the folder that the run folders are in")
    return [*named, *beside, zoo_folder()]


def _describe(config: TrainConfig, dataset: Dataset, parts: Split, *, fixed_test: bool) -> dict[str, Any]:
    """What the config file of a run of these settings and data would hold."""
    judge = partial(scores, classes=len(dataset.classes))
    training = Training(config, dataset, parts, Path(), torch.device("cpu"), judge, fixed_test=fixed_test)
    return run_config(training)
