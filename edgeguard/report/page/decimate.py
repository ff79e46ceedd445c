"""Long lines for few pixels: what stays is the least and the most of every column, so no peak is lost."""

from itertools import pairwise

import numpy as np


def extremes(values: np.ndarray, columns: int) -> np.ndarray:
    """int64 [K], K <= 2 columns + 2: places of the least and the most of each column, and both ends; rising.

    Args:
        values: float [T], finite.
        columns: equal parts that the line is cut into, at least 1; all places where that saves nothing.
    """
    count = len(values)
    if count <= 2 * columns + 2:
        return np.arange(count)
    edges = _edges(count, columns)
    kept = {0, count - 1}
    for start, end in pairwise(edges.tolist()):
        part = values[start:end]
        kept |= {start + int(part.argmin()), start + int(part.argmax())}
    return np.array(sorted(kept))


def column_means(values: np.ndarray, columns: int) -> np.ndarray:
    """float [min(columns, T)]: the mean of each of equal parts."""
    columns = min(columns, len(values))
    edges = _edges(len(values), columns)
    return np.add.reduceat(values.astype(np.float64), edges[:-1]) / np.diff(edges)


def _edges(count: int, columns: int) -> np.ndarray:
    """int64 [columns + 1]: where equal parts of `count` places begin, and the end."""
    return np.arange(columns + 1) * count // columns
