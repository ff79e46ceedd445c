"""Graphs on a cluster: processes started for the purpose, or a scheduler that runs."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from graph_jobs import read_log

from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction import cluster, connect
from edgeguard.evaluation.reproduction.claim import HEARTBEAT, WORK, Owner
from edgeguard.evaluation.reproduction.cluster import run_on_cluster
from edgeguard.evaluation.reproduction.graph import Job, ordered
from edgeguard.evaluation.reproduction.local import prepare, run_graph
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.evaluation.reproduction.work import JobError

distributed = pytest.importorskip("distributed")
HELPERS = os.pathsep.join([str(Path(__file__).parents[2] / "helpers"), os.environ.get("PYTHONPATH", "")])
"""Where a process that a test starts finds what jobs name."""


def total(value: int, *needs: Job, **rest: Any) -> Job:
    resources = rest.pop("resources", {})
    return Job("graph_jobs:total", {"value": value}, needs, f"total {value}", 1, resources, hints=rest)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """Address of a scheduler with one worker in this process, of two threads and one GPU."""
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=2,
        processes=False,
        protocol="tcp",
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        resources={"GPU": 1},
    ) as running:
        yield running.scheduler_address


def contents(store: Store, jobs: list[Job]) -> dict[str, dict[str, bytes]]:
    return {
        job.key: {path.name: path.read_bytes() for path in store.path(job).iterdir() if path.name != "job.json"}
        for job in ordered(jobs)
    }


def counted(store: Store) -> Counter[str]:
    return Counter(line["key"] for line in store.ledger())


def test_a_killed_worker_loses_its_job_alone_and_the_work_is_taken_over(
    tmp_path: Path, store: Store, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "log"
    leaves = [total(number, log=str(log), sleep=0.05, says="a bar of its own") for number in range(6)]
    victim = Job(
        "graph_jobs:steps",
        {"steps": 5},
        (leaves[0],),
        title="the victim",
        cost=5,
        hints={"log": str(log), "dies_after": 3, "how": "die"},
    )
    jobs = [total(100, *leaves[:3]), total(200, *leaves[2:]), victim]
    before = set(Path(tempfile.gettempdir()).glob("edgeguard-*"))
    paths = run_on_cluster(jobs, store, workers=2)
    assert set(paths) == {job.key for job in ordered(jobs)}
    calls = read_log(log)
    reference = Store(tmp_path / "reference")
    peaceful = Job(victim.function, victim.arguments, (leaves[0],))
    output = capfd.readouterr()
    run_graph([*jobs[:2], peaceful], reference, progress=False)
    assert contents(store, jobs) == contents(reference, jobs)
    assert counted(store) == Counter(job.key for job in ordered(jobs))
    assert [line["what"] for line in calls if line["arguments"] == {"steps": 5}] == ["begin at 0", "begin at 3"]
    assert Counter(line["arguments"].get("value") for line in calls if line["what"] == "begin") == Counter(range(6))
    assert os.getpid() not in {line["pid"] for line in store.ledger()}
    assert output.out == ""
    err = output.err
    assert err.count("lost a worker") == 1 and "at the victim; goes on" in err
    assert "Traceback" not in err and "distributed" not in err and "a bar of its own" not in err
    assert {path.name for path in tmp_path.iterdir()} == {"store", "reference", "log"}
    assert set(Path(tempfile.gettempdir()).glob("edgeguard-*")) == before


def test_a_lost_worker_is_laid_on_the_job_that_nobody_works_on(store: Store) -> None:
    """Another that waited there has been begun elsewhere by the time that this is heard."""
    victim, other = total(1), total(2)
    notes: list[str] = []
    bar: Any = SimpleNamespace(note=notes.append)
    client: Any = None
    run = cluster._Run(client, prepare([victim, other], store), store, bar)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = store.partial(victim) / replace(Owner.here(), pid=gone.pid).new_name()
    (left / WORK).mkdir(parents=True)
    (left / HEARTBEAT).write_text("0\n")
    attempt = store.claim(other)
    assert attempt is not None
    with attempt:
        run._hear({"action": "remove-worker", "worker": "tcp://w", "processing-tasks": list(run._jobs)})
    assert notes == ["lost a worker (tcp://w) at total 1; goes on"]
    assert run._deaths == {victim.key: 1}


def test_a_job_that_kills_three_workers_is_named(tmp_path: Path, store: Store) -> None:
    """And not the one that waits behind it for the only worker."""
    log = tmp_path / "log"
    deadly = Job("graph_jobs:deadly", {"dose": 1}, title="a deadly job", hints={"log": str(log)})
    with pytest.raises(JobError, match=rf"^a deadly job \({deadly.key[:12]}\): every worker that began it died"):
        run_on_cluster([deadly, total(1), total(2)], store, workers=1, progress=False)
    assert len(read_log(log)) == 3


def test_jobs_for_a_gpu_go_where_one_is(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of those that the user's environment names."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    log = str(tmp_path / "log")
    gpu = [total(number, log=log, sleep=0.1, resources={"GPU": 1}) for number in range(3)]
    rest = [total(10 + number, log=log, sleep=0.1) for number in range(3)]
    run_on_cluster([*gpu, *rest], store, workers=2, gpus=1, progress=False)
    lines = [line for line in read_log(tmp_path / "log") if line["what"] == "begin"]
    assert len(lines) == 6
    assert {line["gpu"] for line in lines if line["arguments"]["value"] < 10} == {"3"}
    assert len({line["pid"] for line in lines if line["arguments"]["value"] < 10}) == 1
    assert len({line["pid"] for line in lines}) == 2


def test_two_jobs_never_share_a_gpu(tmp_path: Path, store: Store, scheduler: str) -> None:
    """Though the worker has two threads, and uses both for other jobs."""
    log = tmp_path / "log"
    gpu = [total(number, log=str(log), sleep=0.1, resources={"GPU": 1}) for number in range(4)]
    rest = [total(10 + number, log=str(log), sleep=0.1) for number in range(4)]
    run_on_cluster(rest, store, address=scheduler, progress=False)
    assert most_at_once(log) == 2
    log.unlink()
    run_on_cluster(gpu, store, address=scheduler, progress=False)
    assert most_at_once(log) == 1


def most_at_once(log: Path) -> int:
    busy = most = 0
    for line in sorted(read_log(log), key=lambda line: line["at"]):
        busy += 1 if line["what"] == "begin" else -1
        most = max(most, busy)
    return most


def test_a_running_scheduler_is_used_and_left_running(store: Store, scheduler: str, tmp_path: Path) -> None:
    jobs = [total(3, total(1), total(2))]
    paths = run_on_cluster(jobs, store, address=scheduler, progress=False)
    other = Store(tmp_path / "other")
    assert run_on_cluster(jobs, other, address=scheduler, progress=False).keys() == paths.keys()
    assert contents(store, jobs) == contents(other, jobs)
    assert counted(store) == counted(other) == Counter(paths.keys())


def test_two_runs_may_use_a_scheduler_at_once(store: Store, scheduler: str, tmp_path: Path) -> None:
    """For the same job, each with a store of its own."""
    other = Store(tmp_path / "other")
    with ThreadPoolExecutor(2) as pool:
        runs = [
            pool.submit(run_on_cluster, [total(1, sleep=0.5)], each, address=scheduler, progress=False)
            for each in (store, other)
        ]
    assert [len(run.result()) for run in runs] == [1, 1]
    assert counted(store) == counted(other) == {total(1).key: 1}


def test_nothing_to_do_needs_no_cluster(store: Store) -> None:
    paths = run_graph([total(1)], store, progress=False)
    assert run_on_cluster([total(1)], store, address="tcp://127.0.0.1:1", progress=False) == paths


def test_a_failing_job_is_named(store: Store, scheduler: str) -> None:
    bad = Job("graph_jobs:steps", {"steps": 2}, title="bad", hints={"dies_after": 1, "how": "stumble"})
    with pytest.raises(JobError, match=r"^bad \(\w{12}\): ZeroDivisionError: no way; traceback: \S+; ") as failed:
        run_on_cluster([total(2, bad), bad], store, address=scheduler, progress=False)
    assert "in stumble" in (store.partial(bad) / "traceback.txt").read_text()
    assert "\n" not in str(failed.value)
    assert run_on_cluster([bad], store, address=scheduler, progress=False)[bad.key] == store.path(bad)


def test_bad_input_passes_as_it_is(store: Store, scheduler: str) -> None:
    with pytest.raises(InputError, match=r"^record A00001: no lead; name another record$"):
        run_on_cluster([Job("graph_jobs:refuse")], store, address=scheduler, progress=False)


def test_a_damaged_result_is_refused_before_any_job_runs(store: Store) -> None:
    need = total(1)
    (run_graph([need], store, progress=False)[need.key] / "total.txt").write_text("2")
    with pytest.raises(InputError, match=r"total\.txt: changed"):
        run_on_cluster([total(2, need)], store, progress=False)


def test_a_worker_of_another_version_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match=r"a worker has edgeguard \S+, the client 0\.0\.7; install the same"):
        cluster._compute(total(1).task, (str(store.root), 60), "0.0.7", [])


def test_a_worker_that_does_not_see_the_store_says_so(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store.appears, "__kwdefaults__", {"seconds": 0.1})
    need = total(1)
    with pytest.raises(InputError, match=rf"{need.key}: missing on a worker; the store must be one folder"):
        cluster._compute(total(2, need).task, (str(store.root), 60), cluster.edgeguard.__version__, [])


def test_a_worker_that_writes_elsewhere_is_noticed(
    store: Store, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker, in this process, finds the job done where the client finds nothing."""
    monkeypatch.setattr(cluster, "complete", lambda task, store: None)
    with pytest.raises(InputError, match=r"missing, though a worker says it is done; the store must be one folder"):
        run_on_cluster([total(1)], store, address=scheduler, progress=False)


