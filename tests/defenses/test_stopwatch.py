"""The pace of a training step: made-up times come out again, and real ones leave nothing behind."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeguard.defenses import stopwatch as module
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.recipes import DEFENSES
from edgeguard.defenses.stopwatch import Stopwatch
from edgeguard.defenses.trainer import Fitted
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split, oversample, split

MakeConfig = Callable[..., TrainConfig]
CPU = torch.device("cpu")


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TrainConfig, int]]:
    """A trainer that takes 3 ms a record and 20 ms an epoch, the first epoch ten times that; what it was asked."""
    asked: list[tuple[TrainConfig, int]] = []

    def fit(config: TrainConfig, dataset: Dataset, parts: Split, run: Path, **_: Any) -> Fitted:
        drawn = oversample(dataset, parts.train)
        np.testing.assert_array_equal(drawn, parts.train)
        asked.append((config, len(drawn)))
        seconds = 0.003 * len(drawn) + 0.02
        return Fitted(torch.nn.Identity(), [{"seconds": 10 * seconds}, {"seconds": seconds}])

    monkeypatch.setattr(module, "fit", fit)
    return asked


def watch(dataset: Dataset, budget: float = 60.0) -> Stopwatch:
    return Stopwatch(dataset, split(dataset, seed=0), CPU, budget=budget)


def test_two_sizes_tell_a_record_from_an_epoch(dataset: Dataset, config: MakeConfig, fitted: list):
    pace = watch(dataset).pace(config(defense="at"))
    assert pace.train == pytest.approx(0.003) and pace.epoch == pytest.approx(0.02) and pace.judge > 0
    assert len(fitted) == 2 and fitted[0][1] == 4 and fitted[1][1] == 19


def test_without_patience_there_is_one_short_measurement(dataset: Dataset, config: MakeConfig, fitted: list):
    pace = watch(dataset, budget=1e-3).pace(config(defense="at"))
    assert [records for _, records in fitted] == [4]
    assert pace.train == pytest.approx(0.032 / 4) and pace.epoch == 0


def test_stages_of_equal_steps_are_measured_once(dataset: Dataset, config: MakeConfig, fitted: list):
    stopwatch = watch(dataset)
    made = {name: stopwatch.pace(config(defense=name)) for name in ("none", "dd", "init-adt")}
    assert len(fitted) == 2 and len(set(map(id, made.values()))) == 1
    stopwatch.pace(config(defense="at"))
    assert len(fitted) == 4
    assert stopwatch.pace(config(defense="adt", epochs=50)) is stopwatch.pace(config(defense="at"))
    assert len(fitted) == 4
    for name in ("jr", "nsr", "trades"):
        stopwatch.pace(config(defense=name))
    stopwatch.pace(config(defense="at", batch=16))
    assert len(fitted) == 12


def test_a_guess_goes_by_forward_units(dataset: Dataset, config: MakeConfig, fitted: list):
    """With two crafting steps a record costs 3 + 3 + 2 x 2 units an epoch, without any 3."""
    stopwatch = watch(dataset)
    like = config(defense="at", steps=1, smooth_steps=1, epochs=7)
    assert stopwatch.guess(config(defense="none", epochs=3), like).train == pytest.approx(0.003 * 3 / 10)
    assert stopwatch.guess(like, like) == stopwatch.pace(like)


@pytest.mark.parametrize("defense", list(DEFENSES))
@pytest.mark.parametrize("crafting", ["sap", "mixed", "single-step"])
def test_every_defence_is_measured_and_leaves_nothing_behind(
    dataset: Dataset, config: MakeConfig, defense: str, crafting: str, capfd: pytest.CaptureFixture[str]
):
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    stopwatch = watch(dataset)
    pace = stopwatch.pace(config(defense=defense, crafting=crafting, warm_up=10))
    assert 0 < pace.train < 10 and 0 <= pace.epoch < 10 and 0 < pace.judge < 10
    assert torch.equal(torch.random.get_rng_state(), state)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""


def test_the_measured_step_is_the_stages(dataset: Dataset, config: MakeConfig, fitted: list):
    """Same network, batch, crafting and precision; the regulariser on."""
    made = config(defense="jr", epochs=30, warm_up=10, start_epochs=5)
    watch(dataset).pace(made)
    step = fitted[0][0]
    free = {"epochs": 2, "start_epochs": 0, "warm_up": 0, "eps": 0.0, "learning_rate": step.learning_rate}
    assert step == replace(made, **free)
