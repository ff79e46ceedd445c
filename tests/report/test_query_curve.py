"""The query curve against values worked out by hand."""

import json
from itertools import pairwise
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.attacks.scheduler import Trace
from edgeguard.errors import InputError
from edgeguard.evaluation.perturbation import Perturbation, perturbation
from edgeguard.report.query_curve import curve_table, draw_query_curve, query_counts, query_curve

CLASSES = ("N", "A", "O", "~")


def three() -> list[Trace]:
    return [
        Trace(queries=[2, 10], l2=[900.0, 300.0], linf=[400.0, 50.0]),
        Trace(queries=[5], l2=[500.0], linf=[201.0]),
        Trace(),
    ]


def perturbations(count: int) -> list[Perturbation]:
    rng = np.random.default_rng(0)
    zero, mask = np.zeros((1, 600)), np.ones((1, 600), bool)
    return [perturbation(rng.normal(size=(1, 600)), zero, mask, sampling_rate=300) for _ in range(count)]


@pytest.mark.parametrize(
    ("budget", "counts"),
    [(0, []), (1, [1]), (2, [1, 2]), (60, [1, 2, 5, 10, 20, 50, 60]), (100, [1, 2, 5, 10, 20, 50, 100])],
)
def test_counts_run_1_2_5_up_to_the_budget(budget: int, counts: list[int]) -> None:
    assert query_counts(budget) == counts


def test_medians_quartiles_and_shares() -> None:
    points = {point["queries"]: point for point in query_curve(three(), 10)}
    assert [points[q]["median_l2_uv"] for q in (1, 2, 5, 10)] == [None, None, 900.0, 500.0]
    assert [points[q]["median_linf_uv"] for q in (1, 2, 5, 10)] == [None, None, 400.0, 201.0]
    assert [points[q]["quartiles_l2_uv"] for q in (2, 5, 10)] == [[None, None], [900.0, None], [500.0, None]]
    assert points[10]["quartiles_linf_uv"] == [201.0, None]
    assert points[10]["per_class"] == {}
    shares = {eps: round(3 * rate["value"]) for eps, rate in points[10]["success"].items()}
    assert shares == {"10": 0, "50": 1, "200": 1, "1000": 2}
    fooled = points[10]["success"]["1000"]
    assert fooled["n"] == 3
    assert (fooled["low"], fooled["high"]) == pytest.approx((0.2077, 0.9385), abs=1e-4)


def test_quartiles_of_five_are_the_second_and_the_fourth() -> None:
    traces = [Trace([1], [l2], [l2 / 10]) for l2 in (40.0, 10.0, 50.0, 20.0, 30.0)]
    (point,) = query_curve(traces, 1)
    assert (point["median_l2_uv"], point["quartiles_l2_uv"]) == (30, [20, 40])
    assert (point["median_linf_uv"], point["quartiles_linf_uv"]) == (3, [2, 4])


def test_each_class_has_its_own_figures() -> None:
    point = query_curve(three(), 10, labels=np.array([1, 0, 1]), classes=CLASSES)[-1]
    assert list(point["per_class"]) == list(CLASSES)
    of = point["per_class"]
    assert (of["A"]["median_l2_uv"], of["A"]["quartiles_l2_uv"]) == (None, [None, None])
    assert (of["N"]["median_l2_uv"], of["N"]["median_linf_uv"]) == (500.0, 201.0)
    assert (of["A"]["success"]["50"]["value"], of["A"]["success"]["50"]["n"]) == (0.5, 2)
    assert of["N"]["success"]["200"]["value"] == 0
    assert (of["~"]["success"]["50"]["value"], of["~"]["success"]["50"]["n"]) == (None, 0)


traces_of = st.lists(
    st.lists(st.tuples(st.integers(1, 200), st.floats(1, 1e4)), max_size=4).map(
        lambda found: Trace(
            queries=sorted(query for query, _ in found),
            l2=sorted((l2 for _, l2 in found), reverse=True),
            linf=sorted((l2 / 9 for _, l2 in found), reverse=True),
        )
    ),
    max_size=9,
)


@settings(max_examples=25)
@given(traces_of, st.integers(0, 3))
def test_curves_fall_success_rises_and_all_is_json(traces: list[Trace], stride: int) -> None:
    labels = np.arange(len(traces)) * stride % 4
    curve = query_curve(traces, 200, labels=labels, classes=CLASSES)
    assert json.loads(json.dumps(curve, allow_nan=False)) == curve
    for before, after in pairwise(curve):
        for key in ("median_l2_uv", "median_linf_uv"):
            assert before[key] is None or after[key] <= before[key]
        assert all(
            (after["success"][eps]["value"] or 0) >= (rate["value"] or 0) for eps, rate in before["success"].items()
        )
    for point in curve:
        for eps, overall in point["success"].items():
            parts = [figures["success"][eps] for figures in point["per_class"].values()]
            assert sum(part["n"] for part in parts) == overall["n"]
            fooled = sum(part["n"] * (part["value"] or 0) for part in parts)
            assert fooled == pytest.approx(overall["n"] * (overall["value"] or 0))


def test_no_records_give_no_median() -> None:
    (point,) = query_curve([], 1)
    assert point["median_l2_uv"] is None
    assert point["success"]["10"] == {"value": None, "low": 0, "high": 1, "n": 0}


def test_the_table_says_what_the_curve_holds() -> None:
    lines = curve_table(query_curve(three(), 10, labels=np.array([1, 0, 1]), classes=CLASSES)).splitlines()
    assert lines[2].split()[:4] == ["1", "none", "none", "0.00"]
    assert lines[5].split()[:3] == ["10", "500", "201"]
    assert "0.33 [0.06, 0.79]" in lines[5]
    assert lines[6] == "by class, after 10 queries"
    assert lines[7].split()[:3] == ["N", "500", "201"]
    assert lines[10].split()[:5] == ["~", "none", "none", "no", "record"]
    assert curve_table([]) == "no queries, no curve"


@pytest.mark.parametrize(
    ("traces", "budget"),
    [([], 100), ([Trace()], 1), ([Trace([3, 50], [80.0, 20.0], [9.0, 2.0]), Trace()], 100), ([Trace()], 0)],
)
def test_a_figure_is_drawn_of_any_outcome(tmp_path: Path, traces: list[Trace], budget: int) -> None:
    path = tmp_path / "new" / "curve.png"
    draw_query_curve(traces, budget, path, title="attack")
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("fooled", [0, 3])
def test_classes_and_perturbations_have_a_row_of_their_own(tmp_path: Path, fooled: int) -> None:
    plain, full = tmp_path / "plain.png", tmp_path / "full.png"
    draw_query_curve(three(), 10, plain, title="attack", first="linf")
    draw_query_curve(
        three(),
        10,
        full,
        title="attack",
        labels=np.array([1, 0, 1]),
        classes=CLASSES,
        perturbations=perturbations(fooled),
    )
    small, large = matplotlib.image.imread(plain), matplotlib.image.imread(full)
    assert large.shape[0] == 2 * small.shape[0]
    assert (large[small.shape[0] :, ..., :3].min(axis=-1) < 0.5).any()


def test_a_figure_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"x\.png: cannot be written"):
        draw_query_curve([], 1, tmp_path / "file" / "x.png", title="attack")
