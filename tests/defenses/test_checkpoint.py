"""Nothing that stops a training, not even SIGKILL, costs more than an epoch, nor a bit of the result."""

import errno
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

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from edgeguard.cli import main
from edgeguard.defenses import checkpoint
from edgeguard.defenses.train import Job, train
from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores
from edgeguard.models.run import CONFIG, METRICS, SPLIT, WEIGHTS, is_finished

Pair = tuple[nn.Module, torch.optim.Optimizer]


def fresh(seed: int) -> Pair:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def step(pair: Pair, seed: int) -> None:
    model, optimizer = pair
    inputs = torch.randn(8, 3, generator=torch.Generator().manual_seed(seed))
    optimizer.zero_grad()
    model.train()(inputs).square().sum().backward()
    optimizer.step()


def trained(run: Path, epochs: int) -> Pair:
    """A pair trained for some epochs, with a checkpoint after each."""
    pair = fresh(0)
    for epoch in range(epochs):
        step(pair, epoch)
        checkpoint.save(run, *pair, [{"epoch": e + 1} for e in range(epoch + 1)])
    return pair


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(value, other[name]) for name, value in first.state_dict().items())


def files(run: Path) -> list[str]:
    return sorted(p.name for p in (run / checkpoint.FOLDER).iterdir())


def test_training_goes_on_as_if_never_stopped(tmp_path: Path):
    pair, restored = trained(tmp_path, 2), fresh(1)
    assert checkpoint.restore(tmp_path, *restored) == [{"epoch": 1}, {"epoch": 2}]
    assert same(pair[0], restored[0])
    for number in range(3):
        step(pair, 10 + number)
        step(restored, 10 + number)
    assert same(pair[0], restored[0])


def test_without_a_checkpoint_nothing_is_touched(tmp_path: Path):
    pair, twin = fresh(1), fresh(1)
    assert checkpoint.restore(tmp_path, *pair) == []
    assert same(pair[0], twin[0])


def test_the_last_two_are_kept(tmp_path: Path):
    trained(tmp_path, 4)
    stems = ("epoch-0003", "epoch-0004")
    assert files(tmp_path) == sorted(f"{stem}{end}" for stem in stems for end in (".json", ".safetensors"))
    checkpoint.remove(tmp_path)
    assert not (tmp_path / checkpoint.FOLDER).exists()
    checkpoint.remove(tmp_path)


@pytest.mark.parametrize("damage", ["cut tensors", "no tensors", "cut log", "other network"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(tmp_path: Path, damage: str):
    before = trained(tmp_path / "short", 1)
    trained(tmp_path, 2)
    tensors = tmp_path / checkpoint.FOLDER / "epoch-0002.safetensors"
    match damage:
        case "cut tensors":
            tensors.write_bytes(tensors.read_bytes()[:-50])
        case "no tensors":
            tensors.unlink()
        case "cut log":
            tensors.with_suffix(".json").write_text('[{"epoch": 1}, {"ep')
        case "other network":
            checkpoint.save_tensors(tensors, {"model.0.weight": torch.zeros(5, 3)})
    restored = fresh(1)
    assert checkpoint.restore(tmp_path, *restored) == [{"epoch": 1}]
    assert same(before[0], restored[0])


def test_where_all_are_damaged_the_network_stays_fresh(tmp_path: Path):
    trained(tmp_path, 2)
    for path in (tmp_path / checkpoint.FOLDER).glob("*.safetensors"):
        checkpoint.save_tensors(path, {"model.0.weight": torch.zeros(5, 3)})
    pair, twin = fresh(1), fresh(1)
    assert checkpoint.restore(tmp_path, *pair) == []
    assert same(pair[0], twin[0])


@pytest.mark.parametrize("writes", [0, 1], ids=["tensors", "log"])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int):
    pair = trained(tmp_path, 1)
    before = files(tmp_path)
    state = {name: value.clone() for name, value in pair[0].state_dict().items()}
    step(pair, 5)
    left = [writes]
    sync = os.fsync

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=r"No space left on device.*free space"):
            checkpoint.save(tmp_path, *pair, [{"epoch": 1}, {"epoch": 2}])
    assert [name for name in files(tmp_path) if name != "epoch-0002.safetensors"] == before
    restored = fresh(1)
    assert checkpoint.restore(tmp_path, *restored) == [{"epoch": 1}]
    assert all(torch.equal(value, state[name]) for name, value in restored[0].state_dict().items())


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Pair]:
    """A folder of two checkpoints, and the pair as it was at the first."""
    folder = tmp_path_factory.mktemp("two")
    trained(folder, 2)
    return folder, trained(tmp_path_factory.mktemp("one"), 1)


