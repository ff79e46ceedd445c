"""Forward units against the table by hand, and against what a training really runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from edgeguard.defenses.config import PRESETS, TrainConfig, make_config
from edgeguard.defenses.cost import forward_units, gradient_steps
from edgeguard.defenses.recipes import DEFENSES
from edgeguard.defenses.trainer import fit
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import oversample, split
from edgeguard.models.registry import build


def all_stages(**options: Any) -> int:
    """Units of a run and its teacher."""
    config = make_config(**options)
    teacher = config.teacher()
    return forward_units(config) + (forward_units(teacher) if teacher else 0)


@pytest.mark.parametrize(
    ("preset", "defense", "units"),
    [
        # A training pass is 3, over the clean and the adversarial record 6; an input gradient 2, ten of them 20.
        ("paper", "none", 100 * 3),
        ("paper", "at", 100 * (6 + 10 * 2)),
        ("paper", "adt", 2 * 100 * 26),
        ("paper", "dd", 2 * 100 * 3),
        ("paper", "init-adt", 2600 + 300),
        ("paper", "dist-adt", 300 + 2600),
        ("paper", "at-long", 5200),
        ("paper", "at-smooth", 2600),
        ("paper", "trades", 100 * 27),  # a forward more, for the clean prediction
        # From the eleventh epoch a forward and a backward a logit, then backwards through all of it: 3 (1 + 4).
        ("paper", "jr", 300 + 90 * 15),
        ("paper", "nsr", 300 + 90 * 6),  # the right logit alone
        ("lite", "at", 10 * 26),
        ("lite", "adt", 520),
        ("lite", "none", 300),
        ("fast", "none", 10 * 3),
        ("fast", "at", 10 * (6 + 2)),
        ("fast", "adt", 160),
        ("fast", "trades", 10 * (6 + 2 + 1)),
        ("fast", "jr", 30 + 9 * 15),
        ("fast", "nsr", 30 + 9 * 6),
    ],
)
def test_the_table_by_hand(preset: str, defense: str, units: int):
    assert all_stages(preset=preset, defense=defense) == units


def test_the_start_of_lite_is_counted_apart_and_once_for_all():
    for defense in set(DEFENSES) - {"none"}:
        start = make_config(preset="lite", defense=defense).start()
        assert start is not None and forward_units(start) == 300


def test_without_an_adversarial_half_adversarial_training_costs_what_clean_does():
    assert all_stages(defense="adt", mix=0.0, epochs=5) == 2 * 5 * 3
    assert gradient_steps(make_config(defense="adt", mix=0.0)) == 0


def test_another_number_of_classes_changes_the_jacobians_price_alone():
    jr, nsr = (make_config(defense=name, epochs=3, warm_up=1) for name in ("jr", "nsr"))
    assert forward_units(jr, classes=2) == 9 + 2 * 9
    assert forward_units(nsr, classes=2) == forward_units(nsr, classes=9)


@given(
    defense=st.sampled_from(sorted(DEFENSES)),
    preset=st.sampled_from(sorted(PRESETS)),
    epochs=st.integers(1, 300),
    warm_up=st.integers(0, 300),
)
def test_every_epoch_has_its_price_that_of_a_warm_up_and_that_after(
    defense: str, preset: str, epochs: int, warm_up: int
):
    def units(**options: int) -> int:
        return forward_units(make_config(defense=defense, preset=preset, start_epochs=0, **options))

    rounds = DEFENSES[defense].rounds
    within, after = (units(epochs=1, warm_up=length) // rounds for length in (1000, 0))
    assert 3 <= within <= after
    stage = epochs * rounds
    warm = min(stage, warm_up)
    assert units(epochs=epochs, warm_up=warm_up) == warm * within + (stage - warm) * after


@pytest.mark.parametrize(("crafting", "steps"), [("single-step", 1), ("mixed", 2), ("sap", 4)])
def test_halves_apart_attack_and_train_half_as_much(crafting: str, steps: int):
    """A record is either clean or attacked; a teacher that looks at every view costs a forward."""
    options = dict(defense="at", crafting=crafting, steps=2, smooth_steps=2, epochs=6)
    same, apart = (make_config(**options, halves=halves) for halves in ("same", "apart"))
    assert forward_units(same) == 6 * (6 + 2 * steps) and forward_units(apart) == 6 * (3 + steps)
    assert gradient_steps(apart) == steps / 2
    student = make_config(**{**options, "defense": "adt"}, halves="apart", views=True)
    assert forward_units(student) == 6 * (3 + steps + 1)
    for defense in ("trades", "none"):
        cost = [
            forward_units(make_config(**{**options, "defense": defense}, halves=halves)) for halves in ("same", "apart")
        ]
        assert cost[0] == cost[1]


class Meter:
    """Counts the records that pass forwards, and those that an input gradient is taken of, while a network trains."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forwards = self.gradients = 0
        grad = torch.autograd.grad

        def counted(value: torch.Tensor, ecg: torch.Tensor, **options: Any) -> Any:
            self.gradients += len(ecg)
            return grad(value, ecg, **options)

        def built(*args: Any, **options: Any) -> nn.Module:
            model = build(*args, **options)
            model.register_forward_pre_hook(self._hook)
            return model

        monkeypatch.setattr(torch.autograd, "grad", counted)
        monkeypatch.setattr("edgeguard.defenses.trainer.build", built)

    def _hook(self, model: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self.forwards += len(inputs[0])


@pytest.mark.parametrize(
    ("crafting", "halves"),
    [("sap", "same"), ("mixed", "same"), ("mixed", "apart"), ("single-step", "same"), ("single-step", "apart")],
)
@pytest.mark.parametrize("defense", DEFENSES)
def test_a_training_runs_as_many_forwards_and_gradients_as_it_is_charged(
    config: Callable[..., TrainConfig],
    dataset: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    defense: str,
    crafting: str,
    halves: str,
):
    """units = forwards + input gradients + 2 for each record's full backward, counted on the run itself."""
    settings = config(
        defense=defense, crafting=crafting, epochs=1, warm_up=0, batch=16, arch="tiny_networks:plain", halves=halves
    )
    parts = split(dataset, seed=0)
    monkeypatch.setattr("edgeguard.defenses.trainer.watchdog", lambda *_: None)
    monkeypatch.setattr("edgeguard.defenses.trainer.predict", lambda model, records, index: dataset.labels[index])
    meter = Meter(monkeypatch)
    soft = torch.full((len(dataset), 4), 0.25) if settings.row.teacher else None
    fit(
        settings,
        dataset,
        parts,
        tmp_path,
        device=torch.device("cpu"),
        judge=lambda labels, predicted: {"accuracy": 1.0, "f1": 1.0},
        soft_labels=soft,
    )
    items = len(oversample(dataset, parts.train))
    assert items % 16 != 1 and items % 2 == 0
    epochs = settings.stage_epochs
    both = settings.crafts and (halves == "same" or defense == "trades")
    trained = (2 if both else 1) * items
    # Of a regulariser's double backward only the forward and the input gradients can be counted here.
    doubled = {"jr": 2 * (1 + 4), "nsr": 2 * (1 + 1)}.get(defense, 0) * items
    assert meter.gradients == epochs * items * (gradient_steps(settings) + {"jr": 4, "nsr": 1}.get(defense, 0))
    assert meter.forwards + meter.gradients + epochs * (2 * trained + doubled) == forward_units(settings) * items
