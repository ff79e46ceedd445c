from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeguard.report.page.decimate import column_means, extremes

lines = arrays(np.float64, st.integers(1, 400), elements=st.floats(-1e4, 1e4))


@given(lines, st.integers(1, 60))
def test_extremes_of_every_column_stay(values: np.ndarray, columns: int) -> None:
    places = extremes(values, columns)
    assert len(places) <= 2 * columns + 2 or len(places) == len(values)
    assert (np.diff(places) > 0).all()
    assert places[0] == 0 and places[-1] == len(values) - 1
    if len(values) <= 2 * columns + 2:
        assert len(places) == len(values)
        return
    kept = np.zeros(len(values), bool)
    kept[places] = True
    edges = [len(values) * column // columns for column in range(columns + 1)]
    for start, end in pairwise(edges):
        part = values[start:end]
        assert part[kept[start:end]].max() == part.max()
        assert part[kept[start:end]].min() == part.min()


def test_one_tall_sample_of_a_day_is_not_lost() -> None:
    values = np.zeros(86_400 * 3)
    values[123_457] = 1
    assert 123_457 in extremes(values, 500)


def test_column_means_by_hand() -> None:
    assert column_means(np.array([1.0, 3.0, 5.0, 7.0]), 2).tolist() == [2, 6]
    assert column_means(np.array([1.0, 3.0]), 5).tolist() == [1, 3]


@given(lines, st.integers(1, 60))
def test_column_means_keep_the_sum(values: np.ndarray, columns: int) -> None:
    means = column_means(values, columns)
    count = np.diff([len(values) * column // len(means) for column in range(len(means) + 1)])
    assert np.isclose((means * count).sum(), values.sum(), atol=1e-6 * (1 + np.abs(values).sum()))
