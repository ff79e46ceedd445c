"""From a config to a run folder: identities of the recipes, crashes, and folders that are taken."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from edgeguard.cli import main
from edgeguard.defenses.batch import Batch
from edgeguard.defenses.checkpoint import FOLDER
from edgeguard.defenses.config import make_config
from edgeguard.defenses.cost import forward_units
from edgeguard.defenses.objectives import OBJECTIVES
from edgeguard.defenses.recipes import DEFENSES
from edgeguard.defenses.train import LOG, SPLIT, Job, default_folder, run_config, soft_label_table, train
from edgeguard.defenses.trainer import student_seed
from edgeguard.ecg.dataset import Dataset, build
from edgeguard.ecg.record import Record
from edgeguard.ecg.split import oversample, split, split_from
from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores
from edgeguard.models.registry import build as build_network
from edgeguard.models.run import CONFIG, METRICS, WEIGHTS, is_finished, load_run

MakeJob = Callable[..., Job]


def weights(folder: Path) -> bytes:
    return (folder / WEIGHTS).read_bytes()


def log_without_seconds(folder: Path) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in entries]


class Interrupted:
    """A judge that is hit by Ctrl-C when it is called for the n-th time."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __call__(self, labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return scores(labels, predicted, 4)


def test_a_run_folder_says_everything(job: MakeJob, dataset: Dataset):
    made = job(epochs=2, job_origin={"data": "waves", "split_seed": 0})
    assert train(made) == made.out
    assert sorted(p.name for p in made.out.iterdir()) == sorted([CONFIG, LOG, METRICS, SPLIT, WEIGHTS])
    config = json.loads((made.out / CONFIG).read_text())
    assert config["schema"] == "edgeguard.run/1"
    assert config["options"] == {**made.config.to_dict(), "data": "waves", "split_seed": 0}
    assert make_config(**{k: v for k, v in config["options"].items() if k not in ("data", "split_seed")}) == (
        made.config
    )
    assert config["data"] == {"source": "waves", "records": 48, "fingerprint": dataset.fingerprint}
    assert (config["classes"], config["window"], config["sampling_rate"]) == (["N", "A", "O", "~"], 240, 300)
    again = split_from(dataset, config["split"])
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(again, part), getattr(made.split, part))
    assert json.loads((made.out / SPLIT).read_text()) == made.split.names(dataset)
    log = [json.loads(line) for line in (made.out / LOG).read_text().splitlines()]
    assert [entry["epoch"] for entry in log] == [1, 2]
    metrics = json.loads((made.out / METRICS).read_text())
    assert metrics["epochs"] == [2] and metrics["gradient_evaluations"] == 0
    assert metrics["validation"] == log[-1]["validation"]
    run = load_run(made.out)
    assert metrics["parameters"] == sum(p.numel() for p in run.model.parameters())
    ecg, _, labels = dataset.batch(made.split.validation)
    with torch.no_grad():
        predicted = run.model(torch.from_numpy(ecg)).argmax(1).numpy()
    assert metrics["validation"] == scores(labels, predicted, 4)


def test_the_teacher_of_adt_is_the_at_run(job: MakeJob, tmp_path: Path):
    """Without its second stage ADT is adversarial training, bit for bit."""
    train(job("adt", defense="adt"))
    teacher = tmp_path / "runs" / default_folder(make_config(defense="at", arch="tiny_networks:dropout")).name
    at = train(job("../alone/at", defense="at"))
    assert weights(teacher) == weights(at)
    assert weights(tmp_path / "runs" / "adt") != weights(at)
    metrics = json.loads((tmp_path / "runs" / "adt" / METRICS).read_text())
    assert metrics["epochs"] == [2, 2]
    made = job("adt", defense="adt")
    assert np.bincount(made.dataset.labels[made.split.train]).tolist() == [19, 5, 10, 5]
    items = 19 + 2 * 5 + 10 + 3 * 5
    assert metrics["gradient_evaluations"] == 2 * (2 * (2 + 2) * items)  # stages, epochs, steps, records


def contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below a folder: its bytes, and when they were written."""
    return {
        str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("defense", DEFENSES)
def test_every_defence_trains(job: MakeJob, dataset: Dataset, defense: str):
    made = job(defense=defense, epochs=2, warm_up=1)
    model = load_run(train(made)).model
    seed = student_seed(0) if DEFENSES[defense].teacher else 0
    untrained = build_network(made.config.arch, seed=seed, window=dataset.window).state_dict()
    for name, value in model.state_dict().items():
        assert value.isfinite().all(), name
        assert not torch.equal(value, untrained[name]), name
    log = [json.loads(line) for line in (made.out / LOG).read_text().splitlines()]
    assert len(log) == made.config.stage_epochs == (4 if defense == "at-long" else 2)
    metrics = json.loads((made.out / METRICS).read_text())
    assert metrics["epochs"] == ([2] if DEFENSES[defense].teacher else []) + [len(log)]
    stages = [made.config, *([made.config.teacher()] if made.config.teacher() else [])]
    assert metrics["forward_units"] == sum(map(forward_units, stages))


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c", "d", "e")])
def test_every_kind_of_loss_takes_any_number_of_classes(job: MakeJob, classes: tuple[str, ...]):
    rng = np.random.default_rng(0)
    records = [
        Record(f"R{n:02d}", np.rint(rng.normal(0, 150, 240)).astype(np.float32), 100.0, classes[n % len(classes)])
        for n in range(50)
    ]
    data = build("waves", records, window=240, classes=classes, sampling_rate=100.0)
    judge = partial(scores, classes=len(classes))
    for defense in ("jr", "nsr", "adt", "at-smooth", "trades"):
        made = job(defense, defense=defense, epochs=2, prior=0.5, job_dataset=data, job_judge=judge)
        run = load_run(train(made))
        assert (run.config["classes"], run.config["sampling_rate"]) == (list(classes), 100.0)
        assert all(value.isfinite().all() for value in run.model.state_dict().values())
        assert run.model(torch.zeros(1, 1, 240)).shape == (1, len(classes))
        metrics = json.loads((made.out / METRICS).read_text())
        stages = [made.config, *([made.config.teacher()] if made.config.teacher() else [])]
        assert metrics["forward_units"] == sum(forward_units(one, classes=len(classes)) for one in stages)


def test_adt_without_an_adversarial_half_is_distillation_bit_for_bit(job: MakeJob, tmp_path: Path):
    """c = 0, both stages: the teacher of ADT is then that of DD, the student DD's."""
    options = dict(mix=0.0, temperature=2.0)
    adt, dist, dd = (train(job(f"{name}/run", defense=name, **options)) for name in ("adt", "dist-adt", "dd"))
    assert weights(adt) == weights(dist) == weights(dd)
    teachers = [tmp_path / "runs" / name for name in ("adt/at", "dist-adt/none", "dd/none")]
    assert len({weights(Path(f"{teacher}-tiny_networks-dropout-fast-s0")) for teacher in teachers}) == 1
    assert weights(train(job("other/run", defense="adt", temperature=2.0))) != weights(adt)


@pytest.mark.parametrize(("teacher", "students"), [("none", ("dd", "dist-adt")), ("at", ("init-adt", "adt"))])
def test_students_of_one_seed_share_their_teacher(job: MakeJob, teacher: str, students: tuple[str, str]):
    said: list[str] = []
    for name in students:
        train(job(name, defense=name, seed=3, job_say=said.append))
    folder = f"{teacher}-tiny_networks-dropout-fast-s3"
    root = job().out.parent
    assert sorted(p.name for p in root.iterdir()) == sorted([*students, folder])
    assert len(said) == 2
    assert f"training {teacher} first" in said[0] and folder in said[0]
    assert "finished, same data and settings" in said[1] and folder in said[1]
    named = [json.loads((root / name / CONFIG).read_text())["teacher"] for name in students]
    assert named[0] == named[1] == {"defense": teacher, "weights_sha256": load_run(root / folder).weights_sha256}
    train(job("other", defense=students[0], seed=4))
    assert (root / folder.replace("s3", "s4")).is_dir()


@pytest.mark.parametrize("student", [name for name, row in DEFENSES.items() if row.teacher])
def test_the_second_stage_leaves_the_teacher_alone(job: MakeJob, student: str):
    teacher = DEFENSES[student].teacher
    first = train(job("first", defense=teacher))
    before = contents(first)
    second = train(job("second", defense=student))
    assert contents(first) == before
    config = json.loads((second / CONFIG).read_text())
    assert config["teacher"] == {"defense": teacher, "weights_sha256": load_run(first).weights_sha256}
    assert sorted(p.name for p in first.parent.iterdir()) == ["first", "second"]


