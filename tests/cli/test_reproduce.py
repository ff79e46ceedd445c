"""edgeguard reproduce: the plan, the results, and that nothing is done twice, whatever happens on the way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from tiny_network import faint_waves

from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.evaluation.reproduction import grid
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.evaluation.subject import Subject

Call = Callable[..., Result]
HELPERS = Path(__file__).parents[1] / "helpers"
TINY = ("--arch", "tiny_network:make", "--epochs", 2, "--defenses", "none,at", "--sweep-limit", 4)
PART = ("--only", "table2,table4")


def titles(out: Path) -> list[str]:
    """Of every job computed in a folder."""
    return [line["title"] for line in Store(out / "store").ledger()]


def tables(out: Path) -> dict[str, Any]:
    """Name -> content of every JSON file of results, but for the plan that was made before."""
    found = {path.name: json.loads(path.read_text()) for path in out.glob("*.json")}
    found.pop("summary.json", None)
    return found


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eighty faint waves."""
    folder = tmp_path_factory.mktemp("data") / "waves"
    write_cinc(folder, faint_waves())
    return folder


@pytest.fixture(scope="module")
def few_queries() -> Any:
    """A boundary attack that hardly begins."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("PAIRS", 1), ("QUERIES", 60), ("OWN_QUERIES", 30)):
            patch.setattr(grid, name, value)
        yield


@pytest.fixture(scope="module")
def reproduced(
    edgeguard: Call, waves: Path, few_queries: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """(folder, what the command printed) of everything; tests only read it."""
    out = tmp_path_factory.mktemp("reproduced") / "out"
    result = edgeguard("reproduce", *TINY, "--data", waves, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    return out, result


@pytest.fixture(scope="module")
def trained_runs(reproduced: tuple[Path, Result], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the two finished runs, as `edgeguard train` leaves them."""
    folder = tmp_path_factory.mktemp("finished")
    for run in reproduced[0].glob("store/*/*/network"):
        shutil.copytree(run, folder / json.loads((run / "config.json").read_text())["defense"])
    return folder


