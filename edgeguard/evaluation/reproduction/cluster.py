"""A graph of jobs on many processes or machines, by dask.distributed.

The scheduler hands out jobs and notices what is lost; results travel through the store's folder alone, which every
worker sees under the same path. That no job is computed twice, not even by a worker that was given up and still lives,
is the claims' doing (claim.py), not the scheduler's.
"""

import importlib
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import edgeguard
from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction.claim import Watch, living_owner
from edgeguard.evaluation.reproduction.connect import connect, offers
from edgeguard.evaluation.reproduction.graph import Job, Plan, Task
from edgeguard.evaluation.reproduction.local import finished, prepare
from edgeguard.evaluation.reproduction.progress import Meter, meter
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.evaluation.reproduction.work import JobError, complete

if TYPE_CHECKING:
    from distributed import Client, Future

DEATHS = 3
"""Workers that a job takes with it before it is blamed."""


def run_on_cluster(
    jobs: Iterable[Job],
    store: Store,
    *,
    address: str | None = None,
    workers: int = 2,
    gpus: int = 0,
    progress: bool = True,
) -> dict[str, Path]:
    """Compute what is missing for the jobs on a cluster; the results are those of `run_graph`.

    Args:
        address: of a running scheduler, such as tcp://node1:8786; None: processes of this machine, while it lasts.
        workers: how many of those, each computing one job at a time.
        gpus: how many of them have a GPU, each another one, and so the resource {"GPU": 1}.

    Returns:
        As `run_graph`.

    Raises InputError where dask.distributed is not installed, no scheduler answers, no process of this machine offers
    what a job asks for, or a worker sees another store or has another edgeguard; and as `run_graph`. A job that has
    killed three workers is named by a JobError.
    """
    jobs = list(jobs)
    todo = prepare(jobs, store)
    if todo.to_run:
        with connect(address, workers=workers, gpus=gpus, todo=todo) as client, meter(todo, shown=progress) as bar:
            _Run(client, todo, store, bar).complete()
    return finished(jobs, store)


class _Run:
    """A graph on a cluster, as its client sees it."""

    def __init__(self, client: "Client", todo: Plan, store: Store, bar: Meter) -> None:
        self._client = client
        self._store = store
        self._bar = bar
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._deaths: Counter[str] = Counter()
        # Two stores may share a scheduler, and a result in the one is none in the other.
        place = sha256(str(store.root).encode()).hexdigest()[:8]
        self._jobs = {f"{job.key}-{place}": job for job in todo.to_run}
        self._futures: dict[str, Future] = {}

    def complete(self) -> None:
        """Hand in the jobs and wait until all are done; what is left is called off however it ends."""
        self._client.subscribe_topic("all", self._events.put)
        try:
            self._submit()
            self._wait()
        finally:
            self._client.unsubscribe_topic("all")
            self._client.cancel(list(self._futures.values()))

    def _submit(self) -> None:
        names = {job.key: name for name, job in self._jobs.items()}
        for name, job in self._jobs.items():
            # A need without a future is done.
            needs = [self._futures[names[need.key]] for need in job.needs if need.key in names]
            resources = dict(job.resources) or None
            place = str(self._store.root), self._store.lost_after
            future = self._client.submit(
                _compute,
                job.task,
                place,
                edgeguard.__version__,
                needs,
                _registered(),
                key=name,
                resources=resources,
            )
            future.add_done_callback(self._events.put)
            self._futures[name] = future

    def _wait(self) -> None:
        for job in self._jobs.values():
            if not offers(self._client, job):
                self._bar.note(f"{job.name} waits for a worker that has {_needed(job)}; none has joined yet")
                break
        left = len(self._jobs)
        while left:
            event = self._events.get()
            if isinstance(event, tuple):
                self._hear(event[1])
            else:
                self._finish(event)
                left -= 1

    def _finish(self, future: "Future") -> None:
        job = self._jobs[str(future.key)]
        if future.cancelled():
            raise InputError(f"{job.name}: the scheduler has gone; start it again, and the same command goes on")
        error = future.exception()
        if error is not None:
            raise _explain(error, job)
        if not self._store.is_done(job):
            raise InputError(f"{self._store.path(job)}: missing, though a worker says it is done; {_SHARE}")
        self._bar.done(job)

    def _hear(self, event: dict[str, Any]) -> None:
        """Count who was at work on a worker when it was lost; jobs that only waited there are not to blame."""
        if event.get("action") != "remove-worker" or event.get("expected"):
            return
        lost = (self._jobs[name] for name in event.get("processing-tasks", ()) if name in self._jobs)
        begun = [job for job in lost if self._store.partial(job).is_dir()]
        # What only waited there may have been begun elsewhere before this was heard: then somebody is at work on it.
        watch = Watch(self._store.lost_after)
        begun = [job for job in begun if living_owner(self._store.partial(job), watch) is None] or begun
        if begun:
            self._bar.note(f"lost a worker ({event['worker']}) at {', '.join(job.name for job in begun)}; goes on")
        for job in begun:
            self._deaths[job.key] += 1
            if self._deaths[job.key] >= DEATHS:
                raise JobError(_blame(job))


_SHARE = "the store must be one folder that the client and all workers see under the same path"


_REGISTRIES = ("edgeguard.models.registry", "edgeguard.defenses.recipes")
"""Modules whose `REGISTRY` holds what a user registered; without torch, and so unloaded, they hold nothing."""


def _registered() -> dict[str, tuple[str, ...]]:
    """Module of a registry -> the names of the user's own objects that were registered here."""
    loaded = {name: sys.modules[name] for name in _REGISTRIES if name in sys.modules}
    return {name: module.REGISTRY.typed() for name, module in loaded.items()}


def _compute(
    task: Task,
    place: tuple[str, float],
    version: str,
    needs: list[str],
    registered: Mapping[str, tuple[str, ...]] | None = None,
) -> str:
    """On a worker: have a job's result in the store. `needs` are there for dask to wait for; returns the key.

    Args:
        registered: `_registered` of the client, where a person typed the names.
    """
    for module, names in (registered or {}).items():
        if names:
            importlib.import_module(module).REGISTRY.permit(names)
    if version != edgeguard.__version__:
        raise InputError(f"a worker has edgeguard {edgeguard.__version__}, the client {version}; install the same")
    root, lost_after = place
    store = Store(root, lost_after=lost_after)
    for key in task.needs:
        if not store.appears(key):
            raise InputError(f"{store.path_of(key)}: missing on a worker; {_SHARE}")
    complete(task, store)
    return task.key


def _explain(error: BaseException, job: Job) -> InputError:
    from distributed.scheduler import KilledWorker

    if isinstance(error, InputError):
        return error
    if isinstance(error, KilledWorker):
        return JobError(_blame(job))
    if isinstance(error, ModuleNotFoundError):
        return InputError(f"a worker cannot import what it needs ({error}); install the same on every machine")
    return JobError(f"{job.name} ({job.key[:12]}): {type(error).__name__}: {error}")


def _blame(job: Job) -> str:
    return f"{job.name} ({job.key[:12]}): every worker that began it died, at least {DEATHS}; look at their memory"


def _needed(job: Job) -> str:
    return ", ".join(f"{name}={amount:g}" for name, amount in job.resources.items()) or "a free thread"