def test_a_teacher_that_is_named_is_taken_whatever_its_settings(job: MakeJob, dataset: Dataset):
    teacher = train(job("short", defense="none", epochs=1, seed=9))
    before = contents(teacher)
    student = train(job("student", defense="adt", job_teachers=(teacher,)))
    assert contents(teacher) == before
    assert json.loads((student / CONFIG).read_text())["teacher"]["weights_sha256"] == load_run(teacher).weights_sha256
    assert json.loads((student / METRICS).read_text())["epochs"] == [1, 2]
    assert sorted(p.name for p in student.parent.iterdir()) == ["short", "student"]


def test_several_teachers_teach_their_mean_whatever_their_architecture(
    job: MakeJob, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
):
    from edgeguard.defenses import train as module

    given: dict[str, Any] = {}
    fit = module.fit

    def spy(*args: Any, **options: Any) -> Any:
        given.update(options)
        return fit(*args, **options)

    teachers = (
        train(job("one", defense="none", epochs=1, seed=9)),
        train(job("other", defense="at", epochs=2, arch="tiny_networks:plain")),
    )
    monkeypatch.setattr(module, "fit", spy)
    made = job("student", defense="dd", job_teachers=teachers, temperature=2.0, views=True, distort=True)
    student = train(made)
    tables = [soft_label_table([load_run(one)], dataset, 2.0, torch.device("cpu")) for one in teachers]
    torch.testing.assert_close(given["soft_labels"], (tables[0] + tables[1]) / 2)
    assert json.loads((student / CONFIG).read_text())["teacher"] == [
        {"defense": "none", "weights_sha256": load_run(teachers[0]).weights_sha256},
        {"defense": "at", "weights_sha256": load_run(teachers[1]).weights_sha256},
    ]
    metrics = json.loads((student / METRICS).read_text())
    spent = [json.loads((one / METRICS).read_text())["forward_units"] for one in teachers]
    assert metrics["epochs"] == [1, 2, 2]
    # Two epochs of a training pass, 3, and of a look by each teacher.
    assert metrics["forward_units"] == sum(spent) + 2 * (3 + 2)


