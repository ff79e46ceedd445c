"""Results by content, in a folder that several machines may share.

    <key[:2]>/<key>/job.json, ...   a finished result: the function's files, and what they are
    partial/<key>/                  attempts at a job that is not finished (claim.py)
    ledger/*.jsonl                  a line a computed job (ledger.py)

A result appears by one rename, when all of it is there, and is never changed again.
"""

import json
import os
import shutil
import time
import traceback
from pathlib import Path
from typing import Any

from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction import ledger
from edgeguard.evaluation.reproduction.claim import LOST_AFTER, Attempt, Owner, Watch, claim, living_owner, unwritable
from edgeguard.evaluation.reproduction.graph import Job, Task
from edgeguard.runtime.files import read_json, sha256_file, write_bytes

SCHEMA = "edgeguard.job/1"
RECORD = "job.json"
"""Name of the file in a finished folder that says what it is."""


class Store:
    """The folder of results.

    Args:
        root: made when the first result comes.
        lost_after: seconds without a heartbeat after which the owner of an attempt on another machine is given up.
    """

    def __init__(self, root: Path | str, *, lost_after: float = LOST_AFTER) -> None:
        self.root = Path(root).absolute()
        self.lost_after = lost_after
        self._watch = Watch(lost_after)

    def path(self, job: Job | Task) -> Path:
        """Where a job's finished result is, or will be."""
        return self.path_of(job.key)

    def path_of(self, key: str) -> Path:
        """The same, by the job's key."""
        return self.root / key[:2] / key

    def is_done(self, job: Job | Task) -> bool:
        """Whether a job's result is there."""
        return (self.path(job) / RECORD).is_file()

    def appears(self, key: str, *, seconds: float = 90) -> bool:
        """Whether the result of a key that another machine has finished is there, or comes to be seen within a while.

        A network file system may show a folder as it was a minute ago.
        """
        end = time.monotonic() + seconds
        while not (self.path_of(key) / RECORD).is_file():
            if time.monotonic() > end:
                return False
            time.sleep(0.5)
        return True

    def partial(self, job: Job | Task) -> Path:
        """The folder of the attempts at an unfinished job."""
        return self.root / "partial" / job.key

    def claim(self, job: Job | Task) -> Attempt | None:
        """The right to compute a job, with the work that was done on it before.

        None while another process has it, or once the result is there.
        Raises InputError when the store cannot be written.
        """
        if self.is_done(job):
            return None
        attempt = claim(self.partial(job), self._watch)
        if attempt is None:
            return None
        # Another may have finished between the look and the claim.
        if self.is_done(job):
            attempt.abandon()
            return None
        # Of an owner that died while finishing.
        try:
            (attempt.out / RECORD).unlink(missing_ok=True)
        except OSError as error:
            attempt.__exit__(None, None, None)
            raise unwritable(self.root, error) from error
        return attempt

    def owner(self, job: Job | Task) -> Owner | None:
        """The process that is computing a job now."""
        return living_owner(self.partial(job), self._watch)

    def finish(self, task: Task, attempt: Attempt) -> bool:
        """Make what an attempt has written the job's result; False where another was faster, or has taken it over.

        Raises InputError when the store cannot be written, ValueError for a file of a name that is taken.
        """
        seconds = round(attempt.seconds, 3)
        if (attempt.out / RECORD).exists():
            raise ValueError(f"{task.function} writes {RECORD}, a name that the store has taken")
        try:
            kept = attempt.is_held() and _seal(task, attempt.out, seconds) and _move(attempt.out, self.path(task))
            if kept or self.is_done(task):
                line = {"key": task.key, "title": task.title, "seconds": seconds}
                ledger.append(self.root, line if kept else {**line, "discarded": True})
                shutil.rmtree(self.partial(task), ignore_errors=True)
        except OSError as error:
            raise unwritable(self.root, error) from error
        return kept

    def fail(self, task: Task, error: BaseException) -> Path | None:
        """Write down where a job failed; None where even that cannot be written."""
        path = self.partial(task) / "traceback.txt"
        try:
            write_bytes(path, "".join(traceback.format_exception(error)).encode())
        except InputError:
            return None
        return path

    def tidy(self) -> None:
        """Remove what a process that died right after finishing a job has left of its attempt."""
        for folder in (self.root / "partial").glob("*"):
            if (self.path_of(folder.name) / RECORD).is_file() and not living_owner(folder, self._watch):
                shutil.rmtree(folder, ignore_errors=True)

    def verify(self, job: Job | Task) -> None:
        """Check that a finished result is what it was when it was finished.

        Raises InputError that names the damaged file, or says that the result is missing, another job's or another
        version's.
        """
        folder = self.path(job)
        mend = _mend(folder)
        try:
            record = read_json(folder / RECORD)
        except InputError as error:
            raise InputError(f"{str(error).partition(';')[0]}; {mend}") from error
        schema = record.get("schema") if isinstance(record, dict) else None
        if schema != SCHEMA:
            raise InputError(f"{folder / RECORD}: schema {schema!r}, this version reads {SCHEMA!r}; {mend}")
        if {**record, **_identity(job if isinstance(job, Task) else job.task)} != record:
            raise InputError(f"{folder / RECORD}: the result of another job; {mend}")
        for name, digest in record["sha256"].items():
            file = folder / name
            if not file.is_file():
                raise InputError(f"{file}: missing from a finished result; {mend}")
            if sha256_file(file) != digest:
                raise InputError(f"{file}: changed since it was finished (SHA-256 differs); {mend}")

    def ledger(self) -> list[dict[str, Any]]:
        """A line a computed job: key, title, seconds, host, pid; `discarded` where another was faster."""
        return ledger.read(self.root)


def _seal(task: Task, out: Path, seconds: float) -> bool:
    """Write the record beside the files; False where the folder has been taken over meanwhile."""
    files = sorted(path for path in out.rglob("*") if path.is_file())
    try:
        record = {
            "schema": SCHEMA,
            "title": task.title,
            **_identity(task),
            "seconds": seconds,
            "sha256": {path.relative_to(out).as_posix(): sha256_file(path) for path in files},
        }
        # Not files.write_json: that makes a missing folder, and here a missing folder is another's.
        with (out / RECORD).open("x", encoding="utf-8") as file:
            file.write(json.dumps(record, indent=2, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError:
        return False
    return True


def _mend(folder: Path) -> str:
    return f"delete the folder {folder}, and it is computed again"


def _identity(task: Task) -> dict[str, Any]:
    return {
        "function": task.function,
        "arguments": task.arguments,
        "version": task.version,
        "needs": list(task.needs),
    }


def _move(out: Path, final: Path) -> bool:
    """Rename a folder to its final name; False where there is a result already, or the folder has been taken over."""
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists() and not (final / RECORD).exists():
        raise InputError(f"{final}: holds something, but no {RECORD} that says what; {_mend(final)}")
    try:
        out.rename(final)
    except OSError:
        if out.exists() and not (final / RECORD).is_file():
            raise
        return False
    return True
