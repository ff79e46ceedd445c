"""edgeguard train: options, files of options, folders, and what is refused."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from edgeguard.cli import train as train_command
from edgeguard.defenses.config import make_config
from edgeguard.defenses.cost import forward_units
from edgeguard.evaluation import metrics

Call = Callable[..., Result]
Refused = Callable[[Result], str]
OnlyJson = Callable[[Result], dict[str, Any]]

NETWORK = """
from torch import nn

def make(classes):
    return nn.Sequential(
        nn.Conv1d(1, 4, 25, stride=25), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.2),
        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, classes))

def wide(classes):
    return nn.Sequential(nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(1, classes + 1))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a user's own network."""
    (tmp_path / "cli_network.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.fixture
def train(edgeguard: Call, waves: Path) -> Call:
    """`edgeguard train` on the waves, with a tiny network and short; options given later win."""

    def run(*options: object, data: object = waves) -> Result:
        short = ("--arch", "cli_network:make", "--epochs", 2, "--device", "cpu", "--data", data)
        return edgeguard("train", *short, *options)

    return run


def weights(folder: str) -> bytes:
    return Path("runs", folder, "weights.safetensors").read_bytes()


def test_the_json_object_is_that_of_the_contract(train: Call, only_json: OnlyJson):
    result = train("--defense", "adt", "--seed", 3, "--json")
    report = only_json(result)
    assert report["schema"] == "edgeguard.train/1"
    contract = {
        "run",
        "defense",
        "arch",
        "preset",
        "seed",
        "parameters",
        "epochs",
        "seconds",
        "gradient_evaluations",
        "validation",
    }
    assert contract <= set(report)
    assert report["run"] == "runs/adt-cli_network-make-fast-s3"
    assert (report["defense"], report["arch"], report["preset"], report["seed"]) == (
        "adt",
        "cli_network:make",
        "fast",
        3,
    )
    assert report["epochs"] == [2, 2] and report["parameters"] == 4 * 25 + 4 + 8 + 20
    assert report["gradient_evaluations"] > 0 and set(report["validation"]) == {"accuracy", "f1"}
    assert "data: " in result.stderr and "teacher: training at first" in result.stderr
    stored = json.loads(Path(report["run"], "metrics.json").read_text())
    assert stored["validation"] == report["validation"]


def test_people_get_a_table(train: Call):
    result = train("--defense", "none")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["run", "runs/none-cli_network-make-fast-s0"]
    assert "132 parameters" in result.stdout and lines[-1].endswith("edgeguard export --int8")
    # Two epochs of a training pass alone.
    assert "cost        6 forward units a record (1/867 of the ADT paper's 5,200), " in result.stdout


def test_the_papers_cost_is_that_of_its_two_stages():
    paper = make_config(defense="adt", preset="paper")
    teacher = paper.teacher()
    assert teacher and forward_units(paper) + forward_units(teacher) == train_command._PAPER_UNITS
    assert train_command._units(5200) == "5,200 forward units a record (1.0 times the ADT paper's 5,200)"
    assert train_command._units(520) == "520 forward units a record (1/10 of the ADT paper's 5,200)"
    assert train_command._units(10_400).endswith("(2.0 times the ADT paper's 5,200)")


def test_a_start_is_told_beside_the_cost(train: Call, only_json: OnlyJson):
    options = ("--defense", "at", "--preset", "lite", "--epochs", 1, "--start-epochs", 2, "--steps", 1)
    result = train(*options)
    assert result.exit_code == 0
    # One epoch with six crafting steps, after two epochs of a training pass alone.
    assert "cost        18 forward units a record (1/289 of the ADT paper's 5,200), " in result.stdout
    assert ", after a start of 6 forward units, " in result.stdout


def test_a_budget_is_told(train: Call, only_json: OnlyJson):
    result = train("--defense", "none", "--preset", "fast", "--budget", "1h", "--json")
    report = only_json(result)
    budget = report["budget"]
    assert set(budget) == {"seconds", "forecast", "picked", "spent"} and budget["seconds"] == 3600
    assert budget["picked"] == {"preset": "fast", "epochs": 2, "start_epochs": 0}
    assert 0 < budget["spent"] < 3600 and 0 < budget["forecast"] < 3600
    assert json.loads(Path(report["run"], "metrics.json").read_text())["budget"] == budget
    told = [line for line in result.stderr.splitlines() if line.startswith(("budget ", "measured: "))]
    assert told[0].startswith("budget 1h00m: picked fast, 2 epochs a stage: forecast ") and told[1].endswith(
        "ms a step of none"
    )
    again = only_json(train("--defense", "none", "--preset", "fast", "--json"))
    assert weights(Path(again["run"]).name) == weights(Path(report["run"]).name)


def test_a_budget_names_the_folder_after_the_preset_it_picks(edgeguard: Call, waves: Path, only_json: OnlyJson):
    short = ("--arch", "cli_network:make", "--device", "cpu", "--data", waves, "--epochs", 1)
    report = only_json(edgeguard("train", *short, "--defense", "none", "--budget", "1h", "--json"))
    assert (report["run"], report["preset"]) == ("runs/none-cli_network-make-paper-s0", "paper")
    options = json.loads(Path(report["run"], "config.json").read_text())["options"]
    assert (options["preset"], options["epochs"], options["batch"]) == ("paper", 1, 16)
    assert "budget" not in options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--eps", "-1"], "--eps -1.0: at least 0 needed"),
        (["--eps", "nan"], "eps = nan: a finite number needed"),
        (["--temperature", "0"], "--temperature 0.0: above 0 needed"),
        (["--mix", "2"], "--mix 2.0: between 0 and 1 needed"),
        (["--epochs", "0"], "--epochs 0: at least 1 needed"),
        (["--batch", "1"], "--batch 1: at least 2"),
        (["--learning-rate", "0"], "--learning-rate 0.0: above 0 needed"),
        (["--seed", "-1"], "--seed -1"),
        (["--split-seed", "-1"], "--split-seed -1: at least 0 needed"),
        (["--kernels", "nest"], "--kernels nest: unknown; did you mean nest25? choose nest25 or zip5"),
        (["--defense", "trust"], "--defense trust: unknown; choose none, jr, nsr, dd, at, init-adt, dist-adt, adt, "),
        (["--preset", "slow"], "--preset slow: unknown; choose fast, full, lite or paper"),
        (["--budget", "0"], "--budget 0: a time above zero such as 90s, 30m or 1h30m needed"),
        (["--budget", "-5m"], "--budget -5m: a time above zero"),
        (["--budget", "soon"], "--budget soon: a time above zero"),
        (["--budget", "0.000001s"], "--budget 1e-06s: over before the first step of every stage"),
        (["--arch", "edge-x"], "--arch edge-x: unknown; did you mean edge-s? choose edge-m, edge-s"),
        (["--arch", "cli_missing:make"], "--arch cli_missing:make: cannot be imported"),
        (["--arch", "cli_network:nobody"], "--arch cli_network:nobody: cannot be imported"),
        (["--arch", "cli_network:wide"], "returns [2, 5] for an input of [2, 1, 9000], needed [2, 4]"),
        (["--device", "tpu"], "--device tpu: unknown; did you mean cpu? choose auto, cpu or cuda"),
        (["--test-records", "none.txt"], "none.txt: cannot be read"),
        (["--data", "nowhere.zip"], "nowhere.zip: no such file or folder"),
        (["--config", "none.toml"], "none.toml: cannot be read"),
    ],
)
def test_bad_options_are_refused_in_one_line(train: Call, refused: Refused, options: list[str], message: str):
    assert message in refused(train("--defense", "none", *options))
    written = [p for p in Path("runs").rglob("*") if p.is_file()] if Path("runs").exists() else []
    assert written == []


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "own.toml",
            "epoch = 3\n",
            "own.toml: epoch is no option of edgeguard train; did you mean epochs? remove",
        ),
        ("own.toml", "config = 'a.toml'\n", "own.toml: config is no option"),
        ("own.toml", "epochs = \n", "own.toml: neither TOML nor JSON as its name says"),
        ("own.toml", "temperature = 0.0\n", "--temperature 0.0: above 0 needed"),
        ("own.json", "[1, 2]", "own.json: a table of options is needed"),
        ("own.json", "{", "own.json: neither TOML nor JSON as its name says"),
        ("own.json", '{"options": {"defence": "at"}}', "own.json: defence is no option of edgeguard train"),
    ],
)
def test_a_bad_file_of_options_is_refused(train: Call, refused: Refused, name: str, text: str, message: str):
    Path(name).write_text(text)
    assert message in refused(train("--config", name))
    assert not Path("runs").exists()


