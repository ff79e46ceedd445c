"""Jobs in processes of one thread each.

The threads of one job wait for each other: where other work holds a core, all of them wait for the one that shares it.
Jobs in processes of their own wait for nobody.
"""

import io
import multiprocessing
import os
import pickle
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from tqdm import tqdm

from edgeguard.errors import InputError
from edgeguard.runtime.telling import Say, log, no_bars

_PATIENCE = 1.0
"""Seconds in which a process that was asked to end does so, before it is made to."""


@dataclass(frozen=True)
class Job:
    """Work for another process.

    Attributes:
        run: called with `say`, then with what each of `needs` returned; it can be pickled, and so can its result.
        needs: names of jobs that are done before.
    """

    run: Callable[..., Any]
    needs: tuple[str, ...] = ()


def run_jobs(jobs: Mapping[str, Job], *, processes: int = 2, say: Say = log) -> dict[str, Any]:
    """Run jobs in spawned processes of one thread each; a free process takes the first job that can begin.

    Their progress bars become a line a process at the foot of the terminal, and nothing where stderr is none. A script
    that calls this keeps its own work under `if __name__ == "__main__":`, as with all spawned processes.

    Args:
        jobs: name -> job; what a job needs is among them.
        say: takes what the jobs say, and any other line that they print.

    Returns:
        Name -> what the job returned.

    Raises what a job raises if that is an InputError, InputError where a process dies, and RuntimeError with the
    traceback for any other error of a job. However it ends, by Ctrl-C too, no process is left behind.
    """
    waiting, results = dict(jobs), dict[str, Any]()
    with _crew(min(processes, len(jobs))) as crew, closing(_Screen(len(crew), say)) as screen:
        while len(results) < len(jobs):
            for worker in crew:
                if worker.job is None and (name := _ready(waiting, results)):
                    job = waiting.pop(name)
                    worker.begin(name, job.run, [results[need] for need in job.needs])
            for worker in _heard(crew):
                kind, value = worker.receive()
                if kind == "progress":
                    screen.show(crew.index(worker), f"{worker.job}: {value}")
                elif kind == "said":
                    screen.say(value)
                elif kind == "done":
                    results[worker.job or ""], worker.job = value, None
                elif kind == "refused":
                    raise InputError(value)
                else:
                    raise RuntimeError(f"{worker.job} failed:\n{value}")
    return results


def _ready(waiting: Mapping[str, Job], results: Mapping[str, Any]) -> str | None:
    """The first job that lacks nothing."""
    return next((name for name, job in waiting.items() if all(need in results for need in job.needs)), None)


def _heard(crew: "list[_Worker]") -> "list[_Worker]":
    """Those that have sent something, or died; one of them at least."""
    heard = wait([worker.connection for worker in crew])
    return [worker for worker in crew if worker.connection in heard]


class _Worker:
    """A process that works on one job at a time."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.job: str | None = None
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs,), daemon=True)
        self.process.start()
        # With this end closed here, the process's death ends the connection.
        theirs.close()

    def begin(self, name: str, run: Callable[..., Any], needed: list[Any]) -> None:
        self.job = name
        try:
            self.connection.send((run, needed))
        except OSError:
            self._mourn()

    def receive(self) -> tuple[str, Any]:
        """(kind, value) of what it sent; InputError where it has died."""
        try:
            message: tuple[str, Any] = self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            self._mourn()
        return message

    def end(self) -> None:
        self.process.terminate()
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()

    def _mourn(self) -> NoReturn:
        self.process.join(_PATIENCE)
        code = self.process.exitcode
        how = f"by signal {-code}" if code and code < 0 else f"with exit code {code}"
        raise InputError(f"{self.job or 'a job'}: its process died {how}; look at free memory and start it again")


@contextmanager
def _crew(size: int) -> Iterator[list[_Worker]]:
    crew: list[_Worker] = []
    try:
        with _ignoring_interrupts():
            for _ in range(size):
                crew.append(_Worker())
        yield crew
    finally:
        for worker in crew:
            worker.end()


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Processes started in the block do not hear Ctrl-C, which a terminal sends to all: the first one ends the others.

    They inherit that it is ignored, from their first instruction on. Outside the main thread nothing can be set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


class _Screen:
    """A line of progress a process, under what is said; no line where stderr is no terminal."""

    def __init__(self, lines: int, say: Say) -> None:
        self._say = say
        self._bars = [tqdm(bar_format="{desc}", position=line, leave=False, disable=no_bars()) for line in range(lines)]

    def show(self, line: int, text: str) -> None:
        width = shutil.get_terminal_size().columns - 1
        self._bars[line].set_description_str(text[:width])

    def say(self, text: str) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            self._say(text)

    def close(self) -> None:
        for bar in self._bars:
            bar.close()


def _work(ours: Connection) -> None:
    """What a process does: jobs, one after the other, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = "1"
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # imported with the main module, it has read the variable
    # A lock of one process: tqdm's own, which processes share, is missed when this one is ended.
    tqdm.set_lock(threading.RLock())

    lock = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with lock:
            ours.send((kind, value))

    sys.stdout = sys.stderr = _Reports(send)
    with suppress(EOFError, ConnectionError):  # nobody is left to work for
        while True:
            run, needed = ours.recv()
            send(*_outcome(partial(run, partial(send, "said"), *needed)))


def _outcome(run: Callable[[], Any]) -> tuple[str, Any]:
    """(kind, value) of what came of a job."""
    try:
        return "done", run()
    except InputError as error:
        return "refused", str(error)
    except Exception:
        return "failed", traceback.format_exc()


class _Reports(io.TextIOBase):
    """Text of progress bars, which begins with a carriage return, and lines of anything else, as messages."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        self._send = send
        self._line = ""

    def write(self, text: str) -> int:
        """Takes what is printed."""
        *drawn, rest = text.split("\r")
        if drawn and (shown := rest.strip()):
            self._send("progress", shown)
        elif not drawn:
            *lines, self._line = (self._line + rest).split("\n")
            for line in filter(str.strip, lines):
                self._send("said", line)
        return len(text)