def test_what_all_start_from_is_trained_once_and_its_weights_are_taken(job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    from edgeguard.defenses import train as module

    fit, given = module.fit, {}

    def spy(config: Any, *args: Any, **options: Any) -> Any:
        given[config.defense, options["soft_labels"] is not None] = options["initial"]
        return fit(config, *args, **options)

    monkeypatch.setattr(module, "fit", spy)
    said: list[str] = []
    adt = train(job("adt", defense="adt", epochs=1, start_epochs=3, job_say=said.append))
    trades = train(job("trades", defense="trades", epochs=1, start_epochs=3, job_say=said.append))
    start = adt.with_name("none-tiny_networks-dropout-fast-s0")
    trained = load_run(start).model.state_dict()
    assert given.pop(("none", False)) is None
    assert set(given) == {("at", False), ("adt", True), ("trades", False)}
    for initial in given.values():
        assert all(torch.equal(value, trained[name]) for name, value in initial.items())
    assert len([line for line in said if "training none first" in line]) == 1
    sha = load_run(start).weights_sha256
    for run in (adt, trades):
        assert json.loads((run / CONFIG).read_text())["start"] == {"defense": "none", "weights_sha256": sha}

    costs = {run: json.loads((run / METRICS).read_text()) for run in (start, adt, trades)}
    assert (costs[start]["epochs"], costs[start]["forward_units"]) == ([3], 9)
    assert "start" not in costs[start]
    # Four steps of crafting, two units each; two records of three: 14 an epoch, for TRADES 15.
    assert (costs[adt]["epochs"], costs[adt]["forward_units"]) == ([1, 1], 28)
    assert (costs[trades]["epochs"], costs[trades]["forward_units"]) == ([1], 15)
    for run in (adt, trades):
        assert costs[run]["start"] == {name: costs[start][name] for name in ("epochs", "seconds", "forward_units")}


def test_a_start_is_an_undefended_training_of_its_own_length(job: MakeJob):
    train(job("at", defense="at", epochs=1, start_epochs=3))
    start = job().out.with_name("none-tiny_networks-dropout-fast-s0")
    assert weights(start) == weights(train(job("../alone/none", epochs=3)))


def test_a_run_whose_start_changed_under_it_does_not_go_on(job: MakeJob):
    options = dict(defense="at", start_epochs=1)
    with pytest.raises(KeyboardInterrupt):
        train(job("at", **options, job_judge=Interrupted(3)))
    start = job("at").out.with_name("none-tiny_networks-dropout-fast-s0")
    own = weights(start)
    (start / WEIGHTS).write_bytes(weights(train(job("other", seed=1))))
    before = contents(start.parent)
    with pytest.raises(InputError, match=r"config.json: the unfinished run has another start; put it back"):
        train(job("at", **options, job_resume=True))
    assert contents(start.parent) == before
    (start / WEIGHTS).write_bytes(own)
    resumed = train(job("at", **options, job_resume=True))
    assert weights(resumed) == weights(train(job("whole", **options)))


def test_copies_of_a_record_learn_one_row_its_own(job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    """What reaches the loss, batch by batch: oversampled or shuffled, a record's soft label is its row."""
    seen: list[tuple[bytes, bytes]] = []
    original = OBJECTIVES["cross-entropy"]

    def spied(config: Any, model: Any, batch: Batch, *rest: Any) -> Any:
        if config.defense == "adt":
            seen.extend(
                (e.numpy().tobytes(), t.numpy().tobytes()) for e, t in zip(batch.ecg, batch.target, strict=True)
            )
        return original(config, model, batch, *rest)

    monkeypatch.setitem(OBJECTIVES, "cross-entropy", spied)
    made = job("adt", defense="adt", augment=False, temperature=2.0)
    train(made)
    teacher = load_run(made.out.with_name(default_folder(made.config.teacher()).name))
    table = soft_label_table([teacher], made.dataset, 2.0, torch.device("cpu")).numpy()
    windows = made.dataset.batch(np.arange(len(made.dataset)))[0]
    row_of = {window.tobytes(): row.tobytes() for window, row in zip(windows, table, strict=True)}
    assert len(row_of) == len(set(row_of.values())) == 48
    assert all(row_of[ecg] == target for ecg, target in seen)
    train_part = set(made.split.train.tolist())
    assert {ecg for ecg, _ in seen} == {windows[i].tobytes() for i in train_part}
    assert len(seen) == 2 * len(oversample(made.dataset, made.split.train)) > 2 * len(train_part)


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_soft_labels_are_the_teachers_a_row_a_record(job: MakeJob, dataset: Dataset, temperature: float):
    teacher = load_run(train(job("at", defense="at")))
    table = soft_label_table([teacher], dataset, temperature, torch.device("cpu"))
    assert table.shape == (48, 4) and table.dtype == torch.float32
    torch.testing.assert_close(table.sum(1), torch.ones(48), rtol=0, atol=1e-6)
    for record in (0, 17, 47):
        ecg = torch.from_numpy(dataset.batch(np.array([record]))[0])
        with torch.no_grad():
            logits = teacher.model(ecg)[0].double().numpy() / temperature
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(table[record].numpy(), expected, atol=1e-6)
    assert torch.equal(table, soft_label_table([teacher], dataset, temperature, torch.device("cpu")))


def test_the_student_learns_the_teachers_soft_labels(job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    from edgeguard.defenses import train as module

    given: list[Any] = []
    fit = module.fit

    def spy(*args: Any, **options: Any) -> Any:
        given.append(options["soft_labels"])
        return fit(*args, **options)

    monkeypatch.setattr(module, "fit", spy)
    made = job("adt", defense="adt", temperature=2.0)
    train(made)
    at = load_run(made.out.parent / default_folder(made.config.teacher()).name)
    assert given[0] is None
    assert torch.equal(given[1], soft_label_table([at], made.dataset, 2.0, torch.device("cpu")))


@pytest.mark.parametrize("defense", ["none", "at"])
@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_killed_training_goes_on_bit_for_bit(job: MakeJob, defense: str, call: int):
    """Killed in epoch `call` of three, with dropout, augmentation, momentum and a rate that moves."""
    whole = train(job("whole", defense=defense, epochs=3))
    with pytest.raises(KeyboardInterrupt):
        train(job("killed", defense=defense, epochs=3, job_judge=Interrupted(call)))
    killed = whole.with_name("killed")
    assert not is_finished(killed) and (killed / CONFIG).is_file()
    assert train(job("killed", defense=defense, epochs=3, job_resume=True)) == killed
    assert weights(killed) == weights(whole)
    assert not (killed / FOLDER).exists()
    assert log_without_seconds(killed) == log_without_seconds(whole)


def test_a_truncated_checkpoint_costs_one_epoch_and_no_bit(job: MakeJob):
    whole = train(job("whole", epochs=3))
    with pytest.raises(KeyboardInterrupt):
        train(job("killed", epochs=3, job_judge=Interrupted(3)))
    newest = whole.with_name("killed") / FOLDER / "epoch-0002.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    epochs: list[int] = []

    def judge(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
        epochs.append(1)
        return scores(labels, predicted, 4)

    train(job("killed", epochs=3, job_resume=True, job_judge=judge))
    assert len(epochs) == 2
    assert weights(whole.with_name("killed")) == weights(whole)


def test_killed_between_last_checkpoint_and_weights(job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    from edgeguard.defenses import train as module

    whole = train(job("whole"))

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "_finish", killed)
        train(job("killed"))
    train(job("killed", job_resume=True))
    assert weights(whole.with_name("killed")) == weights(whole)


def test_a_stage_killed_in_its_teacher_goes_on_there(job: MakeJob):
    whole = train(job("../whole/adt", defense="adt"))
    with pytest.raises(KeyboardInterrupt):
        train(job("adt", defense="adt", job_judge=Interrupted(2)))
    train(job("adt", defense="adt", job_resume=True))
    names = sorted(p.name for p in (whole.parent.parent / "runs").iterdir())
    assert names == sorted(["adt", default_folder(job().config).name.replace("none", "at")])
    for name in names:
        assert weights(whole.parent.parent / "runs" / name) == weights(whole.parent / name)


@pytest.mark.parametrize(
    "change",
    [{"epochs": 4}, {"seed": 1}, {"eps": 3.0}, {"defense": "none"}, {"augment": False}, {"batch": 16}],
)
def test_another_setting_cannot_resume(job: MakeJob, change: dict):
    shared = {"defense": "at", "epochs": 3}
    with pytest.raises(KeyboardInterrupt):
        train(job(**shared, job_judge=Interrupted(2)))
    before = contents(job().out)
    with pytest.raises(InputError, match=r"config.json: the unfinished run has other settings or data"):
        train(job(**{**shared, "job_resume": True, **change}))
    assert contents(job().out) == before


def test_a_setting_that_the_defence_never_reads_resumes(job: MakeJob):
    whole = train(job("whole", epochs=3))
    with pytest.raises(KeyboardInterrupt):
        train(job(epochs=3, job_judge=Interrupted(2)))
    train(job(epochs=3, job_resume=True, eps=3.0, mix=0.1, trades_beta=1.0))
    assert weights(job().out) == weights(whole)


def test_other_data_or_another_split_cannot_resume(job: MakeJob, dataset: Dataset):
    with pytest.raises(KeyboardInterrupt):
        train(job(epochs=3, job_judge=Interrupted(2)))
    other = replace(dataset, fingerprint="0" * 64)
    for change in ({"job_dataset": other}, {"job_split": split(dataset, seed=1)}):
        with pytest.raises(InputError, match="other settings or data"):
            train(job(epochs=3, job_resume=True, **change))


def test_a_folder_that_is_taken_is_refused(job: MakeJob, tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        train(job(job_judge=Interrupted(2)))
    with pytest.raises(InputError, match="holds an unfinished run; add --resume to go on"):
        train(job())
    train(job(job_resume=True))
    before = weights(tmp_path / "runs" / "run")
    with pytest.raises(InputError, match="holds a finished run; choose another --out"):
        train(job())
    with pytest.raises(InputError, match="holds a finished run; choose another --out"):
        train(job(seed=1, job_resume=True))
    assert train(job(job_resume=True)) == tmp_path / "runs" / "run"
    assert weights(tmp_path / "runs" / "run") == before
    (tmp_path / "runs" / "notes").mkdir()
    (tmp_path / "runs" / "notes" / "a.txt").write_text("mine")
    (tmp_path / "runs" / "file").write_text("mine")
    for name in ("notes", "file"):
        with pytest.raises(InputError, match=f"{name}: exists and is no run; choose another --out"):
            train(job(name))
    (tmp_path / "runs" / "empty").mkdir()
    assert is_finished(train(job("empty")))


def test_a_teacher_of_other_settings_is_left_alone(job: MakeJob, tmp_path: Path):
    name = default_folder(job(defense="at").config).name
    other = train(job(name, defense="at", epochs=1))
    before = weights(other)
    adt = train(job("adt", defense="adt"))
    assert weights(other) == before
    assert is_finished(tmp_path / "runs" / f"{name}-2")
    assert json.loads((adt / METRICS).read_text())["epochs"] == [2, 2]


def test_a_student_in_its_teachers_place_moves_the_teacher(job: MakeJob, tmp_path: Path):
    name = default_folder(job(defense="at").config).name
    train(job(name, defense="adt"))
    assert load_run(tmp_path / "runs" / name).config["defense"] == "adt"
    assert load_run(tmp_path / "runs" / f"{name}-2").config["defense"] == "at"


def test_a_full_disk_stops_in_one_line_and_resumes(job: MakeJob, monkeypatch: pytest.MonkeyPatch):
    whole = train(job("whole", epochs=3))
    sync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 5:  # config, split, two of the first checkpoint, then the second's tensors
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(InputError) as caught:
            train(job("full", epochs=3))
    assert "epoch-0002.safetensors: cannot be written (No space left on device)" in str(caught.value)
    assert "\n" not in str(caught.value)
    folder = whole.with_name("full")
    assert sorted(p.name for p in folder.iterdir()) == sorted([CONFIG, SPLIT, FOLDER])
    assert sorted(p.name for p in (folder / FOLDER).iterdir()) == [
        "epoch-0001.json",
        "epoch-0001.safetensors",
    ]
    train(job("full", epochs=3, job_resume=True))
    assert weights(folder) == weights(whole)


def test_a_fixed_test_part_stands_in_the_config(job: MakeJob, dataset: Dataset):
    names = [dataset.names[i] for i in (0, 1, 2, 3)]
    parts = split(dataset, test_records=names)
    config = run_config(job(job_split=parts, job_fixed_test=True))
    assert config["split"]["test_records"] == names
    np.testing.assert_array_equal(split_from(dataset, config["split"]).train, parts.train)
    assert run_config(job())["split"]["test_records"] is None


def test_a_folder_is_named_after_what_it_holds():
    config = make_config(defense="at", arch="some.module:net", seed=4, preset="paper")
    assert default_folder(config) == Path("runs/at-some.module-net-paper-s4")


def edgeguard(*arguments: object) -> Result:
    """`edgeguard ARGUMENTS`."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def command(*options: object, data: object = "waves") -> tuple[object, ...]:
    """A short `edgeguard train`; options given later win."""
    short = ("--arch", "own_network:make", "--epochs", 2, "--device", "cpu", "--crafting", "sap", "--steps", 1)
    return "train", *short, "--data", data, *options


def interrupted(monkeypatch: pytest.MonkeyPatch, call: int, *options: object) -> None:
    """A training that Ctrl-C ends in the validation of that number, counted from 1 over all its stages."""
    judge = Interrupted(call)
    with monkeypatch.context() as patch:
        patch.setattr(
            "edgeguard.evaluation.metrics.scores", lambda labels, predicted, classes: judge(labels, predicted)
        )
        assert edgeguard(*command(*options)).exit_code == 130


@pytest.fixture(scope="module")
def furnished(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workplace with finished runs that could teach, and unfinished ones; read only."""
    folder = tmp_path_factory.mktemp("furnished")
    shutil.copytree(workplace, folder, dirs_exist_ok=True)
    shutil.copytree(folder / "waves", folder / "other_waves")
    change_data(folder / "other_waves")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        none = ("--defense", "none", "--out")
        for options in (
            command(*none, "runs/none"),
            command(*none, "runs/wider", "--arch", "own_network:wider"),
            command(*none, "runs/other_data", data="other_waves"),
            command(*none, "runs/other_parts", "--split-seed", 3),
            command(*none, "runs/other_seed", "--seed", 3),
        ):
            result = edgeguard(*options)
            assert result.exit_code == 0, result.output
        interrupted(patch, 2, *none, "runs/unfinished", "--seed", 5)
        interrupted(patch, 2, "--defense", "dd", "--out", "runs/student")
    assert not is_finished(folder / "runs" / "student")
    assert len(list((folder / "runs").iterdir())) == 7
    return folder


@pytest.fixture
def here(furnished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the furnished workplace to work in."""
    shutil.copytree(furnished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def change_data(folder: Path) -> None:
    """One sample of one record moves by a microvolt."""
    record = folder / "W07.mat"
    content = bytearray(record.read_bytes())
    content[-2] ^= 1
    record.write_bytes(content)


def refused(here: Path, *options: object) -> str:
    """The one line of a training that is refused with exit code 2 and leaves every file as it was."""
    before = contents(here)
    result = edgeguard(*command(*options))
    assert result.exit_code == 2, result.output
    assert contents(here) == before
    assert result.stdout == "" and "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("edgeguard: ")]
    assert len(lines) == 1 and result.stderr.rstrip().endswith(lines[0])
    return lines[0]


DD = ("--defense", "dd", "--out", "runs/new")
STUDENT = ("--defense", "dd", "--out", "runs/student", "--resume")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((*DD, "--temperature", 0), "--temperature 0.0: above 0 needed"),
        ((*DD, "--temperature", "-1"), "--temperature -1.0: above 0 needed"),
        ((*STUDENT, "--temperature", 0), "--temperature 0.0: above 0 needed"),
        (("--defense", "trust", "--out", "runs/new"), "--defense trust: unknown; choose none, jr, nsr, dd, at"),
        ((*DD, "--teacher", "runs/other_data"), "--teacher runs/other_data: trained on other data or parts"),
        ((*DD, "--teacher", "runs/other_parts"), "--teacher runs/other_parts: trained on other data or parts"),
        ((*DD, "--teacher", "runs/unfinished"), "runs/unfinished: weights.safetensors is missing; finish the run"),
        ((*DD, "--teacher", "waves"), "waves: no run folder (config.json is missing); make one with edgeguard train"),
        ((*DD, "--teacher", "nowhere"), "nowhere: no run folder (config.json is missing)"),
        (
            ("--defense", "at", "--teacher", "runs/none", "--out", "runs/new"),
            "--teacher runs/none: at learns from none",
        ),
        ((*STUDENT, "--teacher", "runs/other_seed"), "the unfinished run has another teacher; put it back"),
        ((*STUDENT, "--teacher", "runs/wider"), "the unfinished run has another teacher; put it back"),
        (
            (*STUDENT, "--teacher", "runs/none", "--teacher", "runs/wider"),
            "the unfinished run has another teacher; put it back",
        ),
        ((*DD, "--teacher", "runs/none", "--teacher", "runs/other_data"), "--teacher runs/other_data: trained on"),
        ((*STUDENT, "--temperature", 2), "runs/student/config.json: the unfinished run has other settings or data"),
        (
            (*STUDENT, "--data", "other_waves"),
            "runs/student/config.json: the unfinished run has other settings or data",
        ),
        ((*STUDENT, "--split-seed", 3), "runs/student/config.json: the unfinished run has other settings or data"),
        ((*DD[:2], "--out", "runs/student"), "runs/student: holds an unfinished run; add --resume to go on"),
        ((*DD[:2], "--out", "runs/none"), "runs/none: holds a finished run; choose another --out"),
        ((*DD[:2], "--out", "waves"), "waves: exists and is no run; choose another --out"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_overwrites_nothing(here: Path, options: tuple[object, ...], message: str):
    assert message in refused(here, *options)


def test_a_run_whose_data_changed_under_it_does_not_go_on(here: Path):
    change_data(here / "waves")
    message = refused(here, *STUDENT)
    assert "runs/student/config.json: the unfinished run has other settings or data" in message


def test_a_run_whose_teacher_changed_under_it_does_not_go_on(here: Path):
    (here / "runs" / "none" / WEIGHTS).write_bytes(weights(here / "runs" / "other_seed"))
    assert "runs/student/config.json: the unfinished run has another teacher; put it back" in refused(here, *STUDENT)


def test_with_what_it_began_with_the_run_goes_on(here: Path):
    """Data and teacher as they were; and where the teacher is gone, it is trained again to the same bytes."""
    teacher = weights(here / "runs" / "none")
    shutil.rmtree(here / "runs" / "none")
    result = edgeguard(*command(*STUDENT))
    assert result.exit_code == 0, result.output
    assert weights(here / "runs" / "none-own_network-make-fast-s0") == teacher
    result = edgeguard(*command("--defense", "dd", "--out", "runs/whole"))
    assert result.exit_code == 0, result.output
    assert weights(here / "runs" / "student") == weights(here / "runs" / "whole")
