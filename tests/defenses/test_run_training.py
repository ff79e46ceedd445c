"""From a config to a run folder: identities of the recipes, crashes, and folders that are taken."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeguard.defenses.checkpoint import FOLDER
from edgeguard.defenses.config import make_config
from edgeguard.defenses.train import LOG, SPLIT, Job, default_folder, run_config, soft_label_table, train
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split, split_from
from edgeguard.errors import InputError
from edgeguard.evaluation.metrics import scores
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


def test_the_second_stage_leaves_the_teacher_alone(job: MakeJob):
    at = train(job("at", defense="at"))
    before = {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in at.iterdir()}
    adt = train(job("adt", defense="adt"))
    assert {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in at.iterdir()} == before
    config = json.loads((adt / CONFIG).read_text())
    assert config["teacher"] == {"defense": "at", "weights_sha256": load_run(at).weights_sha256}
    assert sorted(p.name for p in at.parent.iterdir()) == ["adt", "at"]


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_soft_labels_are_the_teachers_a_row_a_record(job: MakeJob, dataset: Dataset, temperature: float):
    teacher = load_run(train(job("at", defense="at")))
    table = soft_label_table(teacher, dataset, temperature, torch.device("cpu"))
    assert table.shape == (48, 4) and table.dtype == torch.float32
    torch.testing.assert_close(table.sum(1), torch.ones(48), rtol=0, atol=1e-6)
    for record in (0, 17, 47):
        ecg = torch.from_numpy(dataset.batch(np.array([record]))[0])
        with torch.no_grad():
            logits = teacher.model(ecg)[0].double().numpy() / temperature
        expected = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(table[record].numpy(), expected, atol=1e-6)
    assert torch.equal(table, soft_label_table(teacher, dataset, temperature, torch.device("cpu")))


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
    assert torch.equal(given[1], soft_label_table(at, made.dataset, 2.0, torch.device("cpu")))


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
    [{"epochs": 4}, {"seed": 1}, {"eps": 3.0}, {"defense": "at"}, {"augment": False}, {"batch": 16}],
)
def test_another_setting_cannot_resume(job: MakeJob, change: dict):
    with pytest.raises(KeyboardInterrupt):
        train(job(epochs=3, job_judge=Interrupted(2)))
    with pytest.raises(InputError, match=r"config.json: the unfinished run has other settings or data"):
        train(job(**{"epochs": 3, "job_resume": True, **change}))


def test_other_data_or_another_split_cannot_resume(job: MakeJob, dataset: Dataset):
    from dataclasses import replace

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
