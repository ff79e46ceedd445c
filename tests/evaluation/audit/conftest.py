"""A small run, and an audit that is small in everything but its sections."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from short_work import short_work
from wave_run import make_wave_run

from edgeguard.evaluation.audit import run as audit_run
from edgeguard.evaluation.audit.result import Audit
from edgeguard.evaluation.audit.sizes import SIZES, Size

TINY = Size(16, "strict", 4, 30, 8, 10, 60.0, 32, 2)
THRESHOLDS = """
margin_points = 25
robustness_loss_points = 90
"""
Run = Callable[..., Audit]


@contextmanager
def small() -> Iterator[None]:
    """Short work, and every size tiny, for as long as it lasts."""
    with short_work() as patch:
        for size in SIZES:
            patch.setitem(SIZES, size, TINY)
        yield


@pytest.fixture(autouse=True)
def always_small() -> Iterator[None]:
    with small():
        yield


@pytest.fixture(scope="session")
def waves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(run folder, folder of records); tests only read them."""
    with small():
        return make_wave_run(tmp_path_factory.mktemp("waves"))


@pytest.fixture(scope="session")
def thresholds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Demands that sixteen records can decide."""
    path = tmp_path_factory.mktemp("thresholds") / "own.toml"
    path.write_text(THRESHOLDS)
    return path


@pytest.fixture(scope="session")
def audited(thresholds: Path) -> Run:
    """`run_audit` in the quick size with these demands."""

    def audit(model: Path, out: Path, **options: Any) -> Audit:
        return audit_run.run_audit(model, out=out, **{"size": "quick", "thresholds": thresholds, **options})

    return audit


@pytest.fixture(scope="session")
def done(waves: tuple[Path, Path], audited: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Audit, Path]:
    """(an audit of the run, its folder); tests only read them."""
    out = tmp_path_factory.mktemp("audit")
    with small():
        return audited(waves[0], out), out
