"""How far a graph of jobs has come, for people, on stderr."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from edgeguard.evaluation.reproduction.claim import Owner
from edgeguard.evaluation.reproduction.graph import Job, Plan
from edgeguard.runtime.telling import is_quiet, no_bars


class Meter:
    """A bar over what is left, weighted by the jobs' cost, or by their number where none has a cost."""

    def __init__(self, plan: Plan, bar: tqdm, *, silent: bool = False) -> None:
        self._bar, self._silent = bar, silent
        self._by_cost = plan.cost_left > 0
        self._jobs = len(plan.to_run)
        self._done = 0

    def begin(self, job: Job) -> None:
        """A job is being computed."""
        self._bar.set_description(job.name)

    def wait(self, owner: Owner | None) -> None:
        """What is left to do is in the hands of another process."""
        if owner is not None:
            self._bar.set_description(f"waiting for {owner.host}, process {owner.pid}")

    def done(self, job: Job) -> None:
        """A job's result is there."""
        self._done += 1
        self._bar.set_postfix_str(f"{self._done}/{self._jobs} jobs", refresh=False)
        self._bar.update(job.cost if self._by_cost else 1)

    def note(self, text: str) -> None:
        """A line above the bar, or alone where there is none because nobody looks."""
        if not self._silent:
            self._bar.write(text, file=sys.stderr)


@contextmanager
def meter(plan: Plan, *, shown: bool) -> Iterator[Meter]:
    """A meter for the jobs to run; silent where there are none."""
    unit = "unit" if plan.cost_left > 0 else "job"
    total = plan.cost_left or len(plan.to_run)
    silent = not (shown and plan.to_run)
    bar = tqdm(total=total, unit=unit, unit_scale=True, dynamic_ncols=True, disable=True if silent else no_bars())
    with bar, _ticking(bar):
        yield Meter(plan, bar, silent=silent or is_quiet())


@contextmanager
def _ticking(bar: tqdm) -> Iterator[None]:
    """Its clock goes on during a long job, where somebody may be looking."""
    end = threading.Event()

    def tick() -> None:
        while not end.wait(1):
            bar.refresh()

    thread = threading.Thread(target=tick, name="bar", daemon=True)
    if not bar.disable and sys.stderr.isatty():
        thread.start()
    try:
        yield
    finally:
        end.set()
        if thread.ident is not None:
            thread.join()
