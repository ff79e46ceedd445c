"""What is implausible about a model and its records: mostly a wrong unit, sampling rate or list of classes.

Nothing here is an error: a network may be as bad as it looks. Every finding is one line, with what to check.
"""

from collections.abc import Callable, Sequence

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.wilson import wilson_interval

_LEAST_PEAK_UV, _MOST_PEAK_UV = 50.0, 20_000.0
"""Between these lies the typical peak of an ECG that is in microvolts; the R wave has about 1,000."""
_MOST_IN_ONE = 0.95
"""Share of the records in one class from which on it is told."""
_TRIED = 64
_BETTER = 0.15
"""By so much more accuracy, another unit is the likelier one."""
_FEW = 16
"""Fewer records say nothing of a share."""

Logits = Callable[[np.ndarray], np.ndarray]
"""float32 [B, 1, T] microvolts to logits [B, C]."""


def amplitude_warnings(dataset: Dataset, index: np.ndarray) -> list[str]:
    """Whether the records are too small or too large to be microvolts."""
    rows = np.asarray(dataset.windows[index[:_TRIED]], np.float32)
    peak = float(np.median(np.abs(rows).max(1))) if len(rows) else _LEAST_PEAK_UV
    if _LEAST_PEAK_UV <= peak <= _MOST_PEAK_UV:
        return []
    likely = "millivolts or volts taken for microvolts" if peak < _LEAST_PEAK_UV else "not in microvolts"
    return [
        f"{dataset.source}: the records peak at {peak:.3g} uV (median of {len(rows)}), an ECG at some hundred to a few "
        f"thousand; are they {likely}? State their unit"
    ]


def decision_warnings(
    predicted: np.ndarray, labels: np.ndarray, classes: Sequence[str], *, stated: str = "unit, rate and classes"
) -> list[str]:
    """Whether nearly all records are called one class, or are right no more often than by chance.

    Args:
        predicted, labels: int64 [N]; what is below 0 is unknown.
        stated: what may be stated wrongly.
    """
    asked = predicted >= 0
    predicted, labels = predicted[asked], labels[asked]
    n = len(predicted)
    if n < _FEW:
        return []
    found = []
    named = np.bincount(predicted, minlength=len(classes)) / n
    true = np.bincount(labels[labels >= 0], minlength=len(classes)) / n
    most = int(named.argmax())
    if named[most] >= _MOST_IN_ONE and true[most] < _MOST_IN_ONE:
        found.append(
            f"{round(named[most] * n)} of {n} records are called {classes[most]}, {round(true[most] * n)} are; "
            f"check {stated}"
        )
    right, chance = float((predicted == labels).mean()), float((named * true).sum())
    low, high = wilson_interval(right, n)
    if (labels >= 0).all() and low <= chance:
        found.append(
            f"accuracy {right:.3f} [{low:.3f}, {high:.3f}], n = {n}, is not above chance ({chance:.3f}); check {stated}"
        )
    return found


def unit_warnings(logits: Logits, dataset: Dataset, index: np.ndarray, unit: str) -> list[str]:
    """Whether another unit of the model's input would have far more records right."""
    ecg, _, labels = dataset.batch(index[:_TRIED])
    if len(ecg) < _FEW or (labels < 0).any():
        return []
    right = float((logits(ecg).argmax(1) == labels).mean())
    for factor, other in ((1e-3, {"uV": "mV", "mV": "V"}), (1e3, {"mV": "uV", "V": "mV"})):
        if unit in other:
            share = float((logits(ecg * np.float32(factor)).argmax(1) == labels).mean())
            if share > right + _BETTER:
                return [
                    f"in {other[unit]} the model has {share:.2f} of {len(ecg)} records right, in {unit} as stated "
                    f"{right:.2f}; check --unit"
                ]
    return []


def implausible(
    logits: Logits, dataset: Dataset, index: np.ndarray, predicted: np.ndarray, *, unit: str
) -> tuple[str, ...]:
    """All of it, for records that were judged.

    Args:
        index: int64 [N], records of the data set.
        predicted: int64 [N], their classes by the model.
        unit: of the model's input.
    """
    found = amplitude_warnings(dataset, index)
    decided = decision_warnings(predicted, dataset.labels[index], dataset.classes)
    if decided:
        found += unit_warnings(logits, dataset, index, unit)
    return (*found, *decided)
