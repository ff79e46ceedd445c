"""What a command says while it works: a line a step, and bars, both for people."""

import logging
import os
from collections.abc import Callable

Say = Callable[[str], None]
"""Receives a line of progress."""

QUIET = "EDGEGUARD_QUIET"
"""Environment variable: with any value, nothing is said while a command works; its processes heed it too."""

log: Say = logging.getLogger("edgeguard").info


def is_quiet() -> bool:
    """Whether nothing is to be said but errors and results."""
    return bool(os.environ.get(QUIET))


def no_bars() -> bool | None:
    """The `disable` of a tqdm bar: True when quiet; None, which leaves it out where stderr is no terminal."""
    return True if is_quiet() else None
