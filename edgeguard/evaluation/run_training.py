"""One training, from what was named to a finished run."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeguard.defenses import distributed
from edgeguard.defenses.budget import seconds_of
from edgeguard.defenses.budgeted import within_budget
from edgeguard.defenses.config import TrainConfig, make_config
from edgeguard.defenses.train import LOG, Job, default_folder, train
from edgeguard.ecg.arrays import Data, Labels, Signals, check_labelled, records_of
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split
from edgeguard.errors import InputError, unknown
from edgeguard.evaluation import metrics
from edgeguard.evaluation.frames import frame
from edgeguard.evaluation.zoo.located import located
from edgeguard.models.registry import check_window, least_window
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
        classes: in the order of the logits; None in results older than this field, as are the next three.
        sampling_rate: of the input, hertz.
        window: samples of the input.
        notes: what was done to the records, a line each: resampling, records left out.
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
    classes: tuple[str, ...] | None = field(default=None, metadata=IF_GIVEN)
    sampling_rate: float | None = field(default=None, metadata=IF_GIVEN)
    window: int | None = field(default=None, metadata=IF_GIVEN)
    notes: tuple[str, ...] | None = field(default=None, metadata=IF_GIVEN)
    schema: str = SCHEMA

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard train --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made

    @classmethod
    def from_json(cls, value: Any) -> "TrainingResult":
        """Read that again; InputError where it is something else."""
        return from_json(cls, value, where=SCHEMA)

    def to_frame(self) -> Any:
        """A pandas DataFrame of the run's log, a row an epoch of its last stage, scores of the validation part.

        Raises InputError where the run folder is gone, or pandas is not installed.
        """
        path = Path(self.run) / LOG
        if not path.is_file():
            raise InputError(f"{path}: no such file; the table of a training is read from its run folder")
        entries = map(json.loads, path.read_text(encoding="utf-8").splitlines())
        return frame(
            {"epoch": entry["epoch"], "loss": entry["loss"], **entry["validation"], "seconds": entry["seconds"]}
            for entry in entries
        )

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
    sampling_rate: float | None = None,
    window: int | None = None,
    classes: Sequence[str] | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
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
        sampling_rate: hertz; of `data`, what all records are resampled to, by default their own rate; of `ecg`, its
            rate, by default 300.
        window: samples of one input, at least as many as the network needs; None: 30 s, or the longest record where
            all are shorter.
        classes: those to learn, in the order of the logits; records of others are left out. None: those of the data.
        label_map: label of the data -> class, as in `{"AFIB": "A"}`.
        lead: name or number of the lead of records that have several.
        test_records: names of the records that make up the test part.
        split_seed: of the train, validation and test parts.
        budget: time such as `30m`: picks what fits of preset and epochs, and ends in time.
        teacher: finished run that gives the soft labels, or several, the mean of whose labels is learnt.
        out: run folder; None: `runs/DEFENSE-ARCH-PRESET-sSEED`, with a number behind it where that is finished.
        resume: go on with an unfinished run.
        device: auto, cpu or cuda.
        origin: what else the run's config says of data and split, such as the file that `test_records` were read from.
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
    _check_input(config.arch, sampling_rate=sampling_rate, window=window, classes=classes)
    chosen = choose_device(device)
    folder = None if out is None else Path(out)
    with distributed.processes(chosen):
        tell = say if distributed.is_main() else _keep_quiet
        dataset = _training_records(
            partial(
                records_of,
                data,
                ecg,
                labels,
                sampling_rate=sampling_rate,
                classes=classes,
                label_map=label_map,
                lead=lead,
            ),
            window=data.window if isinstance(data, Dataset) else window,
            least=least_window(config.arch),
        )
        for line in _described(dataset):
            tell(line)

        def place(config: TrainConfig) -> Path:
            return folder or _vacant(default_folder(config), resume=resume)

        job = Job(
            config,
            dataset,
            split(dataset, seed=split_seed, test_records=test_records),
            place(config),
            chosen,
            partial(metrics.scores, classes=len(dataset.classes)),
            origin={
                **_named(
                    data=data,
                    labels=labels,
                    split_seed=split_seed,
                    sampling_rate=sampling_rate,
                    window=window,
                    classes=None if classes is None else ",".join(classes),
                    label_map=None if label_map is None else ",".join(f"{a}={b}" for a, b in label_map.items()),
                    lead=lead,
                ),
                **(origin or {}),
            },
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
    about |= {name: getattr(dataset, name) for name in ("sampling_rate", "window")}
    about |= {name: list(getattr(dataset, name)) for name in ("classes", "notes")}
    return TrainingResult.from_json({"run": str(run), **about, **read_json(run / METRICS)})


def choose_device(name: str) -> torch.device:
    """`auto`, `cpu` or `cuda` as a device of this process; InputError for another name, or without CUDA."""
    if name not in ("auto", "cpu", "cuda"):
        raise unknown("--device", name, ("auto", "cpu", "cuda"))
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: torch finds no CUDA device; use --device cpu")
    return distributed.local_device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _check_input(arch: str, *, sampling_rate: float | None, window: int | None, classes: Sequence[str] | None) -> None:
    """Refuse what no network can be trained for, before the records are read."""
    if sampling_rate is not None and not 0 < sampling_rate < math.inf:
        raise InputError(f"--sampling-rate {sampling_rate:g}: a number above 0 needed")
    if window is not None:
        check_window(arch, window)
    if classes is not None and (len(classes) < 2 or len(set(classes)) < len(classes)):
        raise InputError(f"--classes {','.join(classes)}: at least two different names needed")


def _training_records(load: Callable[..., Dataset], *, window: int | None, least: int) -> Dataset:
    """The records in windows of so many samples, or of the length that suits them.

    Args:
        load: the records in windows of the length `window`, of 30 s for None.
        least: samples of the shortest window that the network takes.

    Raises InputError for records without labels, and for fewer than two classes.
    """
    dataset = load(window=window)
    if window is None and (longest := int(dataset.record_length.max())) < dataset.window:
        dataset = load(window=min(max(longest, least), dataset.window))
    check_labelled(dataset)
    present = np.unique(dataset.labels)
    if len(present) < 2:
        names = ", ".join(dataset.classes[place] for place in present)
        raise InputError(f"{dataset.source}: all records are of one class ({names}); a training needs at least two")
    return dataset


def _described(dataset: Dataset) -> list[str]:
    """What is trained on, for people."""
    seconds, classes = dataset.window / dataset.sampling_rate, ", ".join(dataset.classes)
    return [
        f"data: {dataset.source}, {len(dataset)} records of {classes}, {dataset.sampling_rate:g} Hz, "
        f"windows of {dataset.window} samples ({seconds:.4g} s)",
        *dataset.notes,
    ]


def _paths(teacher: str | Path | Sequence[str | Path] | None) -> tuple[Path, ...]:
    if teacher is None:
        return ()
    return tuple(map(located, [teacher] if isinstance(teacher, str | Path) else teacher))


def _keep_quiet(line: str) -> None:
    """What the processes of a distributed training say that are not the first."""


def _named(**given: Any) -> dict[str, Any]:
    """What was named by text or number, as the command's options take it, so that the run's config repeats it."""
    return {
        name: value if isinstance(value, int | float) else str(value)
        for name, value in given.items()
        if isinstance(value, str | Path | int | float)
    }


def _vacant(default: Path, *, resume: bool) -> Path:
    """The default folder, or with a number behind it where finished runs have it already.

    To go on, the one that holds an unfinished run, else the default.
    """
    folder, number = default, 1
    while is_finished(folder):
        number += 1
        folder = default.with_name(f"{default.name}-{number}")
    return default if resume and not is_run(folder) else folder
