"""The figure of two files under one attack is drawn of any outcome."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.attacks.scheduler import Trace
from edgeguard.evaluation.query_comparison import compare_traces
from edgeguard.report.comparison_figure import draw_comparison


def falling(count: int, scale: float) -> dict[int, Trace]:
    rng = np.random.default_rng(0)
    l2 = scale * rng.lognormal(6, 0.4, count)
    return {i: Trace([1, 8], [4 * value, value], [value / 5, value / 20]) for i, value in enumerate(l2)}


@pytest.mark.parametrize(
    ("first", "second", "queries", "norm"),
    [
        (falling(12, 1), falling(14, 0.7), [1, 5, 10], "l2"),
        (falling(12, 1), {i: Trace() for i in range(12)}, [1, 10], "linf"),
        ({i: Trace() for i in range(12)}, falling(12, 1), [1, 10], "linf"),
        (falling(12, 1), falling(12, 100), [10], "l2"),
        (falling(2, 1), falling(2, 2), [1], "l2"),
        ({}, {}, [1], "l2"),
        ({}, {}, [], "l2"),
    ],
)
def test_a_figure_is_drawn_of_any_outcome(
    tmp_path: Path, first: dict[int, Trace], second: dict[int, Trace], queries: list[int], norm: str
) -> None:
    comparison = compare_traces(first, second, names=("a", "b"), queries=queries, radii_uv=[50], norm=norm)
    draw_comparison(comparison, first, second, tmp_path / "compare.png")
    assert (tmp_path / "compare.png").read_bytes().startswith(b"\x89PNG")
