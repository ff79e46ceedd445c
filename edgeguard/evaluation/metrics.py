"""Scores of a classification: confusion matrix, accuracy, F1."""

import numpy as np


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """int64 [classes, classes]: rows are true classes, columns predicted ones."""
    flat = np.asarray(labels) * classes + np.asarray(predicted)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def accuracy(confusion: np.ndarray) -> float:
    """Share on the diagonal; NaN for no records."""
    total = confusion.sum()
    return float(np.trace(confusion) / total) if total else float("nan")


def class_f1(confusion: np.ndarray) -> np.ndarray:
    """float64 [..., classes]: 2 C_ii / (row_i + column_i); NaN for a class neither true nor predicted.

    Leading axes hold several matrices.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    both = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.divide(2 * hits, both, out=np.full(hits.shape, np.nan), where=both > 0)


def macro_f1(confusion: np.ndarray) -> float:
    """Arithmetic mean of the class F1 (ADT paper, eq. 12), over the classes that have one."""
    scores = class_f1(confusion)
    return float(np.nanmean(scores)) if np.isfinite(scores).any() else float("nan")


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