@pytest.fixture(scope="module")
def reference(
    edgeguard: Call, waves: Path, trained_runs: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The tables of `PART`, made without a break."""
    out = tmp_path_factory.mktemp("reference")
    result = edgeguard("reproduce", *TINY, *PART, "--data", waves, "--runs", trained_runs, "--out", out)
    assert result.exit_code == 0, result.output
    return tables(out)


def test_a_dry_run_says_what_it_would_do_and_writes_nothing(
    edgeguard: Call, waves: Path, tmp_path: Path, only_json: Callable[[Result], dict[str, Any]]
) -> None:
    out = tmp_path / "out"
    told = edgeguard("reproduce", *TINY, "--data", waves, "--out", out, "--dry-run")
    assert told.exit_code == 0 and "none seed 0, at seed 0" in told.stdout and "forward units" in told.stdout
    plan = only_json(edgeguard("reproduce", *TINY, "--data", waves, "--out", out, "--dry-run", "--json"))["plan"]
    assert not out.exists() and not list(tmp_path.iterdir())
    assert plan["jobs"]["taken"] == 0 and plan["jobs"]["run"] == plan["jobs"]["total"] == len(plan["to_run"])
    assert plan["networks"] == [{"defense": name, "seed": 0, "taken": None} for name in ("none", "at")]
    assert plan["records"] == {"test": 8, "tables": 8, "strict_and_sweeps": 4}
    units = sum(job["forward_units"] for job in plan["to_run"])
    assert plan["forward_units"] == units > 0
    assert plan["hours"] == pytest.approx(units * plan["seconds_a_unit"] / 3600)


def test_everything_is_made(reproduced: tuple[Path, Result], only_json: Callable[[Result], dict[str, Any]]) -> None:
    out, result = reproduced
    found = only_json(result)
    assert found["schema"] == "edgeguard.reproduce/1"
    assert list(found["tables"]) == [*(f"table{number}" for number in range(2, 7)), "strict"]
    for name in found["paths"].values():
        assert Path(name).stat().st_size > 0
    drawn = {f"figure{number}.{form}" for number in (1, 3, 4, 5, 6) for form in ("png", "svg")}
    assert drawn <= set(found["paths"]) and found["left_out"] == {}
    assert json.loads((out / "summary.json").read_text()) == found
    markdown = (out / "tables.md").read_text()
    for heading in ("Table 2: SAP, situation I, accuracy", "Table 5: PGD, situation II, F1", "Profile strict/2"):
        assert f"### {heading}" in markdown
    # (.8631 - .3906) / .8631, and F1 of at in Table 2.
    assert "54.74" in markdown and "| 0.7498 |" in markdown and "unknown" not in markdown
    assert "No control" in markdown and "trained here: none seed 0, at seed 0" in markdown
    assert str(out.parent) not in markdown


def test_the_tables_hold_together(reproduced: tuple[Path, Result]) -> None:
    found = tables(reproduced[0])
    rows = {number: {row["defense"]: row for row in found[f"table{number}.json"]["rows"]} for number in (2, 3, 4, 5)}
    for first, second in ((2, 3), (4, 5)):
        assert rows[first]["none"]["attacked"] == rows[second]["none"]["attacked"]
    assert all(rows[2][name]["clean"] == rows[5][name]["clean"] for name in ("none", "at"))
    strict = {row["defense"]: row for row in found["strict.json"]["rows"]}
    assert found["strict.json"]["n"] == 4 and found["table5.json"]["n"] == 8
    for row in strict.values():
        assert row["attacked"]["accuracy"]["value"] <= row["clean"]["accuracy"]["value"]
    assert found["table6.json"]["victims"] == [0]


def test_done_twice_is_done_once(edgeguard: Call, waves: Path, reproduced: tuple[Path, Result], tmp_path: Path) -> None:
    out = tmp_path / "again"
    shutil.copytree(reproduced[0], out)
    before, found = titles(out), tables(out)
    assert len(before) == len(set(before))
    again = edgeguard("reproduce", *TINY, *PART, "--data", waves, "--out", out, "--json")
    plan = json.loads(again.stdout)["plan"]
    assert plan["jobs"]["run"] == 0 and plan["jobs"]["taken"] == plan["jobs"]["total"] > 0
    assert [network["taken"] for network in plan["networks"]] == ["store", "store"]
    assert titles(out) == before and tables(out) == found
    # A further row trains and measures that alone.
    more = edgeguard("reproduce", *TINY, *PART, "--defenses", "none,at,dd", "--data", waves, "--out", out, "--json")
    assert more.exit_code == 0, more.output
    added = titles(out)[len(before) :]
    assert "train dd seed 0" in added and all("dd" in title for title in added)


def test_finished_runs_are_taken_and_named(edgeguard: Call, waves: Path, trained_runs: Path, tmp_path: Path) -> None:
    given = (*TINY, *PART, "--data", waves, "--runs", trained_runs, "--out", tmp_path / "out", "--dry-run", "--json")
    plan = json.loads(edgeguard("reproduce", *given).stdout)["plan"]
    assert [network["taken"] for network in plan["networks"]] == [str(trained_runs / name) for name in ("none", "at")]
    assert not any(job["title"].startswith("train") for job in plan["to_run"])
    # Other seeds and other epochs are other networks.
    for other in (("--seeds", 2), ("--epochs", 3)):
        plan = json.loads(edgeguard("reproduce", *given, *other).stdout)["plan"]
        assert sum(network["taken"] is None for network in plan["networks"]) == 2


def test_several_seeds_are_paired(edgeguard: Call, waves: Path, tmp_path: Path) -> None:
    given = ("--only", "table4", "--seeds", 2, "--data", waves, "--out", tmp_path)
    result = edgeguard("reproduce", *TINY, *given)
    assert result.exit_code == 0, result.output
    assert "2 seeds" in result.stdout and "±" in result.stdout
    table = tables(tmp_path)["table4.json"]
    crafted = [title for title in titles(tmp_path) if "->" in title]
    assert crafted == [f"PGD 10 uV, steps of 1: none seed {seed} -> at seed {seed}" for seed in (0, 1)]
    for row in table["rows"]:
        scores = row["by_seed"]["attacked"]["accuracy"]
        assert len(scores) == 2 and row["attacked"]["accuracy"]["value"] == pytest.approx(sum(scores) / 2)
        assert row["sd"]["attacked"]["accuracy"] == pytest.approx(abs(scores[0] - scores[1]) / 2**0.5)


@pytest.mark.parametrize("calls", [1, 5])
def test_interrupted_and_called_again(
    edgeguard: Call,
    waves: Path,
    trained_runs: Path,
    reference: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    calls: int,
) -> None:
    given = ("reproduce", *TINY, *PART, "--data", waves, "--runs", trained_runs, "--out", tmp_path)
    judge, left = Subject.judge, [calls]

    def tiring(self: Subject, *arguments: Any) -> Any:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        return judge(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Subject, "judge", tiring)
        stopped = edgeguard(*given)
    assert stopped.exit_code == 130 and "the same command goes on" in stopped.stderr
    assert not tables(tmp_path)
    assert edgeguard(*given).exit_code == 0
    assert tables(tmp_path) == reference
    assert len(titles(tmp_path)) == len(set(titles(tmp_path)))


def environment(**further: str) -> dict[str, str]:
    """Of another process that finds the tiny network."""
    return {**os.environ, "PYTHONPATH": str(HELPERS), "OMP_NUM_THREADS": "1", **further}


def test_killed_and_called_again(
    edgeguard: Call, waves: Path, trained_runs: Path, reference: dict[str, Any], tmp_path: Path
) -> None:
    given = ("reproduce", *TINY, *PART, "--data", waves, "--runs", trained_runs, "--out", tmp_path)
    command = [sys.executable, "-m", "edgeguard", *map(str, given)]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and len(titles(tmp_path)) < 4:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not tables(tmp_path)
    result = edgeguard(*given)
    assert result.exit_code == 0, result.output
    assert tables(tmp_path) == reference
    assert len(titles(tmp_path)) == len(set(titles(tmp_path)))


def test_a_cluster_that_loses_a_worker_finds_the_same(
    waves: Path, trained_runs: Path, reference: dict[str, Any], tmp_path: Path
) -> None:
    death = tmp_path / "death"
    death.touch()
    out = tmp_path / "out"
    given = ("reproduce", *TINY, *PART, "--data", waves, "--runs", trained_runs, "--out", out, "--workers", 2)
    command = [sys.executable, "-m", "edgeguard", *map(str, given)]
    done = subprocess.run(command, env=environment(TINY_NETWORK_DEATH=str(death)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not death.exists()
    assert tables(out) == reference
    assert len(titles(out)) == len(set(titles(out)))


def test_a_class_that_is_missing_is_said_once(edgeguard: Call, waves: Path, trained_runs: Path, tmp_path: Path) -> None:
    given = ("--only", "table5", "--data", waves, "--runs", trained_runs, "--out", tmp_path, "--limit", 3)
    result = edgeguard("reproduce", *TINY, *given)
    assert result.exit_code == 0, result.output
    missing = json.loads((tmp_path / "table5.json").read_text())["missing_classes"]
    lines = [line for line in result.stdout.splitlines() if line.startswith("No record of class")]
    assert len(missing) == 1 and set(lines) == {
        f"No record of class {missing[0]} among them: F1 is the mean of the classes that are."
    }


@pytest.mark.parametrize(
    "options, named",
    [
        (("--only", "table9"), "--tables 9"),
        (("--only", "table5", "--defenses", "adt"), "none is missing"),
        (("--only", "table5", "--device", "tpu"), "--device tpu"),
        (("--only", "table5", "--runs", "nowhere"), "nowhere: holds no finished run"),
        (("--only", "table5", "--preset", "quick"), "--preset quick"),
        (("--only", "table5", "--arch", "nothing:make"), "nothing:make"),
        (("--only", "table5", "--workers", "0"), "--workers"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    edgeguard: Call, waves: Path, refused: Callable[[Result], str], tmp_path: Path, options: tuple[str, ...], named: str
) -> None:
    line = refused(edgeguard("reproduce", "--data", waves, "--out", tmp_path / "out", *options))
    assert named in line and not (tmp_path / "out").exists()


@pytest.mark.real
def test_the_zoo_is_taken_whole(edgeguard: Call, cinc2017: Path, tmp_path: Path) -> None:
    result = edgeguard("reproduce", "--data", cinc2017, "--out", tmp_path, "--dry-run", "--json")
    plan = json.loads(result.stdout)["plan"]
    assert len(plan["networks"]) == 8
    assert {Path(network["taken"] or "").parent.name for network in plan["networks"]} == {"zoo"}
