import json
from pathlib import Path
from typing import Any

import click.testing
import matplotlib.image
import pytest

from edgeguard.cli import main
from edgeguard.ecg.sources import load_dataset
from edgeguard.ecg.split import split
from edgeguard.evaluation.intervals import rate
from edgeguard.report.demo import EPS_UV, PAPER_EPS_UV, comparison
from edgeguard.runtime.session import open_model

SMALL = ["--records", "48", "--epochs", "1", "--samples", "3", "--queries", "30"]


def demo(out: Path, *arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["demo", *SMALL, "--out", str(out), *arguments])


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "runs"


@pytest.fixture(scope="module")
def first(out: Path) -> dict[str, Any]:
    """The report of a first, small demo."""
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
        assert [(row["steps"], row["smooth_steps"], row["situation"]) for row in sap] == [(20, 40, "II")] * 4
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
