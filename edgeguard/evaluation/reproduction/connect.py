"""A dask client, of a running scheduler or of processes started for the purpose; distributed is imported only here."""

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction.graph import Job, Plan
from edgeguard.evaluation.reproduction.interrupts import held_back
from edgeguard.runtime.system import KILL

if TYPE_CHECKING:
    from distributed import Client, SpecCluster

_ANSWER = 10
"""Seconds that a scheduler has to answer."""
_NEVER = 1_000_000
_VISIBLE = "CUDA_VISIBLE_DEVICES"
_SILENT = logging.CRITICAL + 1
"""What a user has to know of dask's messages is said by the client, a line each."""


@contextmanager
def connect(address: str | None, *, workers: int, gpus: int, todo: Plan) -> Iterator["Client"]:
    """A client of the scheduler at an address, or of so many processes here; these end with the block.

    Raises InputError where dask.distributed is missing, the scheduler does not answer, or no process here would have
    what one of the jobs to run asks for.
    """
    try:
        from distributed.utils import silence_logging_cmgr
    except ImportError as error:
        raise InputError("dask.distributed is not installed; pip install distributed") from error
    with silence_logging_cmgr(_SILENT):
        if address is not None:
            with _scheduler(address) as client:
                yield client
        else:
            with _processes(workers, gpus, todo) as client:
                yield client


def offers(client: "Client", job: Job) -> bool:
    """Whether a worker that has joined has what a job asks for."""
    known = client.scheduler_info()["workers"].values()
    return _any_has((worker["resources"] for worker in known), job)


def _any_has(offered: Iterable[Mapping[str, float]], job: Job) -> bool:
    return any(all(have.get(name, 0) >= amount for name, amount in job.resources.items()) for have in offered)


@contextmanager
def _scheduler(address: str) -> Iterator["Client"]:
    from distributed import Client

    try:
        # A client that fails to start closes itself when it is collected, under a lock that the next one may hold by
        # then. So none is made before somebody answers; asked from a thread, for the caller may have a loop that runs.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(lambda: asyncio.run(_ask(address))).result()
        client = Client(address, timeout=_ANSWER)
    except (OSError, ValueError, TypeError) as error:
        # A TypeError: an address that asks for encryption, and no certificate.
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(f"{address}: no dask scheduler answers ({reason}); start one with `dask scheduler`") from error
    with client:
        yield client


async def _ask(address: str) -> None:
    """Connect to a scheduler as a client would, and hang up; an OSError, ValueError or TypeError where that fails."""
    from distributed.comm import connect as dial
    from distributed.security import Security

    try:
        # What takes the call and says nothing is waited for without end by dask itself.
        async with asyncio.timeout(_ANSWER):
            comm = await dial(address, timeout=_ANSWER, **Security().get_connection_args("client"))
            await comm.close()
    except TimeoutError as error:
        raise TimeoutError(f"nothing said within {_ANSWER} s") from error


@contextmanager
def _processes(workers: int, gpus: int, todo: Plan) -> Iterator["Client"]:
    from distributed import Client

    if workers < 1 or not 0 <= gpus <= workers:
        raise InputError(f"{workers} workers with {gpus} GPUs: at least one worker needed, and one for each GPU")
    if (visible := _visible_gpus()) and gpus > len(visible):
        raise InputError(f"{gpus} workers with a GPU: {_VISIBLE} names only {len(visible)}; ask for fewer")
    offered = [{"GPU": 1.0} if number < gpus else {} for number in range(workers)]
    for job in todo.to_run:
        if not _any_has(offered, job):
            raise InputError(f"{job.name} needs {dict(job.resources)}, which no process of this cluster has")
    with tempfile.TemporaryDirectory(prefix="edgeguard-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        # The workers must not hear Ctrl-C themselves, as all that a terminal runs would.
        with held_back():
            cluster = stack.enter_context(_cluster(offered, folder))
        yield stack.enter_context(Client(cluster))


@contextmanager
def _cluster(offered: list[dict[str, float]], folder: str) -> Iterator["SpecCluster"]:
    cluster = _start(offered, folder)
    try:
        yield cluster
    except BaseException:
        # A thread at work cannot be asked to stop. What it has written is taken over by the next call.
        _kill(cluster)
        raise
    finally:
        with held_back():
            cluster.close()


def _start(offered: list[dict[str, float]], folder: str) -> "SpecCluster":
    import dask
    from distributed import Nanny, Scheduler, SpecCluster

    settings = {
        "temporary-directory": folder,
        # The client counts deaths itself, and does not blame a job that only waited for its turn on a worker that died.
        "distributed.scheduler.allowed-failures": _NEVER,
    }
    # Port 0: whichever is free; dask's status pages answer there even without its dashboard.
    common = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    gpus = _visible_gpus() or [str(number) for number in range(len(offered))]
    own = {**common, "nthreads": 1, "memory_limit": None, "silence_logs": _SILENT, "preload": [__name__]}

    def nanny(number: int) -> dict[str, Any]:
        gpu = {_VISIBLE: gpus[number]} if "GPU" in offered[number] else {}
        return {"cls": Nanny, "options": {**own, "resources": offered[number], "env": gpu}}

    try:
        with dask.config.set(settings):
            return SpecCluster(
                scheduler={"cls": Scheduler, "options": {**common, "port": 0}},
                workers={number: nanny(number) for number in range(len(offered))},
                silence_logs=_SILENT,
            )
    except RuntimeError as error:
        raise InputError(f"the cluster of {len(offered)} processes does not start ({error}); ask for fewer") from error


def dask_setup(worker: object) -> None:
    """Called by dask in every process of `_start`: the bars of several jobs would run into each other."""
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _visible_gpus() -> list[str]:
    """The GPUs that the user's environment restricts CUDA to; empty where it does not."""
    return [name for name in os.environ.get(_VISIBLE, "").split(",") if name]


def _kill(cluster: "SpecCluster") -> None:
    from distributed import Status

    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        # One that is just being started again has no job, and dask waits for it to come up before it closes.
        if nanny.process is not None and nanny.process.status is Status.running:
            with suppress(ProcessLookupError):
                os.kill(nanny.pid, KILL)
