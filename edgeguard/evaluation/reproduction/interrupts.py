"""Ctrl-C at a moment of one's own choice."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker


@contextmanager
def held_back() -> Iterator[None]:
    """Ctrl-C is heard when the block ends, not before.

    Processes that are spawned in the block, or ever after by threads started in it, do not hear it at all: they inherit
    that it is blocked. Without effect outside the main thread, which alone hears Ctrl-C, and on Windows, which lacks
    masks.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Left to the first process that is spawned, starting it would unblock Ctrl-C in the spawning thread.
    resource_tracker.ensure_running()
    heard: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if heard and callable(handler):
            handler(signal.SIGINT, None)
