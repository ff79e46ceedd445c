import json
import os
from pathlib import Path

import pytest
import torch
from torch import nn

from edgeguard.errors import InputError
from edgeguard.models.registry import build
from edgeguard.models.run import (
    CONFIG,
    METRICS,
    WEIGHTS,
    is_finished,
    is_run,
    load_run,
    load_tensors,
    newest_run,
    save_tensors,
)
from edgeguard.runtime.files import sha256_file

SETTINGS = {"arch": "edge-s", "classes": ["N", "A", "O", "~"], "window": 9000}


def write_run(folder: Path, *, age: int = 0) -> nn.Module:
    """A finished run of an untrained edge-s, `age` seconds old."""
    model = build("edge-s", seed=3)
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(json.dumps(SETTINGS))
    (folder / METRICS).write_text("{}")
    save_tensors(folder / WEIGHTS, model.state_dict())
    os.utime(folder / WEIGHTS, (1e9 - age, 1e9 - age))
    return model


def test_a_run_comes_back_in_eval_mode(tmp_path: Path):
    saved = write_run(tmp_path / "run").state_dict()
    run = load_run(tmp_path / "run")
    assert not any(m.training for m in run.model.modules())
    assert all(torch.equal(value, saved[name]) for name, value in run.model.state_dict().items())
    assert run.config == SETTINGS
    assert run.weights_sha256 == sha256_file(tmp_path / "run" / WEIGHTS)


def test_finished_means_config_weights_and_metrics(tmp_path: Path):
    folder = tmp_path / "run"
    write_run(folder)
    assert is_run(folder) and is_finished(folder)
    (folder / METRICS).unlink()
    assert is_run(folder) and not is_finished(folder)
    (folder / CONFIG).unlink()
    assert not is_run(folder)


def test_the_newest_finished_run_is_found(tmp_path: Path):
    write_run(tmp_path / "old", age=9)
    write_run(tmp_path / "deep" / "new", age=5)
    write_run(tmp_path / "unfinished")
    (tmp_path / "unfinished" / METRICS).unlink()
    assert newest_run(tmp_path) == tmp_path / "deep" / "new"
    with pytest.raises(InputError, match="no finished run; make one with edgeguard train"):
        newest_run(tmp_path / "nowhere")


def spoil(folder: Path, case: str) -> None:
    weights = folder / WEIGHTS
    match case:
        case "no config":
            (folder / CONFIG).unlink()
        case "no weights":
            weights.unlink()
        case "cut weights":
            weights.write_bytes(weights.read_bytes()[:-100])
        case "empty weights":
            weights.write_bytes(b"")
        case "text as weights":
            weights.write_text("weights\n" * 100)
        case "other weights":
            save_tensors(weights, {"a": torch.zeros(3)})
        case "no JSON":
            (folder / CONFIG).write_text("{")
        case "a list":
            (folder / CONFIG).write_text("[]")
        case "no window":
            (folder / CONFIG).write_text(json.dumps({k: v for k, v in SETTINGS.items() if k != "window"}))
        case "unknown arch":
            (folder / CONFIG).write_text(json.dumps(SETTINGS | {"arch": "edge-x"}))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no config", "no run folder .config.json is missing.; make one"),
        ("no weights", "weights.safetensors is missing; finish the run with edgeguard train --resume"),
        ("cut weights", "weights.safetensors: cannot be read"),
        ("empty weights", "weights.safetensors: cannot be read"),
        ("text as weights", "weights.safetensors: cannot be read"),
        ("other weights", "weights.safetensors: does not fit architecture edge-s"),
        ("no JSON", "config.json: not valid JSON"),
        ("a list", "config.json: field"),
        ("no window", "config.json: field 'window' is missing"),
        ("unknown arch", "edge-x: unknown"),
    ],
)
def test_a_spoilt_run_is_refused_in_one_line(tmp_path: Path, case: str, message: str):
    write_run(tmp_path / "run")
    spoil(tmp_path / "run", case)
    with pytest.raises(InputError, match=message) as caught:
        load_run(tmp_path / "run")
    assert "\n" not in str(caught.value)


def test_tensors_round_trip_whatever_their_layout(tmp_path: Path):
    shared = torch.arange(12.0).reshape(3, 4)
    tensors = {
        "turned": shared.T,
        "one": shared,
        "other": shared,
        "count": torch.tensor(3),
        "none": torch.empty(0),
    }
    save_tensors(tmp_path / "some.safetensors", tensors)
    read = load_tensors(tmp_path / "some.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], value) for name, value in tensors.items())


def test_a_missing_file_of_tensors_is_named(tmp_path: Path):
    with pytest.raises(InputError, match=r"none.safetensors: cannot be read"):
        load_tensors(tmp_path / "none.safetensors")