def cut(path: Path, share: float) -> None:
    """The file, from its end on, without at least a byte; a share of 0 leaves nothing."""
    content = path.read_bytes().rstrip()
    path.write_bytes(content[: int(share * (len(content) - 1))])


@example(share=0.0, ending=".safetensors")
@example(share=1.0, ending=".safetensors")
@example(share=0.0, ending=".json")
@example(share=1.0, ending=".json")
@given(share=st.floats(0, 1), ending=st.sampled_from([".json", ".safetensors"]))
@settings(max_examples=40, deadline=None)
def test_a_checkpoint_cut_anywhere_is_passed_over(two_epochs: tuple[Path, Pair], share: float, ending: str):
    run, before = two_epochs
    newest = run / checkpoint.FOLDER / f"epoch-0002{ending}"
    whole = newest.read_bytes()
    try:
        cut(newest, share)
        restored = fresh(1)
        assert checkpoint.restore(run, *restored) == [{"epoch": 1}]
        assert same(before[0], restored[0])
    finally:
        newest.write_bytes(whole)


MakeJob = Callable[..., Job]


@pytest.fixture(scope="module")
def whole_and_killed(tmp_path_factory: pytest.TempPathFactory, make_job_in: MakeJob) -> tuple[Path, Path]:
    """An uninterrupted run of four epochs, and one that ended in the validation of the last."""
    folder = tmp_path_factory.mktemp("runs")
    left = [4]

    def killed(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return scores(labels, predicted, 4)

    with pytest.raises(KeyboardInterrupt):
        train(make_job_in(folder / "killed", defense="at", epochs=4, job_judge=killed))
    return train(make_job_in(folder / "whole", defense="at", epochs=4)), folder / "killed"


@pytest.mark.parametrize("ending", [".json", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.002, 0.1, 0.5, 0.9, 1.0])
def test_a_run_whose_newest_checkpoint_was_cut_ends_in_the_same_bytes(
    whole_and_killed: tuple[Path, Path], make_job_in: MakeJob, tmp_path: Path, share: float, ending: str
):
    whole, killed = whole_and_killed
    shutil.copytree(killed, tmp_path / "run")
    assert files(tmp_path / "run")[-2:] == ["epoch-0003.json", "epoch-0003.safetensors"]
    cut(tmp_path / "run" / checkpoint.FOLDER / f"epoch-0003{ending}", share)
    epochs: list[int] = []

    def judge(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        epochs.append(1)
        return scores(labels, predicted, 4)

    train(make_job_in(tmp_path / "run", defense="at", epochs=4, job_judge=judge, job_resume=True))
    assert len(epochs) == 2  # the third again, and the fourth
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


def test_a_run_without_a_whole_checkpoint_begins_again(
    whole_and_killed: tuple[Path, Path], make_job_in: MakeJob, tmp_path: Path
):
    whole, killed = whole_and_killed
    shutil.copytree(killed, tmp_path / "run")
    for path in (tmp_path / "run" / checkpoint.FOLDER).glob("*.safetensors"):
        cut(path, 0.5)
    train(make_job_in(tmp_path / "run", defense="at", epochs=4, job_resume=True))
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes()


KILLER = """
import json, os, signal, sys
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

from conftest import make_dataset, register_networks, short_job
from edgeguard.defenses.train import train

def dying(function, call, after):
    left = [call]
    def counted(*args, **options):
        left[0] -= 1
        if left[0] == 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return counted

def arm(place, call):
    if place == "step":
        register_optimizer_step_post_hook(dying(lambda *_: None, call, True))
    else:
        setattr(os, place, dying(getattr(os, place), call, place == "replace"))

def forked(job, moment=None):
    child = os.fork()
    if child == 0:
        try:
            if moment:
                arm(*moment)
            train(job)
            os._exit(0)
        except BaseException as error:
            print(moment, job.out, type(error).__name__, error, file=sys.stderr)
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)

torch.set_num_threads(1)
torch.optim.AdamW([torch.zeros(1)])  # imports half of torch, once for all children
register_networks()
dataset = make_dataset()
results = []
for root, options, place, call in json.loads(sys.argv[1]):
    out = Path(root) / "run"
    killed = forked(short_job(out, dataset, **options), (place, call))
    results.append([killed, forked(short_job(out, dataset, job_resume=True, **options))])
print(json.dumps(results))
"""
"""Trains in children that kill themselves at a moment, each then resumed by another child."""

AT = {"defense": "at", "epochs": 3, "crafting": "single-step"}
"""Two steps an epoch; eleven writes: config, split, two a checkpoint, then log, weights, metrics."""

ADT = {"defense": "adt", "epochs": 2}
"""Nine writes of the teacher, nine of the student."""

MOMENTS: list[tuple[dict[str, Any], str, int]] = [
    *[(AT, "step", call) for call in (1, 4)],  # in the middle of the first epoch, and at the end of the second
    # In every kind of write, where the file is there under a temporary name; and after it, under its own.
    *[(AT, place, call) for place in ("fsync", "replace") for call in (1, 2, 3, 4, 8, 9, 10, 11)],
    (AT, "unlink", 9),  # the first deletion but for temporary names: tensors of the oldest checkpoint
    (AT, "unlink", 10),  # its log
    *[(ADT, "step", call) for call in (3, 7)],
    *[(ADT, "fsync", call) for call in (8, 10, 18)],
    *[(ADT, "replace", call) for call in (9, 10)],
]
"""(options, what is counted, the call in or after which SIGKILL comes)."""


def python(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    """A Python process of one thread that finds the modules beside it and in this folder."""
    path = os.pathsep.join([str(cwd), str(Path(__file__).parent)])
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_at_any_moment_and_resumed_a_run_ends_in_the_same_bytes(make_job_in: MakeJob, tmp_path: Path):
    whole = {name: tmp_path / "whole" / name for name in ("at", "adt")}
    for options in (AT, ADT):
        train(make_job_in(whole[options["defense"]] / "run", **options))
    folders = [tmp_path / f"{options['defense']}-{place}-{call}" for options, place, call in MOMENTS]
    jobs = [[str(folder), *moment] for folder, moment in zip(folders, MOMENTS, strict=True)]
    process = python("-c", KILLER, json.dumps(jobs), cwd=tmp_path)
    out, err = process.communicate()
    assert process.returncode == 0, err
    ends = {folder.name: end for folder, end in zip(folders, json.loads(out), strict=True)}
    wrong = {name: end for name, end in ends.items() if end != [-signal.SIGKILL, 0]}
    assert not wrong, [line for line in err.splitlines() if "Error" in line]
    for folder, (options, _, _) in zip(folders, MOMENTS, strict=True):
        for run in whole[options["defense"]].iterdir():
            again = folder / run.name
            assert is_finished(again), folder.name
            for name in (WEIGHTS, CONFIG, SPLIT):
                assert (again / name).read_bytes() == (run / name).read_bytes(), (folder.name, name)
            epochs = [json.loads((path / METRICS).read_text())["epochs"] for path in (again, run)]
            assert epochs[0] == epochs[1], folder.name


def test_the_command_killed_from_outside_goes_on_with_resume(
    workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As a user would: `kill -9` once a checkpoint is there, then the same command with --resume."""
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    options = ("train", "--defense", "none", "--device", "cpu", "--arch", "own_network:make", "--epochs", "25")
    command = ("-c", "from edgeguard.cli import main; main()", *options, "--data", "waves", "--out")
    killed = python(*command, "runs/killed", cwd=tmp_path)
    first = tmp_path / "runs" / "killed" / checkpoint.FOLDER / "epoch-0003.json"
    while not first.exists() and killed.poll() is None:
        time.sleep(0.002)
    killed.kill()
    _, err = killed.communicate()
    assert killed.returncode == -signal.SIGKILL, err
    assert not is_finished(tmp_path / "runs" / "killed")
    resumed = python(*command, "runs/killed", "--resume", cwd=tmp_path)
    _, err = resumed.communicate()
    assert resumed.returncode == 0, err
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    result = CliRunner().invoke(main, [*options, "--data", "waves", "--out", "runs/whole"])
    assert result.exit_code == 0, result.output
    weights = [Path("runs", name, WEIGHTS).read_bytes() for name in ("killed", "whole")]
    assert weights[0] == weights[1]
