"""Eighty records in a folder, and a reproduction of a tiny network on them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.record import Record
from edgeguard.evaluation.reproduction.prepare import Reproduction, Setting, prepare
from edgeguard.evaluation.reproduction.scope import Scope


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Waves of four frequencies in noise, twenty a class, some short."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(80):
        length = (9000, 9100, 5401)[number % 3]
        wave = 40 * np.sin(np.arange(length) * (0.03, 0.1, 0.25, 0.6)[number % 4] + rng.uniform(0, 6))
        ecg = np.rint(wave + rng.normal(0, 60, length)).astype(np.float32)
        made.append(Record(f"W{number:02d}", ecg, label="NAO~"[number % 4]))
    folder = tmp_path_factory.mktemp("data") / "waves"
    write_cinc(folder, made)
    return folder


def tiny(records: Path, out: Path, **scope: Any) -> Reproduction:
    """A reproduction of none and at, trained until half of the classes are told apart, which ten microvolts undo."""
    steps = {"epochs": 5, "batch": 8, "augment": False, "learning_rate": 0.02}
    options = {"arch": "tiny_network:make", "preset": "fast", **steps}
    setting = Setting(options, str(records), None, None, 0, "cpu")
    return prepare(Scope(**{"defenses": ("none", "at"), **scope}), setting, runs=(), out=out)


@pytest.fixture(scope="session")
def make_tiny() -> Any:
    """`tiny`."""
    return tiny
