"""Who is computing a job: at most one process at a time, on whatever machine, without a server that keeps count.

An attempt is a folder named after its owner, beside it other attempts at the same job:

    partial/<key>/<owner>/work         what the function has written so far
    partial/<key>/<owner>/heartbeat    seconds spent on the job, written every few seconds while the owner lives

Only an owner works in its folder. Whoever takes over the work of a dead owner renames the folder to a name of its own:
one rename, so one taker. An owner that was only thought dead (a frozen machine, a lost mount) finds its path gone and
can neither spoil nor finish what another goes on with. Where two arrive at once, each shows itself first and looks
around second, so that at least one sees the other, and withdraws.

An owner on this machine is dead when its process is. Any other is given up when its heartbeat has not changed for a
minute of the observer's own clock; clocks are never compared. Its work is copied, for it may hold files open.
"""

import hashlib
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType

from edgeguard.errors import InputError

WORK = "work"
HEARTBEAT = "heartbeat"
LOST_AFTER = 60.0
"""Seconds without a heartbeat after which an owner on another machine is given up."""
_BEAT = 5.0
_RELEASED = "released"
_HIDDEN = ".new-"
_HELD: set[str] = set()
"""Names of the attempts of this process."""


@dataclass(frozen=True)
class Owner:
    """A process, as the name of an attempt's folder states it.

    Attributes:
        host: as people know the machine.
        machine: tells apart what has processes of its own: machines, containers, a machine before and after a restart.
        started: when the process started, by the kernel's count, for numbers of processes are used again; 0 if unknown.
    """

    host: str
    machine: str
    pid: int
    started: int

    @classmethod
    def here(cls) -> "Owner":
        """This process."""
        return cls(host_name(), _machine(), os.getpid(), _started(os.getpid()) or 0)

    @classmethod
    def parse(cls, name: str) -> "Owner | None":
        """The owner that a folder is named after; None where nobody holds it."""
        parts = name.rsplit(".", 4)
        if len(parts) != 5 or not (parts[2].isdecimal() and parts[3].isdecimal()):
            return None
        return cls(parts[0], parts[1], int(parts[2]), int(parts[3]))

    def new_name(self) -> str:
        """A name for a folder of this owner's, never used before."""
        return f"{self.host}.{self.machine}.{self.pid}.{self.started}.{uuid.uuid4().hex[:8]}"

    def has_died(self) -> bool | None:
        """Whether the process is gone; None where that cannot be seen from here."""
        if self.machine != _machine() or os.name != "posix":
            return None
        started = _started(self.pid)
        return started is None or started != self.started


