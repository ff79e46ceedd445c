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
    edges = np.linspace(0, count, columns + 1).astype(int)
    kept = {0, count - 1}
    for start, end in pairwise(edges.tolist()):
        part = values[start:end]
        kept |= {start + int(part.argmin()), start + int(part.argmax())}
    return np.array(sorted(kept))


def column_means(values: np.ndarray, columns: int) -> np.ndarray:
    """float [min(columns, T)]: the mean of each of equal parts."""
    columns = min(columns, len(values))
    edges = np.linspace(0, len(values), columns + 1).astype(int)
    return np.add.reduceat(values.astype(np.float64), edges[:-1]) / np.diff(edges)
