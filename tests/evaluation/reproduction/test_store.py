"""Results by content: kept whole, refused when damaged, counted."""

import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction import ledger
from edgeguard.evaluation.reproduction.graph import Job
from edgeguard.evaluation.reproduction.local import run_graph
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.evaluation.reproduction.work import JobError

NEED = Job("graph_jobs:constant", title="seven")
JOB = Job("graph_jobs:total", {"value": 1}, (Job("graph_jobs:total", {"value": 5}),), title="one and twice five")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_result_says_what_it_is(store: Store) -> None:
    need = JOB.needs[0]
    paths = run_graph([JOB], store, progress=False)
    assert paths == {job.key: store.root / job.key[:2] / job.key for job in (JOB, need)}
    record = json.loads((paths[JOB.key] / "job.json").read_text())
    assert record.pop("seconds") >= 0
    assert record == {
        "schema": "edgeguard.job/1",
        "title": "one and twice five",
        "function": "graph_jobs:total",
        "arguments": {"value": 1},
        "version": 1,
        "needs": [need.key],
        # printf 11 | sha256sum
        "sha256": {"total.txt": "4fc82b26aecb47d2868c4efbe3581732a3e7cbcc6c2efb32062c08170a05eeb8"},
    }
    assert sorted(path.name for path in paths[JOB.key].iterdir()) == ["job.json", "total.txt"]


def test_a_job_without_arguments_and_with_folders(store: Store) -> None:
    folder = run_graph([NEED], store, progress=False)[NEED.key]
    assert (folder / "deep" / "er" / "seven.txt").read_text() == "7"
    assert list(json.loads((folder / "job.json").read_text())["sha256"]) == ["deep/er/seven.txt"]
    store.verify(NEED)


def test_nothing_else_is_left(store: Store) -> None:
    run_graph([JOB, NEED], store, progress=False)
    folders = {job.key[:2] for job in (JOB, JOB.needs[0], NEED)}
    assert {path.name for path in store.root.iterdir()} == {"ledger", "partial"} | folders
    assert list((store.root / "partial").iterdir()) == []


def test_a_relative_path_does_not_move_with_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("here")
    monkeypatch.chdir("/")
    run_graph([NEED], store, progress=False)
    assert (tmp_path / "here").is_dir()


@pytest.mark.parametrize("name", ["total.txt", "job.json"])
@pytest.mark.parametrize("harm", ["changed", "gone", "emptied"])
def test_a_damaged_result_is_refused_where_it_is_wanted_or_needed(store: Store, name: str, harm: str) -> None:
    need = JOB.needs[0]
    file = run_graph([need], store, progress=False)[need.key] / name
    if harm == "gone":
        file.unlink()
    else:
        file.write_bytes(b"" if harm == "emptied" else file.read_bytes().replace(b"5", b"6"))
    for wanted in (need, JOB):
        with pytest.raises(InputError) as refused:
            run_graph([wanted], store, progress=False)
        line = str(refused.value)
        assert line.startswith(str(file.parent)) and name in line and "\n" not in line
        assert f"delete the folder {file.parent}" in line
    shutil.rmtree(file.parent)
    assert (run_graph([JOB], store, progress=False)[JOB.key] / "total.txt").read_text() == "11"


def test_a_folder_moved_to_another_jobs_place_is_refused(store: Store) -> None:
    other = Job("graph_jobs:total", {"value": 6})
    folder = run_graph([JOB.needs[0]], store, progress=False)[JOB.needs[0].key]
    store.path(other).parent.mkdir(parents=True, exist_ok=True)
    folder.rename(store.path(other))
    with pytest.raises(InputError, match="the result of another job"):
        store.verify(other)


@pytest.mark.parametrize("content", ['{"schema": "edgeguard.job/2"}', "[]", "{}"])
def test_the_record_of_another_version_is_refused(store: Store, content: str) -> None:
    record = run_graph([NEED], store, progress=False)[NEED.key] / "job.json"
    record.write_text(content)
    with pytest.raises(
        InputError, match=r"job\.json: schema .*, this version reads 'edgeguard.job/1'; delete the folder"
    ):
        store.verify(NEED)


def test_what_other_programs_leave_in_a_result_does_not_matter(store: Store) -> None:
    folder = run_graph([NEED], store, progress=False)[NEED.key]
    (folder / ".DS_Store").write_text("")
    store.verify(NEED)


