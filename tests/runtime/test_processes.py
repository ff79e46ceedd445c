"""Jobs in processes of one thread each: what comes back, what is shown, and how they end."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from tqdm import tqdm

from edgeguard.errors import InputError
from edgeguard.runtime.processes import Job, run_jobs
from edgeguard.runtime.telling import Say

HERE = Path(__file__).parent


def facts(say: Say) -> tuple[int, int, str]:
    import torch

    say("begun")
    print("printed")
    return os.getpid(), torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]


def add(say: Say, left: int, right: int) -> int:
    return left + right


def one(say: Say) -> int:
    return 1


def refuse(say: Say, _: int) -> None:
    raise InputError("x.csv: line 3: mend it")


def fail(say: Say, _: int) -> None:
    raise ZeroDivisionError("a bug")


def die(say: Say, _: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def linger(say: Say) -> None:
    """Shows progress for a minute."""
    say(f"pid {os.getpid()}")
    for _ in tqdm(range(600), desc="step"):
        time.sleep(0.1)


def is_gone(pid: int, *, patience: float = 20.0) -> bool:
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def pids(lines: list[str]) -> list[int]:
    return [int(line.split()[1]) for line in lines if line.startswith("pid ")]


def test_results_come_back_by_name_from_processes_of_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    heard: list[str] = []
    jobs = {"sum": Job(add, ("a", "b")), "a": Job(one), "b": Job(one), "facts": Job(facts)}
    done = run_jobs(jobs, say=heard.append)
    pid, threads, omp = done.pop("facts")
    assert done == {"sum": 2, "a": 1, "b": 1}
    assert pid != os.getpid() and (threads, omp) == (1, "1")
    assert heard == ["begun", "printed"]
    assert os.environ["OMP_NUM_THREADS"] == "4"


@pytest.mark.parametrize(
    ("job", "error", "line"),
    [
        (refuse, InputError, r"^x\.csv: line 3: mend it$"),
        (die, InputError, r"^bad: its process died by signal 9; .*start it again$"),
        (fail, RuntimeError, r"(?s)^bad failed:.*ZeroDivisionError: a bug"),
    ],
)
def test_the_first_job_that_fails_ends_all(job: object, error: type[Exception], line: str) -> None:
    heard: list[str] = []
    with pytest.raises(error, match=line):
        run_jobs({"long": Job(linger), "one": Job(one), "bad": Job(job, ("one",))}, say=heard.append)  # type: ignore[arg-type]
    assert all(is_gone(pid) for pid in pids(heard))


PROGRAM = """
import sys
sys.path.insert(0, {here!r})
from test_processes import Job, linger, run_jobs
if __name__ == "__main__":
    try:
        run_jobs({{"a": Job(linger), "b": Job(linger)}}, say=lambda line: print(line, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.fixture
def lingering(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A program whose two jobs run, in a process group of its own, and their pids."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(here=str(HERE)))
    # The shell of a background job has Ctrl-C ignored; a program at a terminal hears it.
    listen = "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.argv.pop(0)"
    command = [sys.executable, "-c", f"{listen}; runpy.run_path(sys.argv[0], run_name='__main__')", str(program)]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert running.stdout is not None
    return running, pids([running.stdout.readline(), running.stdout.readline()])


def test_an_interrupt_of_the_whole_group_ends_the_jobs_without_a_word(
    lingering: tuple[subprocess.Popen[str], list[int]],
) -> None:
    running, workers = lingering
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "")
    assert all(is_gone(pid) for pid in workers)


def test_jobs_end_where_the_first_process_is_killed(lingering: tuple[subprocess.Popen[str], list[int]]) -> None:
    running, workers = lingering
    running.kill()
    running.communicate(timeout=60)
    assert all(is_gone(pid) for pid in workers)


def count_up(say: Say, name: str) -> None:
    for number in tqdm(range(8), desc="step", mininterval=0, file=sys.stderr):
        if number % 4 == 3:
            say(f"{name} is at {number}")
            print(f"{name} prints {number}")
        time.sleep(0.02)


class Terminal(io.StringIO):
    """What a terminal of three control codes shows."""

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        rows, row, column = [""], 0, 0
        for piece in re.split(r"(\r|\n|\x1b\[A)", self.getvalue()):
            if piece == "\r":
                column = 0
            elif piece == "\n":
                row, column = row + 1, 0
                rows += [""] * (row == len(rows))
            elif piece == "\x1b[A":
                row -= 1
            else:
                rows[row] = rows[row][:column].ljust(column) + piece + rows[row][column + len(piece) :]
                column += len(piece)
        return [line.rstrip() for line in rows if line.strip()]


def test_on_a_terminal_each_process_has_its_line_and_what_is_said_stands_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    jobs = {name: Job(partial(count_up, name=name)) for name in ("a", "b")}
    run_jobs(jobs, say=lambda line: print(line, file=terminal))
    assert re.search(r"a: step: .*/8", terminal.getvalue()) and re.search(r"b: step: .*/8", terminal.getvalue())
    spoken = [f"{name} {how} {number}" for name in "ab" for number in (3, 7) for how in ("is at", "prints")]
    assert sorted(terminal.screen()) == sorted(spoken)


def test_elsewhere_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    run_jobs({"a": Job(partial(count_up, name="a"))})
    assert written.getvalue() == ""