def test_what_no_process_here_has_is_refused_at_once(store: Store) -> None:
    job = total(1, resources={"GPU": 1})
    with pytest.raises(InputError, match=r"total 1 needs \{'GPU': 1\}, which no process of this cluster has"):
        run_on_cluster([job], store, progress=False)
    for workers, gpus in [(0, 0), (1, 2), (2, -1)]:
        with pytest.raises(InputError, match="at least one worker needed"):
            run_on_cluster([job], store, workers=workers, gpus=gpus, progress=False)


def test_more_gpus_than_the_environment_names_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    with pytest.raises(InputError, match=r"^2 workers with a GPU: CUDA_VISIBLE_DEVICES names only 1; ask for fewer$"):
        run_on_cluster([total(1)], store, workers=2, gpus=2, progress=False)


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of something that takes calls and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_where_no_scheduler_answers_one_line_says_so(
    store: Store, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no client is made: one that fails to start may, when it is collected, wait forever for a lock of its own."""
    monkeypatch.setattr(connect, "_ANSWER", 0.3)
    monkeypatch.setattr(distributed, "Client", None)
    for address in ("tcp://127.0.0.1:1", "nonsense", "http://127.0.0.1:1", "tls://127.0.0.1:1", silent):
        with pytest.raises(InputError, match=rf"^{address}: no dask scheduler answers \(.+\); start one with[^\n]*$"):
            run_on_cluster([total(1)], store, address=address, progress=False)


def test_without_distributed_one_line_says_how_to_get_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed.utils", None)
    with pytest.raises(InputError, match=r"^dask\.distributed is not installed; pip install distributed$"):
        run_on_cluster([total(1)], store, progress=False)


def test_a_job_that_waits_for_a_gpu_is_said_to(store: Store, capfd: pytest.CaptureFixture[str]) -> None:
    """And done when a worker that has one joins."""
    with distributed.LocalCluster(
        n_workers=0, processes=False, protocol="tcp", host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as running:
        joins = {"resources": {"GPU": 1}, "nthreads": 1}
        running.loop.call_later(1.0, lambda: running.loop.add_callback(join, running, joins))
        run_on_cluster([total(1, resources={"GPU": 1})], store, address=running.scheduler_address)
    assert "total 1 waits for a worker that has GPU=1; none has joined yet" in capfd.readouterr().err


async def join(running: Any, options: dict[str, Any]) -> None:
    running.worker_spec[0] = {"cls": distributed.Worker, "options": options}
    await running._correct_state()


PROGRAM = """
import sys
from edgeguard.evaluation.reproduction.cluster import run_on_cluster
from edgeguard.evaluation.reproduction.graph import Job
from edgeguard.evaluation.reproduction.store import Store

if __name__ == "__main__":
    store, log = sys.argv[1:]
    hints = {"log": log, "sleep": 60}
    run_on_cluster([Job("graph_jobs:total", {"value": value}, hints=hints) for value in range(3)], Store(store))
"""


def test_an_interrupt_ends_the_processes_and_says_nothing(tmp_path: Path, store: Store) -> None:
    """Ctrl-C in a terminal: every process of the group hears it, or might."""
    log, program = tmp_path / "log", tmp_path / "program.py"
    program.write_text(PROGRAM)
    running = subprocess.Popen(
        [sys.executable, program, store.root, log],
        env={**os.environ, "PYTHONPATH": HELPERS, "TMPDIR": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(read_log(log)) < 2:
        assert running.poll() is None
        time.sleep(0.05)
    workers = {line["pid"] for line in read_log(log)}
    for pid in workers:
        status = Path(f"/proc/{pid}/status")
        if status.exists():
            (blocked,) = (line for line in status.read_text().splitlines() if line.startswith("SigBlk"))
            assert int(blocked.split()[1], 16) >> (signal.SIGINT - 1) & 1
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGINT
    assert err.count("Traceback") == 1 and err.endswith("KeyboardInterrupt\n")
    for pid in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list(tmp_path.glob("edgeguard-*")) == []
    jobs = [total(value) for value in range(3)]
    run_graph(jobs, store, progress=False)
    assert counted(store) == Counter(job.key for job in jobs)
