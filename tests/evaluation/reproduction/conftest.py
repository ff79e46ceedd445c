"""No test here loses power: what is written need not reach the disk. And Ctrl-C is heard, even in the background."""

import signal
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="package", autouse=True)
def no_disk() -> Iterator[None]:
    """Without fsync, which takes longer than all else that the tests do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def hears_interrupts() -> Iterator[None]:
    """A shell that starts something in the background has it ignore Ctrl-C."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, handler)
