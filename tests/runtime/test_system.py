"""What the operating system says of itself, and what is made of its silence."""

import os
from pathlib import Path

import numpy as np
import pytest

from edgeguard.runtime import system


def silent(*_: object, **__: object) -> str:
    raise FileNotFoundError


def test_the_peak_covers_what_is_held() -> None:
    held = np.ones(2**23)
    peak = system.peak_rss_bytes()
    assert peak is not None and peak > held.nbytes


@pytest.mark.skipif(system.resource is None, reason="POSIX only")
def test_without_proc_the_peak_is_that_of_getrusage(monkeypatch: pytest.MonkeyPatch) -> None:
    held = np.ones(2**23)
    monkeypatch.setattr(Path, "read_text", silent)
    peak = system.peak_rss_bytes()
    assert peak is not None and held.nbytes < peak < 2**40


def test_a_peak_that_nobody_tells_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", silent)
    monkeypatch.setattr(system, "resource", None)
    assert system.peak_rss_bytes() is None


def test_cores_are_those_that_the_process_may_use_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 5}, raising=False)
    assert system.processor_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert system.processor_cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert system.processor_cores() == 1
