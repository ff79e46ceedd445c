"""From a config to a finished run folder, its teacher's first."""

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import edgeguard
from edgeguard.defenses import checkpoint, distributed
from edgeguard.defenses.batches import Records
from edgeguard.defenses.budget import Plan
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.cost import forward_units, gradient_steps
from edgeguard.defenses.runs import Shelf, is_same, is_whole, vacant
from edgeguard.defenses.trainer import Fitted, Judge, fit, logits_of
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split, oversample
from edgeguard.errors import InputError
from edgeguard.models.registry import build
from edgeguard.models.run import CONFIG, METRICS, SPLIT, WEIGHTS, Run, is_finished, is_run, load_run, save_tensors
from edgeguard.runtime.files import read_json, sha256_file, write_bytes, write_json

LOG = "log.jsonl"
_SCHEMA = "edgeguard.run/1"


@dataclass(frozen=True)
class Job:
    """One training: its settings, its data, and where it goes.

    Attributes:
        origin: the options that named data and split, as given, so that the config repeats them.
        fixed_test: whether the test part was named by the user; its names then stand in the config.
        teachers: finished runs that give the soft labels, the mean of theirs; none: finds one beside the run, or
            trains it.
        resume: go on with an unfinished run in the folder.
        plan: of the time that this training and those before it have; None sets no end.
        say: receives one line for people now and then.
    """

    config: TrainConfig
    dataset: Dataset
    split: Split
    out: Path
    device: torch.device
    judge: Judge
    origin: dict[str, Any] = field(default_factory=dict)
    fixed_test: bool = False
    teachers: tuple[Path, ...] = ()
    resume: bool = False
    plan: Plan | None = None
    say: Callable[[str], None] = print


def default_folder(config: TrainConfig, root: Path = Path("runs")) -> Path:
    """`runs/<defense>-<arch>-<preset>-s<seed>`."""
    defense, arch = (name.replace(":", "-").replace("/", "-") for name in (config.defense, config.arch))
    return root / f"{defense}-{arch}-{config.preset}-s{config.seed}"


def train(job: Job) -> Path:
    """Train the job's defence, after its teacher, and return the run folder.

    A finished teacher of the same settings and data beside the run is taken; else it is trained there first. Of several
    processes the first alone decides where to train, and writes; all must see the folder.

    Raises InputError when the folder holds another run, or an unfinished one and `resume` is not set.
    """
    # A network that cannot be built is refused before anything is written or a teacher trained.
    build(job.config.arch, classes=len(job.dataset.classes), window=job.dataset.window, seed=job.config.seed)
    settings = run_config(job)
    if finished := distributed.from_main(partial(_claim, job, settings)):
        return finished
    start = _needed(job, "start", job.config.start())
    teachers = _given_teachers(job) if job.teachers else _listed(_needed(job, "teacher", job.config.teacher()))
    deadline = job.plan.deadline(job.config, time.monotonic()) if job.plan else None
    soft_labels = None
    if teachers:
        soft_labels = soft_label_table(teachers, job.dataset, job.config.temperature, job.device)
    settings |= {"start": _named(start), "teacher": _named_all(teachers)}
    distributed.from_main(partial(_begin, job, settings))
    fitted = fit(
        job.config,
        job.dataset,
        job.split,
        job.out,
        device=job.device,
        judge=job.judge,
        soft_labels=soft_labels,
        teachers=[teacher.model for teacher in teachers],
        initial=start.model.state_dict() if start else None,
        deadline=deadline,
        title=f"{job.config.defense} {job.config.arch}",
    )
    if not fitted.log:
        raise InputError(f"{job.out}: the budget was over before the first step; add --resume and a larger --budget")
    distributed.from_main(partial(_finish, job, fitted, start, teachers))
    return job.out


