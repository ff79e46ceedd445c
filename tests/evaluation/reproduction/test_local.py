"""Graphs in one process, killed, refused and interrupted wherever that is possible."""

import errno
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from graph_jobs import read, read_log
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction import claim, progress
from edgeguard.evaluation.reproduction.graph import Job, ordered, plan
from edgeguard.evaluation.reproduction.local import run_graph
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.evaluation.reproduction.work import JobError, complete

HELPERS = os.pathsep.join([str(Path(__file__).parents[2] / "helpers"), os.environ.get("PYTHONPATH", "")])
"""Where a process that a test starts finds what jobs name."""


def total(value: int, *needs: Job, **hints: object) -> Job:
    return Job("graph_jobs:total", {"value": value}, needs, hints=hints)


def steps(count: int, *needs: Job, **hints: object) -> Job:
    return Job("graph_jobs:steps", {"steps": count}, needs, hints=hints)


def expected(job: Job) -> int:
    return job.arguments["value"] + 2 * sum(map(expected, job.needs))


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "job.json"}


def counted(store: Store) -> Counter[str]:
    return Counter(line["key"] for line in store.ledger())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_result_is_what_the_functions_make_of_it(store: Store) -> None:
    """3 + 2 * (1 + 2 * (1 + 5)) = 29."""
    shared = total(1)
    job = total(3, total(1, shared, total(5)))
    paths = run_graph([job], store, progress=False)
    assert read(paths[job.key]) == expected(job) == 29
    assert set(paths) == {found.key for found in ordered([job])}


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), size=st.integers(1, 7))
def test_run_twice_every_job_is_computed_once(tmp_path: Path, seed: int, size: int) -> None:
    rng = random.Random(seed)
    shutil.rmtree(tmp_path / "store", ignore_errors=True)
    store, jobs = Store(tmp_path / "store"), list[Job]()
    for number in range(size):
        jobs.append(total(number, *rng.sample(jobs, rng.randint(0, min(3, len(jobs))))))
    wanted = rng.sample(jobs, rng.randint(1, size))
    first = run_graph(wanted, store, progress=False)
    assert {job.key: read(first[job.key]) for job in ordered(wanted)} == {j.key: expected(j) for j in ordered(wanted)}
    assert counted(store) == Counter(list(first))
    run_graph(jobs, store, progress=False)
    run_graph(jobs, store, progress=False)
    assert counted(store) == Counter(job.key for job in jobs)


def graph(log: Path) -> list[Job]:
    """One that counts to three, and one that it needs."""
    return [steps(3, total(5, log=str(log)), log=str(log))]


