"""Which runs are the same training, also where an older one records fewer options."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from edgeguard.defenses.config import ADDED, TrainConfig
from edgeguard.defenses.runs import identity, settings_of
from edgeguard.defenses.train import Job, run_config

MakeJob = Callable[..., Job]
OTHER: dict[str, Any] = {
    "distort": True,
    "views": True,
    "averaging": 1.0,
    "prior": 0.5,
    "halves": "apart",
    "eps_spread": 1.0,
}


@pytest.fixture
def recorded(job: MakeJob) -> dict[str, Any]:
    """The config of a run, as its file has it."""
    config: dict[str, Any] = json.loads(json.dumps(run_config(job(defense="at"))))
    return config


def test_an_older_run_is_the_same_training_at_the_defaults(recorded: dict[str, Any]):
    older = {**recorded, "options": {k: v for k, v in recorded["options"].items() if k not in ADDED}}
    assert settings_of(older) == settings_of(recorded)
    assert identity(older) == identity(recorded) != ""


@pytest.mark.parametrize("name", ADDED)
def test_defaults_are_what_older_runs_did(name: str):
    assert set(OTHER) == set(ADDED)
    assert not getattr(TrainConfig(), name) or getattr(TrainConfig(), name) == "same"


@pytest.mark.parametrize("name", [name for name in ADDED if name != "views"])
def test_an_older_run_is_no_training_with_a_newer_option(recorded: dict[str, Any], name: str):
    older = {**recorded, "options": {k: v for k, v in recorded["options"].items() if k not in ADDED}}
    newer = {**recorded, "options": {**recorded["options"], name: OTHER[name]}}
    assert identity(older) != identity(newer)


def test_a_config_without_an_option_of_every_run_is_none(recorded: dict[str, Any]):
    assert identity({**recorded, "options": {k: v for k, v in recorded["options"].items() if k != "eps"}}) == ""
