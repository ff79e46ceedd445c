"""Which records are lost: by class, and by how noisy they are."""

from collections.abc import Mapping

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.snr import BANDS_DB, snr_db
from edgeguard.evaluation.audit.result import Group, Rate
from edgeguard.evaluation.audit.scores import clean_classes
from edgeguard.evaluation.evaluate import Evaluation
from edgeguard.evaluation.intervals import rate


def by_class(evaluations: Mapping[float, Evaluation]) -> tuple[Group, ...]:
    """Each class's sensitivity, clean and in the worst case.

    Args:
        evaluations: eps in microvolts -> evaluation of one file.
    """
    first = next(iter(evaluations.values()))
    members = {name: first.labels == place for place, name in enumerate(first.classes)}
    return tuple(_group(name, rows, evaluations) for name, rows in members.items())


def by_noise(evaluations: Mapping[float, Evaluation], levels: np.ndarray) -> tuple[Group, ...]:
    """Records in bands of signal-to-noise ratio, the noisiest first; bands without records are left out.

    Args:
        levels: float [N] in decibels; NaN where it cannot be told.
    """
    low, high = BANDS_DB
    bands = {
        f"below {low:g} dB": levels < low,
        f"{low:g} to {high:g} dB": (levels >= low) & (levels < high),
        f"above {high:g} dB": levels >= high,
        "not to be told": np.isnan(levels),
    }
    if np.isnan(levels).all():
        return ()
    return tuple(_group(name, rows, evaluations) for name, rows in bands.items() if rows.any())


def noise_levels(dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """float64 [N]: signal-to-noise ratio of the real samples of each record's window, decibels."""
    parts = (dataset.windows[i, dataset.left[i] : dataset.left[i] + dataset.length[i]] for i in index)
    return np.array([snr_db(part, dataset.sampling_rate) for part in parts], np.float64)


def _group(name: str, rows: np.ndarray, evaluations: Mapping[float, Evaluation]) -> Group:
    first = next(iter(evaluations.values()))

    def share(classes: np.ndarray) -> Rate:
        return Rate(**rate(int((classes == first.labels)[rows].sum()), int(rows.sum())))

    attacked = {f"{eps:g}": share(one.worst_case()) for eps, one in evaluations.items() if one.gradients()}
    return Group(name, int(rows.sum()), share(clean_classes(first)), attacked)