AT_STORE = {"open", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir", "shutil.rmtree"}


def in_child(run: Callable[[], None], root: Path, at: int, happens: Callable[[], None]) -> int:
    """Exit status of a forked process in which something happens at one of its accesses to files under `root`.

    0: ended well; 3: refused in one line; 4: any other error; negative: killed.
    """
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    status = 4
    left = itertools.count(at, -1)

    def hook(event: str, details: tuple[object, ...]) -> None:
        if event in AT_STORE and str(details[0]).startswith(str(root)) and next(left) == 0:
            happens()

    try:
        sys.addaudithook(hook)
        run()
        status = 0
    except InputError as error:
        status = 4 if "\n" in str(error) else 3
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def test_killed_at_any_access_to_a_file_it_goes_on_where_it_was(tmp_path: Path) -> None:
    """kill -9 at each access in turn, until there are no more; then the same call, in another process."""
    reference = Store(tmp_path / "reference")
    log = tmp_path / "log"
    run_graph(graph(log), reference, progress=False)
    kills = 0
    while True:
        root = tmp_path / "store"
        shutil.rmtree(root, ignore_errors=True)
        log.unlink(missing_ok=True)
        jobs, store = graph(log), Store(root)
        status = in_child(
            lambda jobs=jobs, store=store: run_graph(jobs, store, progress=False),
            root,
            kills,
            lambda: os.kill(os.getpid(), signal.SIGKILL),
        )
        done = {job.key for job in ordered(jobs) if store.is_done(job)}
        calls = len(read_log(log))
        paths = run_graph(jobs, store, progress=False)
        for job in ordered(jobs):
            assert contents(paths[job.key]) == contents(reference.path(job))
            store.verify(job)
        # One line may be missing: of a job that was killed between its last rename and its line.
        assert max(counted(store).values()) == 1 and len(counted(store)) >= 1
        again = [line for line in read_log(log)[calls:] if line["what"].startswith("begin")]
        assert len(again) == 2 - len(done)
        assert list((root / "partial").iterdir()) == []
        if status == 0:
            break
        assert status == -signal.SIGKILL
        kills += 1
    assert kills > 30


def test_refused_at_any_access_it_says_so_in_a_line_and_goes_on_later(tmp_path: Path) -> None:
    """The disk is full for one access."""
    refusals = 0
    for at in range(1000):
        root = tmp_path / "store"
        shutil.rmtree(root, ignore_errors=True)
        jobs, store = graph(tmp_path / "log"), Store(root)
        reached = tmp_path / "reached"
        reached.unlink(missing_ok=True)

        def happens(reached: Path = reached) -> None:
            reached.touch()
            raise OSError(errno.ENOSPC, "No space left on device")

        status = in_child(lambda jobs=jobs, store=store: run_graph(jobs, store, progress=False), root, at, happens)
        assert status in (0, 3), at
        refusals += status == 3
        run_graph(jobs, store, progress=False)
        for job in ordered(jobs):
            store.verify(job)
        assert set(counted(store).values()) == {1}
        if not reached.exists():
            break
    assert refusals > 10


def test_work_is_taken_over_from_a_process_that_was_killed(tmp_path: Path, store: Store) -> None:
    log = tmp_path / "log"
    job = steps(5, total(1), log=str(log), dies_after=3, how="die")
    program = (
        "from edgeguard.evaluation.reproduction.graph import Job\n"
        "from edgeguard.evaluation.reproduction.store import Store\n"
        "from edgeguard.evaluation.reproduction.local import run_graph\n"
        f"need = Job('graph_jobs:total', {{'value': 1}})\n"
        f"run_graph([Job('graph_jobs:steps', {{'steps': 5}}, (need,), hints={dict(job.hints)!r})],"
        f" Store({str(store.root)!r}))\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": HELPERS}, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not store.is_done(job) and store.is_done(job.needs[0])
    folder = run_graph([job], store, progress=False)[job.key]
    assert (folder / "steps.txt").read_text() == "0\n1\n2\n3\n4\n"
    assert [line["what"] for line in read_log(log)] == ["begin at 0", "begin at 3"]
    assert set(counted(store).values()) == {1}


@pytest.mark.parametrize(("how", "raised"), [("interrupt", KeyboardInterrupt), ("stumble", JobError)])
def test_interrupted_it_goes_on_in_the_same_process_too(
    tmp_path: Path, store: Store, how: str, raised: type[BaseException]
) -> None:
    log = tmp_path / "log"
    job = steps(5, total(1), log=str(log), dies_after=3, how=how)
    with pytest.raises(raised):
        run_graph([job], store, progress=False)
    assert not store.is_done(job) and store.owner(job) is None
    folder = run_graph([job], store, progress=False)[job.key]
    assert (folder / "steps.txt").read_text() == "0\n1\n2\n3\n4\n"
    assert [line["what"] for line in read_log(log)] == ["begin at 0", "begin at 3"]


def test_a_failing_job_is_named_and_its_traceback_kept(store: Store) -> None:
    before, bad = total(1), steps(5, dies_after=1, how="stumble")
    bad = Job(bad.function, bad.arguments, (before,), title="table 3, adt", hints=bad.hints)
    with pytest.raises(JobError) as failed:
        run_graph([total(2, bad)], store, progress=False)
    line = str(failed.value)
    assert line.startswith(f"table 3, adt ({bad.key[:12]}): ZeroDivisionError: no way; traceback: ")
    assert "\n" not in line
    trace = store.partial(bad) / "traceback.txt"
    assert str(trace) in line and "in stumble" in trace.read_text()
    assert set(counted(store)) == {before.key}
    run_graph([bad], store, progress=False)
    assert not store.partial(bad).exists()


@pytest.mark.parametrize(
    ("function", "reason"),
    [("no_such_module:f", "ModuleNotFoundError"), ("graph_jobs:no_such_function", "AttributeError")],
)
def test_a_function_that_is_not_there_is_named(store: Store, function: str, reason: str) -> None:
    with pytest.raises(JobError, match=f"{function}.*{reason}"):
        run_graph([Job(function)], store, progress=False)


def test_bad_input_passes_as_it_is(store: Store) -> None:
    with pytest.raises(InputError, match=r"^record A00001: no lead; name another record$") as refused:
        run_graph([Job("graph_jobs:refuse")], store, progress=False)
    assert type(refused.value) is InputError


def test_a_store_that_cannot_be_made_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/store: cannot be written \(Not a directory\)[^\n]*$"):
        run_graph([total(1)], Store(tmp_path / "file" / "store"), progress=False)


def test_processes_share_a_graph_and_a_store(tmp_path: Path, store: Store) -> None:
    """Each takes what the others are not at work on: nothing is computed twice, and more than one computes."""
    log = tmp_path / "log"
    leaves = [total(number, log=str(log), sleep=0.2) for number in range(6)]
    jobs = [total(100, *leaves[:3]), total(200, *leaves[3:])]
    children = []
    for _ in range(3):
        children.append(os.fork())
        if not children[-1]:
            status = 1
            try:
                status = 0 if set(run_graph(jobs, store, progress=False)) == {j.key for j in ordered(jobs)} else 2
            finally:
                os._exit(status)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0, 0]
    assert counted(store) == Counter(job.key for job in ordered(jobs))
    assert not any(line.get("discarded") for line in store.ledger())
    begun = [line for line in read_log(log) if line["what"] == "begin"]
    assert len(begun) == 6 and len({line["pid"] for line in begun}) > 1
    for job in jobs:
        assert read(store.path(job)) == expected(job)