class Watch:
    """Heartbeats as this process has seen them."""

    def __init__(self, lost_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._lost_after = lost_after
        self._clock = clock
        self._seen: dict[Path, tuple[bytes, float]] = {}

    def is_lost(self, attempt: Path) -> bool:
        """Whether nobody works on an attempt any more."""
        owner = Owner.parse(attempt.name)
        died = True if owner is None else owner.has_died()
        if owner == Owner.here():
            died = attempt.name not in _HELD
        if died is not None:
            return died
        beat = _read(attempt / HEARTBEAT)
        last, since = self._seen.get(attempt, (None, 0.0))
        if beat != last:
            self._seen[attempt] = beat, self._clock()
            return False
        return self._clock() - since > self._lost_after


class Attempt:
    """A job that this process has claimed; as a context manager it gives the job back at the end, the work kept.

    Attributes:
        out: the folder to work in, with what earlier attempts left.
    """

    def __init__(self, folder: Path, *, spent: float) -> None:
        self.folder = folder
        self.out = folder / WORK
        self._spent = spent
        self._began = time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """Spent on the job, by earlier attempts too."""
        return self._spent + time.monotonic() - self._began

    def is_held(self) -> bool:
        """Whether it still is this owner's: a folder of the same name that the function made anew has no heartbeat."""
        return (self.folder / HEARTBEAT).is_file()

    def abandon(self) -> None:
        """Give the job up, and the work with it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.__exit__(None, None, None)

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if self.is_held() and self.out.is_dir():
            self._write_heartbeat()
            # Where that fails, it counts as lost all the same, for it is not held any more.
            with suppress(OSError):
                _rename(self.folder, _released(self.folder))
        _HELD.discard(self.folder.name)

    def _beat(self) -> None:
        while not self._stop.wait(_BEAT):
            self._write_heartbeat()

    def _write_heartbeat(self) -> None:
        # Never made anew: without it, the folder is no longer this owner's.
        with suppress(OSError), (self.folder / HEARTBEAT).open("r+b") as file:
            file.write(f"{self.seconds:014.1f}\n".encode())


def claim(folder: Path, watch: Watch) -> Attempt | None:
    """Claim the job whose attempts lie in a folder; None while another owner lives, or has just come first.

    Raises InputError when the folder cannot be written.
    """
    mine = folder / Owner.here().new_name()
    attempt = None
    _HELD.add(mine.name)
    try:
        others = _attempts(folder)
        if not others:
            attempt = _begin(mine)
        elif all(watch.is_lost(other) for other in others):
            # Of several, which only a file system that lies can leave, the one that got furthest.
            attempt = _take_over(max(others, key=lambda other: (_spent(other), other.name)), mine, watch)
    except OSError as error:
        raise unwritable(folder.parent.parent, error) from error
    finally:
        if attempt is None:
            _HELD.discard(mine.name)
    return attempt


def unwritable(root: Path, error: OSError) -> InputError:
    """What to say of a store that the disk refuses to write."""
    return InputError(f"{root}: cannot be written ({error.strerror}); free space or choose another folder")


def living_owner(folder: Path, watch: Watch) -> Owner | None:
    """Who is at work on the job whose attempts lie in a folder."""
    living = (Owner.parse(attempt.name) for attempt in _attempts(folder) if not watch.is_lost(attempt))
    return next(living, None)


def _take_over(other: Path, mine: Path, watch: Watch) -> Attempt | None:
    spent = _spent(other)
    owner = Owner.parse(other.name)
    is_certain = owner is None or owner.has_died()
    if not (_rename if is_certain else _copy)(other, mine):
        return None
    # Whoever began while the folder changed its name may have looked before this one was there to be seen.
    if any(one != mine and not watch.is_lost(one) for one in _attempts(mine.parent)):
        _rename(mine, _released(mine))
        return None
    return Attempt(mine, spent=spent)


def _copy(other: Path, mine: Path) -> bool:
    """Take over from an owner that may live and hold files open: what it writes into them is no longer read."""
    taken = mine.with_name(Owner.here().new_name())
    hidden = mine.with_name(_HIDDEN + mine.name)
    _HELD.add(taken.name)
    try:
        if not _rename(other, taken):
            return False
        shutil.copytree(taken, hidden)
        if not _rename(hidden, mine):
            return False
        shutil.rmtree(taken, ignore_errors=True)
    finally:
        _HELD.discard(taken.name)
    return True


def _begin(mine: Path) -> Attempt | None:
    hidden = mine.with_name(_HIDDEN + mine.name)
    (hidden / WORK).mkdir(parents=True)
    (hidden / HEARTBEAT).write_bytes(b"0\n")
    # The folder around it may have been cleared away by whoever finished the job.
    if not _rename(hidden, mine):
        return None
    # Even one that has been given back meanwhile: what was done there is worth taking over.
    if any(other != mine for other in _attempts(mine.parent)):
        shutil.rmtree(mine, ignore_errors=True)
        return None
    return Attempt(mine, spent=0.0)


def _released(attempt: Path) -> Path:
    """A new name for an attempt that nobody holds any more."""
    return attempt.with_name(f"{_RELEASED}-{uuid.uuid4().hex[:8]}")


def _attempts(folder: Path) -> list[Path]:
    """Attempts that count; a folder without heartbeat was made by a function whose attempt had been taken over."""
    while True:
        try:
            names = sorted(name for name in os.listdir(folder) if name[0] != ".")
        except FileNotFoundError:
            return []
        found = [folder / name for name in names if (folder / name / HEARTBEAT).is_file()]
        # One that is gone by now may stand under a new name that the list does not have.
        if all((folder / name).exists() for name in names):
            return found


def _rename(source: Path, target: Path) -> bool:
    try:
        source.rename(target)
    except FileNotFoundError:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _spent(attempt: Path) -> float:
    try:
        return float(_read(attempt / HEARTBEAT))
    except ValueError:
        return 0.0


def host_name() -> str:
    """The machine's name, without its domain."""
    return socket.gethostname().partition(".")[0] or "host"


@cache
def _machine() -> str:
    facts = [socket.gethostname(), f"{uuid.getnode():x}"]
    if Path("/proc/self/ns/pid").exists():
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        facts = [socket.gethostname(), boot, os.readlink("/proc/self/ns/pid")]
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:8]


def _started(pid: int) -> int | None:
    """When a process of this machine started, in the kernel's ticks, 0 where it does not tell; None: it is gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    if not Path("/proc/self/stat").exists():
        return 0
    try:
        # After the name in brackets, which may hold anything: state is field 3, the start field 22 (man 5 proc).
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
