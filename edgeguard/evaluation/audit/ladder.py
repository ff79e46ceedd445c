"""The first question of an audit: is the file what it claims to be, on every engine at hand?"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np

from edgeguard.evaluation.audit.result import Check
from edgeguard.export.ladder import run_ladder
from edgeguard.export.probes import probe_windows
from edgeguard.runtime.session import OnnxModel

_WINDOWS = 64

Rungs = tuple[dict[str, Any], ...]


def climb(file: OnnxModel, ecg: np.ndarray, *, progress: Callable[[int], object] = lambda rungs: None) -> Rungs:
    """Every rung of the ladder as {name, holds, figure, meaning, note}.

    Args:
        ecg: float32 [B, 1, T] microvolts; at most 64 windows are compared.
    """

    def climbing(name: str) -> None:
        progress(1)

    return tuple(asdict(rung) for rung in run_ladder(file, ecg[:_WINDOWS], progress=climbing))


def ladder_checks(rungs: Rungs) -> tuple[Check, ...]:
    """A failing rung is a check that fails; all that hold are one check."""
    failing = [rung for rung in rungs if rung["holds"] is False]
    held = sum(rung["holds"] is True for rung in rungs)
    apart = len(rungs) - held - len(failing)
    reason = f"{held} rungs of the ladder hold, {len(failing)} fail, {apart} do not apply"
    total = Check("failing_rungs", "ladder", not failing, len(failing), 0, reason, None, "most")
    return (
        *(Check(f"ladder_{rung['name']}", "ladder", False, rung["figure"], None, _reason(rung)) for rung in failing),
        total,
    )


def finite_check(file: OnnxModel, ecg: np.ndarray) -> Check:
    """Whether the logits are numbers, on the records and on signals that any classifier must bear.

    Args:
        ecg: float32 [B, 1, T] microvolts.
    """
    probes = probe_windows(8, window=file.window, sampling_rate=file.sampling_rate)
    logits = file.logits(np.concatenate([ecg, probes]))
    bad = int((~np.isfinite(logits)).any(1).sum())
    what = f"logits are not numbers on {bad} of {len(logits)} windows" if bad else "logits are numbers everywhere"
    return Check("finite_logits", "ladder", bad == 0, bad, 0, what, None, "most")


def _reason(rung: dict[str, Any]) -> str:
    figure = "" if rung["figure"] is None else f": {rung['figure']:.6g}"
    note = f"; {rung['note']}" if rung["note"] else ""
    return f"ladder, {rung['name']}: {rung['meaning']}{figure}{note}"