def run_config(job: Job) -> dict[str, Any]:
    """What `config.json` holds: everything that the run depends on, and the versions it was made with."""
    test = [job.dataset.names[i] for i in job.split.test] if job.fixed_test else None
    return {
        "schema": _SCHEMA,
        "defense": job.config.defense,
        "arch": job.config.arch,
        "preset": job.config.preset,
        "seed": job.config.seed,
        "classes": list(job.dataset.classes),
        "window": job.dataset.window,
        "sampling_rate": job.dataset.sampling_rate,
        "options": {**job.config.to_dict(), **job.origin},
        "data": {
            "source": Path(job.dataset.source).name,
            "records": len(job.dataset),
            "fingerprint": job.dataset.fingerprint,
        },
        "split": {"seed": job.split.seed, "fractions": list(job.split.fractions), "test_records": test},
        "start": None,
        "teacher": None,
        "versions": {
            "edgeguard": edgeguard.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def finished_ancestor(job: Job, role: str, config: TrainConfig, shelf: Shelf) -> Path | None:
    """A finished run beside the job's, to start from or learn from: the one it began with, else one not cut short.

    Args:
        role: `start` or `teacher`.
        config: the settings of that run.
    """
    same = shelf.same(run_config(replace(job, config=config)))
    if job.resume and is_run(job.out) and isinstance(began := read_json(job.out / CONFIG).get(role), dict):
        for run in same:
            if sha256_file(run / WEIGHTS) == began["weights_sha256"]:
                return run
    return next((run for run in same if is_whole(run)), None)


def ancestor_folder(job: Job, config: TrainConfig) -> Path:
    """Where a run that the job needs is trained."""
    wanted = run_config(replace(job, config=config))
    return vacant(default_folder(config, job.out.parent), wanted, reserved=job.out)


def soft_label_table(teachers: Sequence[Run], dataset: Dataset, temperature: float, device: torch.device) -> Tensor:
    """float32 [N, C]: softmax(z / T) of the teachers, their mean, on every record's clean window, a row a record.

    Indexed by record, so oversampled copies share one label (ADT paper, Algorithm 1, line 9). Of several teachers the
    probabilities are averaged (Hinton et al. 2015, section 4).
    """
    records, everything = Records(dataset, device), np.arange(len(dataset))
    logits = (logits_of(teacher.model.to(device), records, everything).float() for teacher in teachers)
    return torch.stack([torch.softmax(z / temperature, dim=1) for z in logits]).mean(0)


def _claim(job: Job, settings: dict[str, Any]) -> Path | None:
    """The folder itself when it already holds this very run, finished; InputError when it holds anything else."""
    out = job.out
    if not is_run(out):
        if out.exists() and (not out.is_dir() or any(map(_is_foreign, out.iterdir()))):
            raise InputError(f"{out}: exists and is no run; choose another --out")
        return None
    same = is_same(out, settings)
    if is_finished(out):
        if job.resume and same:
            return out
        raise InputError(f"{out}: holds a finished run; choose another --out")
    if not job.resume:
        raise InputError(f"{out}: holds an unfinished run; add --resume to go on, or choose another --out")
    if not same:
        raise InputError(
            f"{out / CONFIG}: the unfinished run has other settings or data; repeat them, or choose another --out"
        )
    return None


def _is_foreign(entry: Path) -> bool:
    """Whether something in a folder without config is not what a kill in the middle of writing the config leaves."""
    return not entry.name.startswith(f".{CONFIG}.")


def _needed(job: Job, role: str, config: TrainConfig | None) -> Run | None:
    """The run that this one starts from or learns from: a finished one beside it, else trained now."""
    if config is None:
        return None
    found = distributed.from_main(lambda: finished_ancestor(job, role, config, Shelf(job.out.parent)))
    if found:
        job.say(f"{role}: {found} (finished, same data and settings)")
        return load_run(found)
    wanted = replace(job, config=config, out=distributed.from_main(partial(ancestor_folder, job, config)))
    job.say(f"{role}: training {config.defense} first, in {wanted.out}")
    return load_run(train(wanted))


def _given_teachers(job: Job) -> list[Run]:
    """The teachers that the user named; InputError where one cannot teach this run."""
    if job.config.row.teacher is None:
        raise InputError(f"--teacher {job.teachers[0]}: {job.config.defense} learns from none; leave the option out")
    return [_given_teacher(job, path) for path in job.teachers]


def _given_teacher(job: Job, path: Path) -> Run:
    run = load_run(path)
    settings = run_config(job)
    for field_ in ("classes", "window", "sampling_rate"):
        if run.config[field_] != settings[field_]:
            raise InputError(
                f"--teacher {path}: its {field_} is {run.config[field_]}, this run's {settings[field_]}; "
                "name another, or leave the option out"
            )
    # Soft labels of a network that was fitted to other parts would carry test records into training.
    if (run.config["data"]["fingerprint"], run.config["split"]) != (
        settings["data"]["fingerprint"],
        settings["split"],
    ):
        raise InputError(f"--teacher {path}: trained on other data or parts; name another, or leave the option out")
    return run


def _begin(job: Job, settings: dict[str, Any]) -> None:
    """Write what the folder's run is, before its first step."""
    _same_ancestors(job.out / CONFIG, settings)
    write_json(job.out / CONFIG, settings)
    # Thousands of names, which nobody reads one below the other.
    write_json(job.out / SPLIT, job.split.names(job.dataset), indent=None)


def _same_ancestors(path: Path, settings: dict[str, Any]) -> None:
    """InputError where an unfinished run began with another teacher or start."""
    if not path.is_file():
        return
    began = read_json(path)
    for role in ("start", "teacher"):
        if began.get(role) != settings[role]:
            raise InputError(f"{path}: the unfinished run has another {role}; put it back, or choose another --out")


def _listed(run: Run | None) -> list[Run]:
    return [run] if run else []


def _named(run: Run | None) -> dict[str, str] | None:
    return {"defense": run.config["defense"], "weights_sha256": run.weights_sha256} if run else None


def _named_all(teachers: list[Run]) -> Any:
    """One teacher as it always was recorded, several as a list."""
    named = [_named(teacher) for teacher in teachers]
    return named if len(named) > 1 else next(iter(named), None)


def _spent(teachers: list[Run], start: Run | None) -> dict[str, Any]:
    """What was spent before this stage: by the teachers and by what they started from, but for this stage's start."""
    spent_so_far: dict[str, Any] = {"epochs": [], "seconds": 0.0, "gradient_evaluations": 0, "forward_units": 0}
    for teacher in teachers:
        # A teacher that is the start itself is accounted for as the start.
        if _named(teacher) == _named(start):
            continue
        spent = read_json(teacher.path / METRICS)
        for name in spent_so_far:
            spent_so_far[name] = spent_so_far[name] + spent[name]
    return spent_so_far


def _finish(job: Job, fitted: Fitted, start: Run | None, teachers: list[Run]) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in fitted.log)
    write_bytes(job.out / LOG, lines.encode())
    save_tensors(job.out / WEIGHTS, fitted.model.state_dict())
    earlier = _spent(teachers, start)
    done = _whole(sum(entry.get("share", 1) for entry in fitted.log))
    taken_back = sum(len(entry.get("alarms", ())) for entry in fitted.log)
    items = len(oversample(job.dataset, job.split.train))
    crafted = gradient_steps(job.config) * items * (done + taken_back)
    units = _units(job.config, done + taken_back, len(job.dataset.classes), teachers=len(teachers))
    metrics = {
        "parameters": sum(p.numel() for p in fitted.model.parameters()),
        "epochs": [*earlier["epochs"], done],
        "seconds": round(earlier["seconds"] + sum(entry["seconds"] for entry in fitted.log), 1),
        "gradient_evaluations": earlier["gradient_evaluations"] + round(crafted),
        "forward_units": _whole(earlier["forward_units"] + units),
        "validation": fitted.log[-1]["validation"],
    }
    if start:
        before = read_json(start.path / METRICS)
        metrics["start"] = {name: before[name] for name in ("epochs", "seconds", "forward_units")}
    if job.plan:
        metrics["budget"] = job.plan.report(time.monotonic())
    write_json(job.out / METRICS, metrics)
    checkpoint.remove(job.out)


def _units(config: TrainConfig, epochs: float, classes: int, *, teachers: int) -> float:
    """Forward units a record of so many epochs of a stage, the last of which may be cut short."""
    cost = partial(forward_units, classes=classes, teachers=teachers)
    plain = cost(replace(config, warm_up=config.stage_epochs)) / config.stage_epochs
    regularized = cost(replace(config, warm_up=0)) / config.stage_epochs
    return plain * epochs + (regularized - plain) * max(0, epochs - config.warm_up)


def _whole(number: float) -> float:
    """To two decimals, and an integer where it is one."""
    return int(number) if number == int(number) else round(number, 2)
