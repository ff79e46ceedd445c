"""A job that fits into a budget: its stages, what is done of them, and the pace that is measured, come together."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeguard.defenses.budget import Stage, candidates, forecast, make_plan
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.runs import Shelf, epochs_begun, is_same
from edgeguard.defenses.stopwatch import Stopwatch
from edgeguard.defenses.train import Job, ancestor_folder, finished_ancestor, run_config
from edgeguard.errors import InputError
from edgeguard.models.run import is_finished, is_run

_HOPELESS = 2.0


def within_budget(
    job: Job, seconds: float, *, began: float, options: dict[str, Any], place: Callable[[TrainConfig], Path]
) -> Job:
    """The job with the preset and epochs that fit into a budget, and a plan of its time; says what was picked.

    Args:
        seconds: the budget, from `began`, a moment of `time.monotonic`.
        options: of `make_config`, as given; those that are None may be picked.
        place: the run folder of settings.

    Raises InputError where there is not even time for one step a stage.
    """
    _refuse_several_processes()
    shelf = Shelf(job.out.parent)
    jobs = {config: replace(job, config=config, out=place(config)) for config in candidates(options)}
    if job.resume:
        jobs = {config: one for config, one in jobs.items() if _is_begun(one, shelf)} or jobs
    watch = Stopwatch(job.dataset, job.split, job.device, budget=seconds)
    cheapest = list(jobs)[-1]

    def stages_of(config: TrainConfig) -> tuple[Stage, ...]:
        to_do = _to_do(jobs[config], shelf)
        guess = [forecast(one, epochs, watch.guess(one, cheapest), watch.sizes) for one, epochs in to_do]
        # A step of a preset that is far too dear can itself take longer than the whole budget.
        if sum(stage.seconds for stage in guess) > _HOPELESS * seconds:
            return tuple(guess)
        return tuple(forecast(one, epochs, watch.pace(one), watch.sizes) for one, epochs in to_do)

    plan = make_plan(list(jobs), stages_of, budget=seconds, began=began)
    for line in plan.lines():
        job.say(line)
    return replace(jobs[plan.config], plan=plan)


def _to_do(job: Job, shelf: Shelf) -> list[tuple[TrainConfig, int]]:
    """The stages that the job still has to train, in their order, each with its epochs."""
    folders = {
        config: ancestor_folder(job, config)
        for role, config in _ancestors(job)
        if not finished_ancestor(job, role, config, shelf)
    }
    if not (job.resume and is_finished(job.out) and is_same(job.out, run_config(job))):
        folders[job.config] = job.out
    return [
        (config, config.stage_epochs - (epochs_begun(folder) if job.resume else 0))
        for config, folder in folders.items()
    ]


def _ancestors(job: Job) -> list[tuple[str, TrainConfig]]:
    """The runs that the job starts from and learns from; no teacher has one of its own."""
    roles = (("start", job.config.start()), ("teacher", None if job.teachers else job.config.teacher()))
    return [(role, config) for role, config in roles if config]


def _is_begun(job: Job, shelf: Shelf) -> bool:
    """Whether any stage of the job is unfinished, or all are finished."""
    if is_same(job.out, run_config(job)):
        return True
    return any(
        is_run(ancestor_folder(job, config))
        for role, config in _ancestors(job)
        if not finished_ancestor(job, role, config, shelf)
    )


def _refuse_several_processes() -> None:
    """InputError under torchrun: every process would measure and stop for itself."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("--budget: one process only; under torchrun give --preset and --epochs")
