"""The judges of calibration candidates: clean and worst-case accuracy, or agreement with the float network."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import pgd_path, sap
from edgeguard.attacks.losses import margin
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import stratified
from edgeguard.errors import InputError
from edgeguard.evaluation.subject import named
from edgeguard.export.ranking import Score, Scorer
from edgeguard.export.twin import build_twin
from edgeguard.runtime.session import OnnxModel, open_model

RECORDS = 256
EPS_UV = 10.0
_STEPS = 10
"""Of PGD on the float network, and of SAP after it."""
_TWIN_STEPS = 4
"""Of either through a candidate's twin, begun where PGD on the float network ended."""
_BATCH = 32


@dataclass(frozen=True)
class _Crafted:
    """What attacks found on some records.

    Attributes:
        pgd, sap: adversarial ecg float32 [B, 1, T], whole microvolts.
        end: perturbations float32 [B, 1, T] where PGD ended.
    """

    pgd: np.ndarray
    sap: np.ndarray
    end: Tensor


def calibration_score(
    network: nn.Module,
    dataset: Dataset,
    among: np.ndarray,
    *,
    records: int = RECORDS,
    eps: float = EPS_UV,
    seed: int = 0,
) -> Scorer:
    """A function that scores files made of a float network, all on one stratified set of records.

    PGD and SAP with the margin loss, 10 + 10 steps of eps / 4: on the float network, once, for all files; then, 4 + 4
    steps, through each file's own twin, begun where the former ended, on the records that the file still names right.
    A record counts in the worst case where the file itself, on samples rounded to whole ADC codes, is right on the
    clean record and under all four.

    Args:
        network: from ecg [B, 1, T] in microvolts to logits [B, C].
        dataset: labelled records.
        among: indices of those to choose from.
        records: at most this many.
        eps: microvolts.

    The function raises InputError for a file of which no twin can be built.
    """
    index = stratified(dataset.labels, among, records, seed=seed)
    parts = [dataset.batch(index[first : first + _BATCH]) for first in range(0, len(index), _BATCH)]
    with torch.no_grad():
        said = [network(torch.from_numpy(ecg)).argmax(1).numpy() for ecg, _, _ in parts]
    transferred = [_craft(network, *part, eps=eps, steps=_STEPS) for part in parts]

    def score(path: Path) -> Score:
        file = open_model(path)
        twin = _twin(path)
        clean = worst = agreement = 0
        for (ecg, mask, labels), expected, found in zip(parts, said, transferred, strict=True):
            agreement += int((file.labels(ecg) == expected).sum())
            right = _right(file, ecg, labels)
            clean += int(right.sum())
            standing = right & _withstands(file, found, labels)
            if not standing.any():
                continue
            own = _craft(
                twin,
                ecg[standing],
                mask[standing],
                labels[standing],
                eps=eps,
                steps=_TWIN_STEPS,
                start=found.end[torch.from_numpy(standing)],
            )
            worst += int(_withstands(file, own, labels[standing]).sum())
        return Score(len(index), clean, worst, agreement)

    return score


def agreement_score(
    floating: OnnxModel, dataset: Dataset, among: np.ndarray, *, records: int = RECORDS, seed: int = 0
) -> Scorer:
    """A function that scores files made of a float file by what that file says of the same records.

    Clean accuracy counts where the records have labels; nothing is attacked.

    Args:
        among: indices of records to choose from, at most `records` of them.
    """
    index = stratified(dataset.labels, among, records, seed=seed)
    ecg, _, labels = dataset.batch(index)
    expected = floating.outputs(ecg)
    classes = floating.labels(ecg)
    labelled = bool((labels >= 0).all())

    def score(path: Path) -> Score:
        file = open_model(path)
        found = file.outputs(ecg)
        logits = file.spec.logits(found)
        agreement = int((logits.argmax(1) == classes).sum())
        clean = int((named(logits, labels) == labels).sum()) if labelled else None
        return Score(len(index), clean, None, agreement, float(np.abs(found - expected).mean()))

    return score


def _twin(path: Path) -> nn.Module:
    try:
        return build_twin(path)
    except InputError as error:
        raise InputError(f"{error}; or name a method: --calibration percentile:99.99") from error


def _craft(
    network: nn.Module,
    ecg: np.ndarray,
    mask: np.ndarray,
    labels: np.ndarray,
    *,
    eps: float,
    steps: int,
    start: Tensor | None = None,
) -> _Crafted:
    """PGD, and SAP from where it ends, each of so many steps of eps / 4; the best iterate of either."""
    signal, valid, classes = (torch.from_numpy(part) for part in (ecg, mask, labels))
    alpha = eps / 4
    end, found = pgd_path(
        network, signal, classes, valid, eps=eps, alpha=alpha, steps=steps, loss=margin, start=start, best=True
    )
    smooth = sap(
        network,
        signal,
        classes,
        valid,
        eps=eps,
        alpha=alpha,
        steps=0,
        smooth_steps=steps,
        loss=margin,
        start=end,
        best=True,
    )
    return _Crafted(np.rint((signal + found * valid).numpy()), np.rint(smooth.numpy()), end)


def _withstands(file: OnnxModel, crafted: _Crafted, labels: np.ndarray) -> np.ndarray:
    """bool [B]: right on both."""
    return _right(file, crafted.pgd, labels) & _right(file, crafted.sap, labels)


def _right(file: OnnxModel, ecg: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [B]: whether a file names the true class; ties go to the attacker."""
    return named(file.logits(ecg), labels) == labels
