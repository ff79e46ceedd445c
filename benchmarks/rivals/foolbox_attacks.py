"""foolbox's decision-based attacks, as it ships them, all records in one batch as it runs them best.

HopSkipJump clips to [0, 1] whatever the bounds are, so samples are scaled to it by the records' range; the boundary
attack is free of scale. On torch tensors: eagerpy draws its noise there two to three times as fast as on numpy's.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import eagerpy
import numpy as np
import torch
from foolbox.attacks import BoundaryAttack, HopSkipJumpAttack
from foolbox.criteria import Misclassification
from foolbox.models import Model
from foolbox.types import Bounds
from rivals.ledger import Ledger, SpentError, Victims

_FOREVER = 10**6


class _File(Model):
    """The ledger as foolbox takes a model: [0, 1] in, logits out, row i is record i of `records`."""

    def __init__(self, ledger: Ledger, records: np.ndarray, low: float, high: float) -> None:
        self._ledger, self._records, self._low, self._high = ledger, records, low, high

    @property
    def bounds(self) -> Bounds:
        return Bounds(0, 1)

    def __call__(self, inputs: Any) -> Any:
        points, restore_type = eagerpy.astensor_(inputs)
        microvolts = points.raw.numpy() * np.float32(self._high - self._low) + np.float32(self._low)
        return restore_type(eagerpy.astensor(torch.from_numpy(self._ledger.ask(self._records, microvolts))))


def boundary(ledger: Ledger, victims: Victims) -> None:
    """Untargeted, default settings, all records in one batch."""
    _run(ledger, victims, BoundaryAttack(steps=_FOREVER), slice(None))


def hop_skip_jump(ledger: Ledger, victims: Victims) -> None:
    """Untargeted, L2, default settings; one record at a time, for in a batch the slowest step of one makes all ask."""
    for record in range(len(victims.labels)):
        _run(ledger, victims, HopSkipJumpAttack(steps=_FOREVER), slice(record, record + 1))


def _run(ledger: Ledger, victims: Victims, attack: Callable[..., Any], rows: slice) -> None:
    low, high = victims.bounds(rows)
    records = np.arange(len(victims.labels))[rows]
    scaled = [
        torch.from_numpy(np.clip((ecg[rows] - low) / (high - low), 0, 1)) for ecg in (victims.originals, victims.starts)
    ]
    criterion = Misclassification(torch.from_numpy(victims.labels[rows]))
    with suppress(SpentError):
        attack.run(_File(ledger, records, low, high), scaled[0], criterion, starting_points=scaled[1])
