"""Eighty records in a folder, and a reproduction of a tiny network on them.

No test here loses power: what is written need not reach the disk.
"""

from pathlib import Path
from typing import Any

import pytest
from tiny_network import faint_waves

from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.evaluation.reproduction.prepare import Reproduction, Setting, prepare
from edgeguard.evaluation.reproduction.scope import Scope


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without fsync, which takes longer than all else that the tests do."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


@pytest.fixture(scope="session")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eighty faint waves."""
    folder = tmp_path_factory.mktemp("data") / "waves"
    write_cinc(folder, faint_waves())
    return folder


def tiny(records: Path, out: Path, **scope: Any) -> Reproduction:
    """A reproduction of none and at."""
    options = {"arch": "tiny_network:make", "preset": "fast", "epochs": 2}
    setting = Setting(options, str(records), None, None, 0, "cpu")
    return prepare(Scope(**{"defenses": ("none", "at"), **scope}), setting, runs=(), out=out)


@pytest.fixture(scope="session")
def make_tiny() -> Any:
    """`tiny`."""
    return tiny