def test_of_two_that_computed_the_same_one_is_kept_and_both_are_counted(store: Store) -> None:
    """Which takes a file system that hides from one process what another has done: here, a result that appears late."""
    job = JOB.needs[0]
    task = job.task
    with store.claim(job) as attempt:
        (attempt.out / "total.txt").write_text("5")
        hidden = store.partial(job).with_name("hidden")
        store.partial(job).rename(hidden)
        with Store(store.root).claim(job) as other:
            (other.out / "total.txt").write_text("5")
            store.partial(job).rename(store.partial(job).with_name("other"))
            hidden.rename(store.partial(job))
            assert store.finish(task, attempt)
        (store.root / "partial" / "other").rename(store.partial(job))
        assert not store.finish(task, other)
    assert [line.get("discarded", False) for line in store.ledger()] == [False, True]
    store.verify(job)
    assert not store.partial(job).exists()


def test_who_lost_the_claim_cannot_finish(store: Store) -> None:
    """Though its function has made the folder anew, with a part of the files."""
    job = JOB.needs[0]
    late = store.claim(job)
    assert late is not None
    late.folder.rename(late.folder.with_name("released-00c0ffee"))
    with store.claim(job) as attempt:
        late.out.mkdir(parents=True)
        (late.out / "total.txt").write_text("late")
        assert not store.finish(job.task, late)
        assert not store.is_done(job)
        (attempt.out / "total.txt").write_text("5")
        assert store.finish(job.task, attempt)
    store.verify(job)
    assert store.ledger()[0]["key"] == job.key and len(store.ledger()) == 1


def test_a_finished_job_cannot_be_claimed(store: Store) -> None:
    run_graph([NEED], store, progress=False)
    assert store.claim(NEED) is None
    assert not store.partial(NEED).exists()


def test_a_function_may_not_write_the_stores_own_file(store: Store) -> None:
    with pytest.raises(JobError, match=r"greedy.*writes job\.json, a name that the store has taken"):
        run_graph([Job("graph_jobs:greedy")], store, progress=False)


def test_what_a_finisher_that_died_has_left_is_tidied_up(store: Store) -> None:
    run_graph([NEED], store, progress=False)
    left = store.partial(NEED) / "released-00c0ffee"
    left.mkdir(parents=True)
    (left / "heartbeat").write_text("1\n")
    open_work = store.partial(JOB) / "released-00c0ffee"
    open_work.mkdir(parents=True)
    store.tidy()
    assert not store.partial(NEED).exists()
    assert open_work.exists()


def write_lines(root: Path, start: int) -> None:
    for number in range(start, start + 200):
        ledger.append(root, {"key": f"{number:064d}", "title": "\u00b5V" * 30})


def test_the_ledger_keeps_the_lines_of_processes_that_write_at_once(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write_lines, args=(tmp_path, 1000 * number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = ledger.read(tmp_path)
    assert sorted(int(line["key"]) for line in lines) == [1000 * w + n for w in range(3) for n in range(200)]
    assert {line["pid"] for line in lines} == {writer.pid for writer in writers}


def test_a_torn_line_is_ignored_and_swallows_no_other(tmp_path: Path) -> None:
    ledger.append(tmp_path, {"key": "a"})
    (file,) = (tmp_path / "ledger").iterdir()
    whole = file.read_bytes()
    for cut in range(len(whole)):
        file.write_bytes(whole + whole[:cut])
        expected = ["a", "a"] if cut == len(whole) - 1 else ["a"]
        assert [line["key"] for line in ledger.read(tmp_path)] == expected
        ledger.append(tmp_path, {"key": "b"})
        assert [line["key"] for line in ledger.read(tmp_path)] == [*expected, "b"]


def test_the_ledgers_of_several_machines_are_one(tmp_path: Path) -> None:
    ledger.append(tmp_path, {"key": "a"})
    (tmp_path / "ledger" / "node7.0badcafe.jsonl").write_text('{"key": "b"}\n3\n\xff\n', encoding="latin-1")
    assert sorted(line["key"] for line in ledger.read(tmp_path)) == ["a", "b"]
    assert ledger.read(tmp_path / "nowhere") == []
