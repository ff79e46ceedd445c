"""From a config to a finished run folder, its teacher's first."""

import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import edgeguard
from edgeguard.defenses import checkpoint
from edgeguard.defenses.batches import Records
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.trainer import Fitted, Judge, fit, logits_of
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split, oversample
from edgeguard.errors import InputError
from edgeguard.models.registry import build
from edgeguard.models.run import CONFIG, METRICS, SPLIT, WEIGHTS, Run, is_finished, is_run, load_run, save_tensors
from edgeguard.runtime.files import read_json, write_bytes, write_json

LOG = "log.jsonl"
_SCHEMA = "edgeguard.run/1"


@dataclass(frozen=True)
class Job:
    """One training: its settings, its data, and where it goes.

    Attributes:
        origin: the options that named data and split, as given, so that the config repeats them.
        fixed_test: whether the test part was named by the user; its names then stand in the config.
        resume: go on with an unfinished run in the folder.
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
    resume: bool = False
    say: Callable[[str], None] = print


def default_folder(config: TrainConfig, root: Path = Path("runs")) -> Path:
    """`runs/<defense>-<arch>-<preset>-s<seed>`."""
    arch = config.arch.replace(":", "-").replace("/", "-")
    return root / f"{config.defense}-{arch}-{config.preset}-s{config.seed}"


def train(job: Job) -> Path:
    """Train the job's defence, after its teacher, and return the run folder.

    A finished teacher of the same settings and data beside the run is taken; else it is trained there first.

    Raises InputError when the folder holds another run, or an unfinished one and `resume` is not set.
    """
    # A network that cannot be built is refused before anything is written or a teacher trained.
    build(job.config.arch, classes=len(job.dataset.classes), window=job.dataset.window, seed=job.config.seed)
    settings = run_config(job)
    if finished := _claim(job, settings):
        return finished
    soft_labels, teacher = None, None
    if (teacher_config := job.config.teacher()) is not None:
        teacher = _teacher(job, teacher_config)
        soft_labels = soft_label_table(teacher, job.dataset, job.config.temperature, job.device)
        settings["teacher"] = {"defense": teacher_config.defense, "weights_sha256": teacher.weights_sha256}
    write_json(job.out / CONFIG, settings)
    write_json(job.out / SPLIT, job.split.names(job.dataset))
    fitted = fit(
        job.config,
        job.dataset,
        job.split,
        job.out,
        device=job.device,
        judge=job.judge,
        soft_labels=soft_labels,
        title=f"{job.config.defense} {job.config.arch}",
    )
    _finish(job, fitted, teacher)
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
        "teacher": None,
        "versions": {
            "edgeguard": edgeguard.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }


def soft_label_table(teacher: Run, dataset: Dataset, temperature: float, device: torch.device) -> Tensor:
    """float32 [N, C]: softmax(z / T) of the teacher on every record's clean window, a row a record.

    Indexed by record, so oversampled copies share one label (ADT paper, Algorithm 1, line 9).
    """
    model = teacher.model.to(device)
    logits = logits_of(model, Records(dataset, device), np.arange(len(dataset)))
    return torch.softmax(logits.float() / temperature, dim=1)


def _claim(job: Job, settings: dict[str, Any]) -> Path | None:
    """The folder itself when it already holds this very run, finished; InputError when it holds anything else."""
    out = job.out
    if not is_run(out):
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"{out}: exists and is no run; choose another --out")
        return None
    same = _identity(read_json(out / CONFIG)) == _identity(settings)
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


def _teacher(job: Job, config: TrainConfig) -> Run:
    wanted = replace(job, config=config, out=default_folder(config, job.out.parent))
    identity = _identity(run_config(wanted))
    for entry in sorted(job.out.parent.glob(f"*/{CONFIG}")):
        if is_finished(entry.parent) and _identity(read_json(entry)) == identity:
            job.say(f"teacher: {entry.parent} (finished, same data and settings)")
            return load_run(entry.parent)
    wanted = replace(wanted, out=_vacant(wanted.out, identity, reserved=job.out))
    job.say(f"teacher: training {config.defense} first, in {wanted.out}")
    return load_run(train(wanted))


def _vacant(folder: Path, identity: str, *, reserved: Path) -> Path:
    """The folder, or with a number behind it where it is reserved or holds a run of another identity."""
    number, candidate = 1, folder
    while candidate == reserved or (is_run(candidate) and _identity(read_json(candidate / CONFIG)) != identity):
        number += 1
        candidate = folder.with_name(f"{folder.name}-{number}")
    return candidate


def _identity(config: Any) -> str:
    """The parts of a config that decide the weights."""
    try:
        parts = [config[key] for key in ("classes", "window", "split")] + [config["data"]["fingerprint"]]
        parts.append({f.name: config["options"][f.name] for f in fields(TrainConfig)})
    except (KeyError, TypeError):
        return ""
    return json.dumps(parts, sort_keys=True)


def _finish(job: Job, fitted: Fitted, teacher: Run | None) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in fitted.log)
    write_bytes(job.out / LOG, lines.encode())
    save_tensors(job.out / WEIGHTS, fitted.model.state_dict())
    earlier: dict[str, Any] = {"epochs": [], "seconds": 0.0, "gradient_evaluations": 0, "forward_units": 0}
    if teacher:
        earlier = read_json(teacher.path / METRICS)
    items = len(oversample(job.dataset, job.split.train))
    crafted = (job.config.steps + job.config.smooth_steps) * items * job.config.epochs if job.config.crafts else 0
    write_json(
        job.out / METRICS,
        {
            "parameters": sum(p.numel() for p in fitted.model.parameters()),
            "epochs": [*earlier["epochs"], job.config.epochs],
            "seconds": round(earlier["seconds"] + sum(entry["seconds"] for entry in fitted.log), 1),
            "gradient_evaluations": earlier["gradient_evaluations"] + crafted,
            "forward_units": earlier["forward_units"] + job.config.forward_units,
            "validation": fitted.log[-1]["validation"],
        },
    )
    checkpoint.remove(job.out)
