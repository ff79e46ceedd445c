"""Scores of a classification: confusion matrix, accuracy, F1."""

from collections.abc import Sequence

import numpy as np

CHALLENGE_CLASSES = ("N", "A", "O")
"""That the CinC 2017 challenge scores; Noise counts only as what the others are taken for."""


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 [classes, classes]: rows are true classes, columns predicted ones."""
    flat = np.asarray(labels) * classes + np.asarray(predicted)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion: np.ndarray) -> float:
    """Share on the diagonal; NaN for no records."""
    return float(accuracies(confusion))


def accuracies(confusion: np.ndarray) -> np.ndarray:
    """float64 [...]: the accuracy of each matrix of [..., classes, classes]."""
    hits, total = np.trace(confusion, axis1=-2, axis2=-1).astype(float), confusion.sum(axis=(-2, -1))
    return np.divide(hits, total, out=np.full(hits.shape, np.nan), where=total > 0)


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """float64 [..., classes]: 2 C_ii / (row_i + column_i); NaN for a class neither true nor predicted.

    Leading axes hold several matrices.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    both = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.divide(2 * hits, both, out=np.full(hits.shape, np.nan), where=both > 0)


def macro_f1(confusion: np.ndarray) -> float:
    """Arithmetic mean of the class F1 (ADT paper, eq. 12), over the classes that have one."""
    return float(mean_f1(confusion))


def three_class_f1(confusion: np.ndarray, classes: Sequence[str]) -> float:
    """Mean F1 of N, A and O, the official score of CinC 2017 (Clifford et al. 2017), over those that have one.

    Args:
        classes: names, in the order of the matrix; those that it lacks are left out.
    """
    return float(mean_f1(confusion, challenge_classes(classes)))


def challenge_classes(classes: Sequence[str]) -> list[int]:
    """Where N, A and O stand; raises ValueError where none does."""
    found = [place for place, name in enumerate(classes) if name in CHALLENGE_CLASSES]
    if not found:
        raise ValueError(f"none of {', '.join(CHALLENGE_CLASSES)} among the classes {', '.join(classes)}")
    return found


def mean_f1(confusion: np.ndarray, chosen: Sequence[int] | None = None) -> np.ndarray:
    """float64 [...]: the mean F1 of each matrix of [..., classes, classes], over the chosen classes that have one."""
    by_class = class_f1(confusion)
    by_class = by_class if chosen is None else by_class[..., list(chosen)]
    known = np.isfinite(by_class)
    count, total = known.sum(axis=-1), np.where(known, by_class, 0.0).sum(axis=-1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)


def scores(labels: np.ndarray, predicted: np.ndarray, classes: int) -> dict[str, float]:
    """{"accuracy", "f1"} of one set of predictions."""
    confusion = confusion_matrix(labels, predicted, classes)
    return {"accuracy": accuracy(confusion), "f1": macro_f1(confusion)}


def drop_own(clean: float, attacked: float) -> float:
    """Relative performance drop against the network's own clean score (ADT paper, situation I)."""
    return (clean - attacked) / clean


def drop_ref(undefended_clean: float, attacked: float) -> float:
    """Relative performance drop against the undefended clean score (ADT paper, situation II)."""
    return (undefended_clean - attacked) / undefended_clean
