"""A graph of jobs in this process."""

from collections.abc import Iterable
from pathlib import Path

from edgeguard.evaluation.reproduction.claim import Attempt
from edgeguard.evaluation.reproduction.graph import Job, Plan, ordered, plan
from edgeguard.evaluation.reproduction.progress import Meter, meter
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.evaluation.reproduction.work import compute, pause


def run_graph(jobs: Iterable[Job], store: Store, *, progress: bool = True) -> dict[str, Path]:
    """Compute what is missing for the jobs, one at a time, needs first.

    Several processes, on whatever machines, may do so on one store at the same time: each takes what none of the others
    is at work on. Interrupted, by whatever, the same call goes on with the work that is there.

    Returns:
        Key -> finished folder, of the jobs and of all that they need, as far as it is there: a finished job does
        without its needs.

    Raises InputError for a damaged result, a store that cannot be written, or from a job; JobError, which names the
    job, for any other error of a job.
    """
    jobs = list(jobs)
    todo = prepare(jobs, store)
    with meter(todo, shown=progress) as bar:
        _run(todo, store, bar)
    return finished(jobs, store)


def prepare(jobs: list[Job], store: Store) -> Plan:
    """What is to run, once the results that it rests on, and those wanted, have been verified."""
    store.tidy()
    todo = plan(jobs, store)
    for job in todo.done:
        store.verify(job)
    return todo


def finished(jobs: list[Job], store: Store) -> dict[str, Path]:
    """Key -> finished folder, where there is one."""
    return {job.key: store.path(job) for job in ordered(jobs) if store.is_done(job)}


def _run(todo: Plan, store: Store, bar: Meter) -> None:
    done = {job.key for job in todo.done}
    waiting = {job.key: job for job in todo.to_run}
    while waiting:
        job, attempt = _next(waiting, done, store)
        if job is None:
            # The first of those left needs nothing that is left too, so another process is at work on it.
            bar.wait(store.owner(next(iter(waiting.values()))))
            pause()
            continue
        if attempt is not None:
            bar.begin(job)
            compute(job.task, store, attempt)
        if store.is_done(job):
            bar.done(job)
            done.add(job.key)
            del waiting[job.key]


def _next(waiting: dict[str, Job], done: set[str], store: Store) -> tuple[Job | None, Attempt | None]:
    """The first job that others have finished, or that is ready and free, then with the claim to it."""
    for job in waiting.values():
        if store.is_done(job):
            return job, None
        if all(need.key in done for need in job.needs):
            attempt = store.claim(job)
            if attempt is not None:
                return job, attempt
    return None, None
