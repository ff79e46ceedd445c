"""Who may work on a job, and who takes over."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction import claim as claims
from edgeguard.evaluation.reproduction.claim import HEARTBEAT, WORK, Owner, Watch, claim, living_owner

ELSEWHERE = "node7.0badcafe.4242.1.00c0ffee"
"""A folder's name as an owner on another machine has it."""


class Clock:
    """Seconds, turned by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Watch:
    return Watch(60, clock)


def leave(folder: Path, name: str, *, seconds: float = 12, content: str = "half") -> Path:
    """An attempt as its owner leaves it."""
    (folder / name / WORK).mkdir(parents=True)
    (folder / name / WORK / "work.txt").write_text(content)
    (folder / name / HEARTBEAT).write_text(f"{seconds}\n")
    return folder / name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_owner_is_what_its_folder_is_named_after() -> None:
    here = Owner.here()
    assert Owner.parse(here.new_name()) == here
    assert here.pid == os.getpid()
    assert here.new_name() != here.new_name()
    assert Owner.parse(ELSEWHERE) == Owner("node7", "0badcafe", 4242, 1)
    assert Owner.parse("released-00c0ffee") is None


def test_a_claim_shuts_out_others_until_it_is_given_back(tmp_path: Path, watch: Watch) -> None:
    attempt = claim(tmp_path / "job", watch)
    assert attempt is not None
    with attempt:
        (attempt.out / "work.txt").write_text("mine")
        assert claim(tmp_path / "job", watch) is None
        assert living_owner(tmp_path / "job", watch) == Owner.here()
        assert attempt.is_held()
    assert not attempt.is_held()
    assert living_owner(tmp_path / "job", watch) is None
    again = claim(tmp_path / "job", watch)
    assert again is not None
    with again:
        assert again.out != attempt.out
        assert (again.out / "work.txt").read_text() == "mine"


def test_work_given_up_is_gone(tmp_path: Path, watch: Watch) -> None:
    attempt = claim(tmp_path / "job", watch)
    assert attempt is not None
    attempt.abandon()
    assert list((tmp_path / "job").iterdir()) == []


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
def test_a_process_of_this_machine_is_dead_at_once(tmp_path: Path, watch: Watch, reaped: bool) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    here = Owner.here()
    started = claims._started(sleeper.pid)
    name = f"{here.host}.{here.machine}.{sleeper.pid}.{started}.00c0ffee"
    leave(tmp_path / "job", name)
    assert claim(tmp_path / "job", watch) is None
    sleeper.kill()
    if reaped:
        sleeper.wait()
    else:
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    attempt = claim(tmp_path / "job", watch)
    sleeper.wait()
    assert attempt is not None
    with attempt:
        assert (attempt.out / "work.txt").read_text() == "half"
        assert 12 <= attempt.seconds < 50
        assert names(tmp_path / "job") == [attempt.folder.name]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the kernel does not say when a process started")
def test_a_number_used_again_is_no_owner(tmp_path: Path, watch: Watch) -> None:
    here = Owner.here()
    leave(tmp_path / "job", f"{here.host}.{here.machine}.{here.pid}.{here.started - 1}.00c0ffee")
    attempt = claim(tmp_path / "job", watch)
    assert attempt is not None
    attempt.abandon()


def test_the_start_of_a_process_is_what_ps_says() -> None:
    """`ps -o etimes` counts the seconds since then."""
    started = claims._started(os.getpid())
    if not started:
        pytest.skip("the kernel does not say when a process started")
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    elapsed = subprocess.run(
        ["ps", "-o", "etimes=", "-p", str(os.getpid())], capture_output=True, text=True, check=True
    )
    assert abs(uptime - started / os.sysconf("SC_CLK_TCK") - float(elapsed.stdout)) < 3


def test_another_machine_is_given_up_when_its_heart_has_stood_still(tmp_path: Path, watch: Watch, clock: Clock) -> None:
    other = leave(tmp_path / "job", ELSEWHERE, seconds=5)
    for now, seconds in [(0, 5), (59, 5), (60, 10), (119, 10), (120, 10)]:
        clock.now = now
        (other / HEARTBEAT).write_text(f"{seconds}\n")
        assert claim(tmp_path / "job", watch) is None
    assert living_owner(tmp_path / "job", watch) == Owner("node7", "0badcafe", 4242, 1)
    clock.now = 121
    attempt = claim(tmp_path / "job", watch)
    assert attempt is not None
    with attempt:
        assert (attempt.out / "work.txt").read_text() == "half"
        assert attempt.seconds >= 10
    assert not other.exists()


def test_a_clock_set_wrong_does_not_matter(tmp_path: Path, watch: Watch, clock: Clock) -> None:
    """The heartbeat's own time is never looked at."""
    other = leave(tmp_path / "job", ELSEWHERE)
    os.utime(other / HEARTBEAT, (0, 0))
    assert claim(tmp_path / "job", watch) is None


