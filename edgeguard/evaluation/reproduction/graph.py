"""Work as a graph of jobs, each known by its content: what decides a result decides its key.

A job names a function and its arguments; its needs are the jobs whose results the function reads. Two jobs of equal key
are the same work whoever asks for it, so that what one table has trained, the next one finds.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeguard.evaluation.reproduction.store import Store

_FUNCTION = re.compile(r"[\w.]+:\w+")


@dataclass(frozen=True)
class Task:
    """A job as a worker gets it: alone, its needs named by their keys."""

    key: str
    function: str
    arguments: dict[str, Any]
    version: int
    needs: tuple[str, ...]
    title: str
    hints: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Job:
    """One piece of work whose result is stored by content; equal to any job of the same key.

    The function is called as `f(arguments, hints, inputs, out)`: `inputs` are the finished folders of the needs, in
    order, and must not be written to; `out` is a folder for its files, which may hold what an interrupted call of the
    same job left there. It may stand elsewhere at the next call, and is moved when the job is done: no file in it may
    say where it is. The name `job.json` is taken.

    Attributes:
        function: `package.module:function`, importable by any worker.
        arguments: JSON-ready; the function gets them as JSON returns them (a tuple is a list, every key a string).
        title: what people read.
        cost: forward units x records x the network's relative cost; weighs the progress bar.
        resources: what a worker of a cluster must have free, such as {"GPU": 1}.
        version: raised when the function's meaning changes.
        hints: passed to the function, but without influence on its result: paths, device.
        key: SHA-256, in hex, of {"arguments", "function", "needs" (their keys), "version"} as JSON with sorted keys, no
            white space and only ASCII characters.

    Raises TypeError for arguments that are not JSON (NaN is not), ValueError for a function not named as above.
    """

    function: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple["Job", ...] = field(default=(), repr=False)
    title: str = ""
    cost: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    version: int = 1
    hints: Mapping[str, Any] = field(default_factory=dict)
    key: str = field(init=False)

    def __post_init__(self) -> None:
        if not _FUNCTION.fullmatch(self.function):
            raise ValueError(f"{self.function!r}: a function is named package.module:function")
        # What JSON returns is what every worker sees; and a later change of the caller's dict does not matter.
        try:
            arguments = json.loads(json.dumps(dict(self.arguments), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self.name}: its arguments are not JSON ({error})") from error
        object.__setattr__(self, "arguments", arguments)
        object.__setattr__(self, "needs", tuple(self.needs))
        content = {
            "arguments": arguments,
            "function": self.function,
            "needs": [need.key for need in self.needs],
            "version": self.version,
        }
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        object.__setattr__(self, "key", hashlib.sha256(canonical.encode()).hexdigest())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Job) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def name(self) -> str:
        """The title, or the function where there is none."""
        return self.title or self.function

    @property
    def task(self) -> Task:
        """The job without its needs' own content."""
        needs = tuple(need.key for need in self.needs)
        return Task(self.key, self.function, dict(self.arguments), self.version, needs, self.name, dict(self.hints))


@dataclass(frozen=True)
class Plan:
    """What is left to do; both parts with needs first.

    Attributes:
        done: finished jobs that are wanted, or that a job to run needs.
        to_run: jobs that are wanted or needed, and not finished.
    """

    done: tuple[Job, ...]
    to_run: tuple[Job, ...]

    @property
    def cost_left(self) -> float:
        """Cost of the jobs to run."""
        return sum(job.cost for job in self.to_run)


def ordered(jobs: Iterable[Job]) -> list[Job]:
    """The jobs and all that they need: needs first, each key once, otherwise in the order given."""
    return _walk(jobs, lambda job: True)


def plan(jobs: Iterable[Job], store: "Store") -> Plan:
    """What is to run for the jobs, given what a store holds; what only a finished job needs is not."""
    done: dict[str, bool] = {}

    def is_open(job: Job) -> bool:
        done[job.key] = store.is_done(job)
        return not done[job.key]

    found = _walk(jobs, is_open)
    return Plan(tuple(job for job in found if done[job.key]), tuple(job for job in found if not done[job.key]))


def _walk(jobs: Iterable[Job], follow: Callable[[Job], bool]) -> list[Job]:
    """Depth first, without recursion for chains may be long; `follow` says, once a key, whether to visit its needs."""
    found: dict[str, Job] = {}
    stack = [(job, False) for job in reversed(list(jobs))]
    while stack:
        job, needs_found = stack.pop()
        if job.key in found:
            continue
        if needs_found or not follow(job):
            found[job.key] = job
        else:
            stack.append((job, True))
            stack.extend((need, False) for need in reversed(job.needs))
    return list(found.values())
