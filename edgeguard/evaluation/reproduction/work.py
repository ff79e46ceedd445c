"""One job done: claimed, computed, and kept."""

import importlib
import random
import time
from collections.abc import Callable

from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction.claim import Attempt
from edgeguard.evaluation.reproduction.graph import Task
from edgeguard.evaluation.reproduction.store import Store

_LOOK_AGAIN = 0.5


class JobError(InputError):
    """A job ended in an error of its own; the line names job, error and where its traceback is."""


def compute(task: Task, store: Store, attempt: Attempt) -> None:
    """Call a claimed job's function and keep its result; gives the claim back however it ends.

    Raises what the function raises if that is an InputError or an interrupt, and JobError for every other error. An
    error counts for nothing where the result is there meanwhile, or another owner goes on with it.
    """
    with attempt:
        try:
            inputs = [store.path_of(key) for key in task.needs]
            _find(task.function)(task.arguments, task.hints, inputs, attempt.out)
            store.finish(task, attempt)
        except Exception as error:
            if store.is_done(task) or not attempt.is_held():
                return
            if isinstance(error, InputError):
                raise
            raise JobError(_failure(task, store, error)) from error


def complete(task: Task, store: Store) -> None:
    """Have a job's result, by computing it or by waiting for whoever does."""
    while not store.is_done(task):
        attempt = store.claim(task)
        if attempt is None:
            pause()
        else:
            compute(task, store, attempt)


def pause() -> None:
    """Wait a little before looking again whether a job is free; never equally long, so that two do not stay in step."""
    time.sleep(_LOOK_AGAIN * random.uniform(0.5, 1.5))


def _find(function: str) -> Callable[..., None]:
    module, _, name = function.partition(":")
    found: Callable[..., None] = getattr(importlib.import_module(module), name)
    return found


def _failure(task: Task, store: Store, error: Exception) -> str:
    lines = f"{type(error).__name__}: {error}".splitlines()
    trace = store.fail(task, error)
    where = f"; traceback: {trace}" if trace else ""
    return f"{task.title} ({task.key[:12]}): {lines[0]}{where}; the work done so far is kept"