def test_a_heart_beats_while_the_owner_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, watch: Watch, clock: Clock
) -> None:
    """As a process of another machine sees it."""
    monkeypatch.setattr(claims, "_BEAT", 0.01)
    attempt = claim(tmp_path / "job", watch)
    assert attempt is not None
    monkeypatch.setattr(claims, "_machine", lambda: "another")
    with attempt:
        for hour in range(4):
            clock.now = 3600 * hour
            assert claim(tmp_path / "job", watch) is None
            beat = (attempt.folder / HEARTBEAT).read_bytes()
            while (attempt.folder / HEARTBEAT).read_bytes() in (beat, b""):
                time.sleep(0.01)


def test_who_was_only_thought_dead_can_do_no_harm(tmp_path: Path, watch: Watch) -> None:
    first = claim(tmp_path / "job", watch)
    assert first is not None
    (first.out / "work.txt").write_text("half")
    first.folder.rename(first.folder.with_name("released-00c0ffee"))
    second = claim(tmp_path / "job", watch)
    assert second is not None
    # As a function does that writes atomically, with every folder above the file.
    first.out.mkdir(parents=True)
    (first.out / "work.txt").write_text("late")
    assert not first.is_held()
    assert second.is_held()
    with second:
        assert (second.out / "work.txt").read_text() == "half"
    first.__exit__(None, None, None)
    third = claim(tmp_path / "job", watch)
    assert third is not None
    with third:
        assert (third.out / "work.txt").read_text() == "half"


def test_of_many_at_once_one_at_a_time_has_it(tmp_path: Path) -> None:
    """The threads claim, work and give back as fast as they can; some claims are new, most take over."""
    folder, busy, seen, most = tmp_path / "job", [], [], [0]
    end = threading.Event()

    def work() -> None:
        watch = Watch(60)
        while not end.is_set():
            attempt = claim(folder, watch)
            if attempt is None:
                continue
            busy.append(1)
            most[0] = max(most[0], len(busy))
            seen.append(attempt.folder.name)
            time.sleep(0.001)
            busy.pop()
            if len(seen) % 3:
                attempt.__exit__(None, None, None)
            else:
                attempt.abandon()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    while len(seen) < 60:
        time.sleep(0.01)
    end.set()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert len(seen) == len(set(seen))


def test_what_a_process_that_died_while_claiming_leaves_is_no_attempt(tmp_path: Path, watch: Watch) -> None:
    leave(tmp_path / "job", f".new-{ELSEWHERE}")
    (tmp_path / "job" / ELSEWHERE).mkdir()
    (tmp_path / "job" / "traceback.txt").write_text("")
    attempt = claim(tmp_path / "job", watch)
    assert attempt is not None
    with attempt:
        assert list(attempt.out.iterdir()) == []


def test_where_no_folder_can_be_made_one_line_says_so(tmp_path: Path, watch: Watch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"^\S*file: cannot be written \(Not a directory\)[^\n]*$"):
        claim(tmp_path / "file" / "partial" / "job", watch)


def test_an_interrupt_is_no_reason_to_lose_work(tmp_path: Path, watch: Watch) -> None:
    attempt = claim(tmp_path / "job", watch)
    assert attempt is not None
    with pytest.raises(KeyboardInterrupt), attempt:
        (attempt.out / "work.txt").write_text("half")
        signal.raise_signal(signal.SIGINT)
    again = claim(tmp_path / "job", watch)
    assert again is not None
    with again:
        assert (again.out / "work.txt").read_text() == "half"