def test_a_file_of_options_counts_and_the_command_line_wins(edgeguard: Call, waves: Path, only_json: OnlyJson):
    Path("own.toml").write_text(
        f'defense = "none"\narch = "cli_network:make"\nepochs = 1\nlearning-rate = 0.01\n'
        f'augment = false\nseed = 5\ndata = "{waves}"\ndevice = "cpu"\n'
    )
    report = only_json(edgeguard("train", "--config", "own.toml", "--seed", 6, "--json"))
    assert (report["seed"], report["epochs"], report["defense"]) == (6, [1], "none")
    options = json.loads(Path(report["run"], "config.json").read_text())["options"]
    assert (options["learning_rate"], options["augment"], options["data"]) == (0.01, False, str(waves))


def test_a_runs_own_config_repeats_it(edgeguard: Call, train: Call, only_json: OnlyJson):
    Path("test.txt").write_text("W00\nW01\nW02\nW03\n")
    options = ("--defense", "at", "--seed", 4, "--mix", 0.7, "--test-records", "test.txt", "--no-augment")
    first = only_json(train(*options, "--json"))["run"]
    again = only_json(edgeguard("train", "--config", f"{first}/config.json", "--json"))["run"]
    assert again == f"{first}-2"
    assert weights(Path(first).name) == weights(Path(again).name)
    split = json.loads(Path(again, "split.json").read_text())
    assert split["test"] == ["W00", "W01", "W02", "W03"]
    other = only_json(edgeguard("train", "--config", f"{first}/config.json", "--seed", 5, "--json"))["run"]
    assert weights(Path(other).name) != weights(Path(first).name)


