"""The query curve against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest

from edgeguard.attacks.scheduler import Trace
from edgeguard.report.query_curve import draw_query_curve, query_counts, query_curve


@pytest.mark.parametrize(
    ("budget", "counts"),
    [(0, []), (1, [1]), (2, [1, 2]), (60, [1, 2, 5, 10, 20, 50, 60]), (100, [1, 2, 5, 10, 20, 50, 100])],
)
def test_counts_run_1_2_5_up_to_the_budget(budget: int, counts: list[int]) -> None:
    assert query_counts(budget) == counts


def test_medians_and_shares() -> None:
    traces = [
        Trace(queries=[2, 10], l2=[900.0, 300.0], linf=[400.0, 50.0]),
        Trace(queries=[5], l2=[500.0], linf=[201.0]),
        Trace(),
    ]
    points = {point["queries"]: point for point in query_curve(traces, 10)}
    assert [points[q]["median_l2_uv"] for q in (1, 2, 5, 10)] == [np.inf, np.inf, 900.0, 500.0]
    assert [points[q]["median_linf_uv"] for q in (1, 2, 5, 10)] == [np.inf, np.inf, 400.0, 201.0]
    shares = {eps: round(3 * rate["value"]) for eps, rate in points[10]["success"].items()}
    assert shares == {"10": 0, "50": 1, "200": 1, "1000": 2}
    fooled = points[10]["success"]["1000"]
    assert fooled["n"] == 3
    assert (fooled["low"], fooled["high"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)


def test_no_records_give_no_median() -> None:
    (point,) = query_curve([], 1)
    assert np.isnan(point["median_l2_uv"])
    assert point["success"]["10"]["n"] == 0


@pytest.mark.parametrize("traces", [[], [Trace()], [Trace([3, 50], [80.0, 20.0], [9.0, 2.0]), Trace()]])
def test_a_figure_is_drawn_of_any_outcome(tmp_path: Path, traces: list[Trace]) -> None:
    path = tmp_path / "new" / "curve.png"
    draw_query_curve(traces, 100, path, title="attack")
    assert path.read_bytes().startswith(b"\x89PNG")
