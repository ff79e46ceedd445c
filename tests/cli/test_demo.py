import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click.testing
import matplotlib.image
import psutil
import pytest

from edgeguard.cli import main
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split
from edgeguard.evaluation.intervals import rate
from edgeguard.report.demo import comparison
from edgeguard.report.demo_network import EPS_UV, PAPER_EPS_UV
from edgeguard.runtime.session import open_model

SMALL = ["--records", "48", "--epochs", "1", "--samples", "3", "--queries", "30"]


def demo(out: Path, *arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["demo", *SMALL, "--out", str(out), *arguments])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "runs"


@pytest.fixture(scope="module")
def first(out: Path) -> dict[str, Any]:
    """The report of a first, small demo, none of which this process trains or judges itself."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("defenses.train.fit", "evaluation.adversarial.craft"):
            patch.setattr(f"edgeguard.{name}", lambda *_, **__: pytest.fail("computed in the first process"))
        done = demo(out, "--json")
    assert done.exit_code in (0, 1), done.output
    report: dict[str, Any] = json.loads(done.stdout)
    assert done.exit_code == (0 if report["verdict"] else 1)
    return report


def test_every_step_leaves_its_figures(first: dict[str, Any]) -> None:
    assert first["schema"] == "edgeguard.demo/1"
    assert set(first["networks"]) == {"none", "adt"}
    for network in first["networks"].values():
        assert [row["name"] for row in network["torch"]] == ["clean", "pgd", "sap"]
        sap = [row for row in network["int8"] if row["name"] == "sap"]
        assert [row["eps_uv"] for row in sap] == list(EPS_UV)
        assert [(row["steps"], row["smooth_steps"], row["situation"]) for row in sap] == [(20, 40, "II")] * len(EPS_UV)
        assert {row["alpha_uv"] for row in sap if row["eps_uv"] == PAPER_EPS_UV} == {1.0}
        assert network["stream"]["decisions"] == 4 * 31
        assert network["black_box"]["samples"] == 3 and network["black_box"]["queries"] == 30
    assert set(first["zoo"]) == {"none-edge-m", "adt-edge-m"}
    for network in first["zoo"].values():
        assert [row["name"] for row in network["int8"]] == ["clean", "pgd", "sap"]
        assert network["n"] == first["n"] and network["stream"]["decisions"] == 4 * 31
    for path in first["figures"].values():
        assert matplotlib.image.imread(path).shape[0] > 300


def test_the_accuracy_is_that_of_the_file_on_records_that_no_training_saw(first: dict[str, Any]) -> None:
    dataset = load_dataset("synthetic:48")
    parts = split(dataset)
    ecg, _, labels = dataset.batch(parts.test)
    for network in first["networks"].values():
        hits = (open_model(network["file"]).labels(ecg) == labels).sum()
        assert network["int8"][0]["accuracy"] == rate(int(hits), len(parts.test))
        names = json.loads((Path(network["run"]) / "split.json").read_text())
        assert not {dataset.names[i] for i in parts.test} & {*names["train"], *names["validation"]}


def test_other_commands_take_the_demos_runs(first: dict[str, Any]) -> None:
    network = first["networks"]["adt"]
    arguments = ["evaluate", network["run"], "--attack", "clean", "--json"]
    done = click.testing.CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["n"] == first["n"]
    assert report["attacks"][0]["confusion"] == network["torch"][0]["confusion"]


def test_a_second_demo_takes_the_finished_runs(out: Path, first: dict[str, Any]) -> None:
    runs = [Path(network["run"]) / "weights.safetensors" for network in first["networks"].values()]
    before = [path.stat().st_mtime_ns for path in runs]
    done = demo(out)
    assert [path.stat().st_mtime_ns for path in runs] == before
    assert done.stderr.count("finished earlier, taken from") == 2
    assert "verdict    " + ("holds" if first["verdict"] else "does NOT hold") in done.stdout
    for network in first["networks"].values():
        value = network["int8"][0]["accuracy"]["value"]
        assert any(line.split()[1:3] == ["int8", f"{value:.3f}"] for line in done.stdout.splitlines() if line)


def test_a_demo_of_other_settings_does_not_touch_the_runs(out: Path, first: dict[str, Any]) -> None:
    done = demo(out, "--epochs", "2")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].startswith("edgeguard: ") and "choose another --out" in done.stderr


@pytest.mark.parametrize("arguments", [["--epochs", "0"], ["--seed", "-1"], ["--records", "3"]])
def test_bad_input_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    done = demo(tmp_path / "runs", *arguments)
    assert done.exit_code == 2
    assert len([line for line in done.stderr.splitlines() if line.startswith("edgeguard: ")]) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("undefended", "defended", "n", "apart", "verdict"),
    [
        (120, 200, 240, True, True),
        (120, 160, 240, True, False),
        (10, 15, 20, False, False),
        (200, 120, 240, False, False),
    ],
)
def test_the_verdict_needs_the_margin_and_the_intervals(
    undefended: int, defended: int, n: int, apart: bool, verdict: bool
) -> None:
    found = comparison(rate(undefended, n), rate(defended, n))
    assert found["gain"] == pytest.approx((defended - undefended) / n)
    assert (found["intervals_apart"], found["verdict"]) == (apart, verdict)


def begin(out: Path) -> subprocess.Popen[str]:
    """A demo of many epochs in a process group of its own, once both networks have checkpoints of its own."""
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from edgeguard.cli import main"
    arguments = ["demo", "--records", "48", "--epochs", "400", "--out", str(out)]
    running = subprocess.Popen(
        [sys.executable, "-c", f"{listen}; main({arguments})"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    began = time.time()
    while running.poll() is None and len(fresh := [path for path in logs(out) if path.stat().st_mtime > began]) < 2:
        time.sleep(0.02)
    assert running.poll() is None and fresh, running.communicate()
    return running


def logs(out: Path) -> list[Path]:
    """The newest checkpoint of each network's log."""
    folders = (out / f"{name}-edge-s-fast-s0" / "checkpoint" for name in ("none", "at"))
    return [max(found) for folder in folders if (found := list(folder.glob("epoch-*.json")))]


def test_ctrl_c_is_one_line_and_a_killed_process_another_and_both_times_the_demo_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    running = begin(out)
    os.killpg(running.pid, signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.splitlines()[-1] == f"interrupted; the same command goes on (in {out})"
    assert "Traceback" not in err and err.count("interrupt") == 1
    reached = [json.loads(path.read_text()) for path in logs(out)]

    running = begin(out)
    workers = [child for child in psutil.Process(running.pid).children() if "spawn_main" in "".join(child.cmdline())]
    assert len(workers) == 2
    workers[0].kill()
    _, err = running.communicate(timeout=60)
    assert running.returncode == 2
    assert "Traceback" not in err and err.count("edgeguard: ") == 1
    assert re.match(r"edgeguard: (adt|none): its process died by signal 9; ", err.splitlines()[-1])
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    # The seconds of an epoch in the log are those of its first time.
    for before, path in zip(reached, logs(out), strict=True):
        after = json.loads(path.read_text())
        assert len(after) > len(before) and after[: len(before)] == before
