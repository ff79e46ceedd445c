"""One training, from what was named to a finished run."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from edgeguard.defenses import distributed
from edgeguard.defenses.budget import seconds_of
from edgeguard.defenses.budgeted import within_budget
from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.defenses.train import Job, default_folder, train
from edgeguard.ecg.arrays import Data, Labels, Signals, records_of
from edgeguard.ecg.split import split
from edgeguard.errors import InputError
from edgeguard.evaluation import metrics
from edgeguard.evaluation.zoo.located import located
from edgeguard.models.run import METRICS, is_finished, is_run
from edgeguard.runtime.files import read_json
from edgeguard.runtime.telling import Say, log
from edgeguard.runtime.typed_json import IF_GIVEN, from_json, to_json

SCHEMA = "edgeguard.train/1"


@dataclass(frozen=True)
class Validation:
    """Scores on the validation part, which chooses and is not the test."""

    accuracy: float
    f1: float


@dataclass(frozen=True)
class TrainingResult:
    """A finished run.

    Attributes:
        run: its folder.
        parameters: of the network.
        epochs: of every stage, the teacher's first.
        seconds: of all stages.
        gradient_evaluations: of crafting, in all stages.
        forward_units: cost in passes forward a training record.
        start: what the undefended network cost that every stage started from: epochs, seconds, forward units.
        budget: what became of the time that was given.
    """

    run: str
    defense: str
    arch: str
    preset: str
    seed: int
    parameters: int
    epochs: tuple[float, ...]
    seconds: float
    gradient_evaluations: int
    forward_units: float
    validation: Validation
    start: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    budget: dict[str, Any] | None = field(default=None, metadata=IF_GIVEN)
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard train --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made

    @classmethod
    def from_json(cls, value: Any) -> "TrainingResult":
        """Read that again; InputError where it is something else."""
        return from_json(cls, value, where=SCHEMA)

    def __repr__(self) -> str:
        epochs = " + ".join(map(str, self.epochs))
        return (
            f"TrainingResult({self.run}: {self.defense}, {self.arch}, {self.preset}, seed {self.seed}, "
            f"{epochs} epochs; validation accuracy {self.validation.accuracy:.3f}, F1 {self.validation.f1:.3f})"
        )


def train_model(
    *,
    data: Data | None = None,
    ecg: Signals | None = None,
    labels: Labels | None = None,
    test_records: Sequence[str] | None = None,
    split_seed: int = 0,
    budget: str | None = None,
    teacher: str | Path | Sequence[str | Path] | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    device: str = "auto",
    origin: dict[str, Any] | None = None,
    say: Say = log,
    **options: Any,
) -> TrainingResult:
    """Train one defence on ECG records; its teacher, where it has one, comes first.

    Under torchrun all processes train together, and return the same.

    Args:
        data: records, as `load_dataset` takes them; None: the fetched ones, else synthetic.
        ecg, labels: records instead of `data`, microvolts [N, T] or N arrays, with their classes; or of `data`, its
            reference CSV.
        test_records: names of the records that make up the test part.
        split_seed: of the train, validation and test parts.
        budget: time such as `30m`: picks what fits of preset and epochs, and ends in time.
        teacher: finished run that gives the soft labels, or several, the mean of whose labels is learnt.
        out: run folder; None: `runs/DEFENSE-ARCH-PRESET-sSEED`, with a number behind it where that is finished.
        resume: go on with an unfinished run.
        device: auto, cpu or cuda.
        origin: names of data and split for the run's config, where they are not those above.
        say: receives a line now and then.
        options: of `edgeguard.defenses.config.TrainConfig`: defense, arch, preset, seed, epochs, batch, eps, ...

    Raises InputError for anything that cannot be, and KeyboardInterrupt where it was interrupted; what is there then
    goes on with `resume`.
    """
    began = time.monotonic()
    seconds = seconds_of(budget) if budget is not None else None
    config = make_config(**options)
    if split_seed < 0:
        raise InputError(f"--split-seed {split_seed}: at least 0 needed")
    chosen = choose_device(device)
    folder = None if out is None else Path(out)
    with distributed.processes(chosen):
        tell = say if distributed.is_main() else _keep_quiet
        dataset = records_of(data, ecg, labels)
        tell(f"data: {dataset.source}, {len(dataset)} records")

        def place(config: TrainConfig) -> Path:
            return folder or _vacant(default_folder(config), resume=resume)

        job = Job(
            config,
            dataset,
            split(dataset, seed=split_seed, test_records=test_records),
            place(config),
            chosen,
            partial(metrics.scores, classes=len(dataset.classes)),
            origin=_origin(data, labels, split_seed) if origin is None else origin,
            fixed_test=test_records is not None,
            teachers=_paths(teacher),
            resume=resume,
            say=tell,
        )
        try:
            if seconds is not None:
                job = within_budget(job, seconds, began=began, options=options, place=place)
            run = train(job)
        except KeyboardInterrupt:
            tell(f"interrupted; the same command with --resume goes on (unfinished run: {job.out})")
            raise
    about = {name: getattr(job.config, name) for name in ("defense", "arch", "preset", "seed")}
    return TrainingResult.from_json({"run": str(run), **about, **read_json(run / METRICS)})


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device of this process; InputError for another name, or without CUDA."""
    if name not in ("auto", "cpu", "cuda"):
        raise InputError(f"--device {name}: auto, cpu or cuda needed")
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device; use --device cpu")
    return distributed.local_device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _paths(teacher: str | Path | Sequence[str | Path] | None) -> tuple[Path, ...]:
    if teacher is None:
        return ()
    return tuple(map(located, [teacher] if isinstance(teacher, str | Path) else teacher))


def _keep_quiet(line: str) -> None:
    """What the processes of a distributed training say that are not the first."""


def _origin(data: Data | None, labels: Labels | None, split_seed: int) -> dict[str, Any]:
    """What was named by text, so that the run's config repeats it."""
    named = {"data": data, "labels": labels, "split_seed": split_seed}
    return {name: one if isinstance(one, int) else str(one) for name, one in named.items() if _is_named(one)}


def _is_named(value: Any) -> bool:
    return isinstance(value, str | Path | int)


def _vacant(default: Path, *, resume: bool) -> Path:
    """The default folder, or with a number behind it where finished runs have it already.

    To go on, the one that holds an unfinished run, else the default.
    """
    folder, number = default, 1
    while is_finished(folder):
        number += 1
        folder = default.with_name(f"{default.name}-{number}")
    return default if resume and not is_run(folder) else folder