def test_unknown_test_records_are_refused(train: Call, refused: Refused):
    Path("test.txt").write_text("W00\nX99\n")
    assert "1 of 2 are not in" in refused(train("--test-records", "test.txt"))


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ctrl-C in the third validation."""
    scores, calls = metrics.scores, []

    def judge(*arguments: Any, **options: Any) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return scores(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "scores", judge)
        yield


def test_ctrl_c_leaves_a_run_that_goes_on(train: Call, refused: Refused, only_json: OnlyJson, interrupted: None):
    result = train("--defense", "none", "--epochs", 4)
    assert result.exit_code == 130 and "interrupted; the same command with --resume goes on" in result.stderr
    assert result.stdout == "" and "Traceback" not in result.output
    message = refused(train("--defense", "none", "--epochs", 4))
    assert "runs/none-cli_network-make-fast-s0: holds an unfinished run; add --resume to go on" in message
    message = refused(train("--defense", "none", "--epochs", 5, "--resume"))
    assert "other settings or data" in message
    only_json(train("--defense", "none", "--epochs", 4, "--resume", "--json"))
    only_json(train("--defense", "none", "--epochs", 4, "--out", "runs/whole", "--json"))
    assert weights("none-cli_network-make-fast-s0") == weights("whole")


def test_resuming_a_finished_run_says_what_it_is(train: Call, only_json: OnlyJson, refused: Refused):
    first = only_json(train("--defense", "none", "--json"))
    assert only_json(train("--defense", "none", "--resume", "--json")) == first
    assert "holds a finished run; choose another --out" in refused(train("--out", first["run"]))


def test_a_full_disk_is_one_line(train: Call, refused: Refused, monkeypatch: pytest.MonkeyPatch):
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        message = refused(train("--defense", "none", "--out", "runs/a"))
    assert "epoch-0001.safetensors: cannot be written (No space left on device); free space" in message
    assert sorted(p.name for p in Path("runs/a").rglob("*")) == ["checkpoint", "config.json", "split.json"]
    assert train("--defense", "none", "--out", "runs/a", "--resume").exit_code == 0
    assert train("--defense", "none", "--out", "runs/b").exit_code == 0
    assert weights("a") == weights("b")


def test_a_folder_of_something_else_is_refused(train: Call, refused: Refused):
    Path("notes").mkdir()
    Path("notes/a.txt").write_text("mine")
    assert "notes: exists and is no run; choose another --out" in refused(train("--out", "notes"))
    assert [p.name for p in Path("notes").iterdir()] == ["a.txt"]


def test_an_unknown_option_is_a_usage_error(train: Call):
    result = train("--epoch", 3)
    assert result.exit_code == 2 and "No such option" in result.stderr and "Traceback" not in result.output
