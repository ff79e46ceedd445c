"""Functions that jobs of the tests name; the workers of a cluster import them too."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError

Values = dict[str, Any]


def total(arguments: Values, hints: Values, inputs: list[Path], out: Path) -> None:
    """Writes `value` plus twice the sum of the inputs, after a while; a line in `log` tells that it was called."""
    _log(hints, "begin", arguments)
    print(hints.get("says", ""), end="", file=sys.stderr)
    time.sleep(hints.get("sleep", 0))
    (out / "total.txt").write_text(str(arguments["value"] + 2 * sum(read(folder) for folder in inputs)))
    _log(hints, "end", arguments)


def read(folder: Path) -> int:
    """What `total` has written."""
    return int((folder / "total.txt").read_text())


def constant(arguments: Values, hints: Values, inputs: list[Path], out: Path) -> None:
    """A job without arguments."""
    assert arguments == {} and inputs == []
    (out / "deep" / "er").mkdir(parents=True, exist_ok=True)
    (out / "deep" / "er" / "seven.txt").write_text("7")


def steps(arguments: Values, hints: Values, inputs: list[Path], out: Path) -> None:
    """Counts to `steps`, a line each, from those that are there; after `dies_after` lines, ends by `how`, once."""
    path = out / "steps.txt"
    done = len(path.read_text().splitlines()) if path.exists() else 0
    _log(hints, f"begin at {done}", arguments)
    for step in range(done, arguments["steps"]):
        with path.open("a") as file:
            file.write(f"{step}\n")
        if step + 1 == hints.get("dies_after"):
            HOW[hints["how"]]()


def diary(arguments: Values, hints: Values, inputs: list[Path], out: Path) -> None:
    """As `steps`, but holds its file open throughout; stops as a frozen machine does after `freezes_after` lines."""
    with (out / "diary.txt").open("a+") as file:
        file.seek(0)
        for step in range(len(file.readlines()), arguments["steps"]):
            file.write(f"{step}\n")
            file.flush()
            if step + 1 == hints.get("freezes_after"):
                os.kill(os.getpid(), signal.SIGSTOP)


def interrupt() -> None:
    """Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)


def die() -> None:
    """kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def stumble() -> None:
    """An error as a mistake in the function makes it."""
    raise ZeroDivisionError("no way\nto divide")


HOW = {"interrupt": interrupt, "die": die, "stumble": stumble}


def deadly(arguments: Values, hints: Values, inputs: list[Path], out: Path) -> None:
    """Kills every process that computes it."""
    _log(hints, "begin", arguments)
    die()


def refuse(arguments: Values, hints: Values, inputs: list[Path], out: Path) -> None:
    """An error as the user makes it."""
    raise InputError("record A00001: no lead; name another record")


def greedy(arguments: Values, hints: Values, inputs: list[Path], out: Path) -> None:
    """Writes under the name that the store keeps for itself."""
    (out / "job.json").write_text("{}")


def _log(hints: Values, what: str, arguments: Values) -> None:
    if "log" not in hints:
        return
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES")
    line = {"what": what, "arguments": arguments, "pid": os.getpid(), "at": time.time(), "gpu": gpu}
    descriptor = os.open(hints["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, (json.dumps(line) + "\n").encode())
    os.close(descriptor)


def read_log(path: Path) -> list[Values]:
    """The lines that the functions have written to a log."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