def test_who_comes_second_waits_for_the_first(tmp_path: Path, store: Store) -> None:
    job = total(5, log=str(tmp_path / "log"))
    with store.claim(job) as attempt:
        waiting = threading.Thread(target=complete, args=(job.task, Store(store.root)))
        waiting.start()
        (attempt.out / "total.txt").write_text("5")
        time.sleep(0.1)
        assert waiting.is_alive()
        assert store.finish(job.task, attempt)
    waiting.join()
    assert counted(store) == {job.key: 1}
    assert read_log(tmp_path / "log") == []


def test_a_machine_that_freezes_and_thaws_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that says it is elsewhere stops in the middle of a job, is given up, and goes on when all is done."""

    def job(**hints: object) -> Job:
        return Job("graph_jobs:diary", {"steps": 5}, hints=hints)

    store = Store(tmp_path / "store", lost_after=0.3)
    frozen = os.fork()
    if not frozen:
        status = 1
        try:
            monkeypatch.setattr(claim, "_machine", lambda: "0badcafe")
            monkeypatch.setattr(claim, "_BEAT", 0.05)
            run_graph([job(freezes_after=3)], Store(tmp_path / "store"), progress=False)
            status = 0
        finally:
            os._exit(status)
    os.waitpid(frozen, os.WUNTRACED)
    owner = store.owner(job())
    assert owner is not None and (owner.machine, owner.pid) == ("0badcafe", frozen)
    folder = run_graph([job()], store, progress=False)[job().key]
    assert (folder / "diary.txt").read_text() == "0\n1\n2\n3\n4\n"
    os.kill(frozen, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(frozen, 0)[1]) == 0
    store.verify(job())
    assert sorted(line.get("discarded", False) for line in store.ledger()) == [False, True]
    assert list(store.partial(job()).parent.iterdir()) == []


def test_a_job_that_only_a_finished_one_needs_is_not_run_again(store: Store) -> None:
    need = total(1)
    job = total(2, need)
    folder = run_graph([job], store, progress=False)[need.key]
    shutil.rmtree(folder)
    assert run_graph([job], store, progress=False) == {job.key: store.path(job)}
    assert plan([job], store).to_run == ()
    other = total(3, need)
    assert set(run_graph([other], store, progress=False)) == {need.key, other.key}


def test_a_thousand_jobs_are_planned_and_found_finished(store: Store) -> None:
    leaves = [total(number) for number in range(500)]
    jobs = [total(1000 + number, leaves[number], leaves[number // 2]) for number in range(500)]
    assert len(plan(jobs, store).to_run) == 1000
    assert [job.key for job in plan(jobs, store).to_run] == [job.key for job in ordered(jobs)]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bars are drawn as on a terminal."""
    monkeypatch.setattr(progress, "no_bars", lambda: False)


def test_without_a_terminal_there_is_no_bar(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run_graph([total(2), total(3)], store)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("terminal")
def test_the_bar_counts_what_is_left_by_cost(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    done = Job("graph_jobs:total", {"value": 1}, cost=1000)
    jobs = [
        Job("graph_jobs:total", {"value": 2 + n}, (done,), title=f"job {n}", cost=cost)
        for n, cost in enumerate((30, 70))
    ]
    run_graph([done], store, progress=False)
    assert capsys.readouterr() == ("", "")
    run_graph(jobs, store)
    out, err = capsys.readouterr()
    assert out == ""
    last = err.split("\r")[-1]
    assert "job 1: 100%" in last and "100/100" in last and "2/2 jobs" in last
    run_graph(jobs, store)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("terminal")
def test_the_bar_says_for_whom_it_waits(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    job = total(5)
    with store.claim(job) as attempt:
        waiting = threading.Thread(target=run_graph, args=([job], Store(store.root)))
        waiting.start()
        time.sleep(0.2)
        (attempt.out / "total.txt").write_text("5")
        store.finish(job.task, attempt)
    waiting.join()
    err = capsys.readouterr().err
    assert f"process {os.getpid()}:   0%" in err and "1/1 jobs" in err


@pytest.mark.usefixtures("terminal")
def test_without_costs_the_bar_counts_jobs(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    run_graph([total(2), total(3)], store)
    assert "2.00/2.00" in capsys.readouterr().err.split("\r")[-1]
