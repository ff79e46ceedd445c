"""Two files under one attack, against ratios worked out by hand and populations of a known ratio."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard.attacks.scheduler import Trace
from edgeguard.evaluation.paired import tango
from edgeguard.evaluation.query_comparison import compare_distances, compare_traces

INF = math.inf
NAMES = ("fp32", "int8")
NOTHING = "no record of fp32 or int8 was fooled, or none is right in both: nothing to compare"


def found(queries: int, l2: float, linf: float) -> Trace:
    return Trace(queries=[queries], l2=[l2], linf=[linf])


def many(l2: np.ndarray) -> dict[int, Trace]:
    return {i: found(5, value, value / 20) if math.isfinite(value) else Trace() for i, value in enumerate(l2.tolist())}


def compare(first: dict[int, Trace], second: dict[int, Trace], **options) -> dict:
    result = compare_traces(first, second, names=NAMES, **{"queries": [1, 10], "radii_uv": [10, 50], **options})
    return json.loads(json.dumps(result, allow_nan=False))


def test_ratios_and_shares_worked_out_by_hand():
    first = np.array([100.0, 100.0, 100.0, 100.0, 100.0, INF, INF, 50.0])
    second = np.array([50.0, 80.0, 100.0, 125.0, INF, 70.0, INF, 100.0])
    result = compare_distances(first, second)
    assert result["ratio"]["value"] == pytest.approx(1.0)
    assert result["ratio"]["n"] == 7
    assert (result["only_first"], result["only_second"], result["neither"]) == (1, 1, 1)
    assert result["nearer"]["value"] == pytest.approx(3 / 8)
    assert result["farther"]["value"] == pytest.approx(3 / 8)


def test_between_two_middle_ratios_the_geometric_mean():
    assert compare_distances(np.array([1.0, 1.0]), np.array([0.5, 8.0]))["ratio"]["value"] == pytest.approx(2)


def test_only_records_that_both_get_right_are_compared():
    first = {1: found(1, 10, 1), 2: found(1, 10, 1), 3: found(1, 1, 1)}
    second = {2: found(1, 30, 1), 1: found(1, 20, 1), 7: found(1, 1, 1), 8: Trace()}
    result = compare(first, second)
    assert (result["n"], result["only_first"], result["only_second"]) == (2, 1, 2)
    assert result["curve"][0]["l2"]["ratio"]["value"] == pytest.approx(math.sqrt(6))
    assert "too few records" in result["sentence"]


def test_each_query_count_has_its_own_ratio():
    first = {i: Trace([1, 10], [100.0, 40.0], [10.0, 4.0]) for i in range(8)}
    second = {i: Trace([1, 10], [200.0, 20.0], [15.0, 4.0]) for i in range(8)}
    early, late = compare(first, second)["curve"]
    assert [point["l2"]["ratio"]["value"] for point in (early, late)] == pytest.approx([2, 0.5])
    assert [point["linf"]["ratio"]["value"] for point in (early, late)] == pytest.approx([1.5, 1])
    assert (late["l2"]["ratio"]["low"], late["l2"]["ratio"]["high"]) == pytest.approx((0.5, 0.5))


def test_the_interval_finds_a_ratio_that_there_is():
    rng = np.random.default_rng(1)
    first = rng.lognormal(6, 1, 60)
    result = compare(many(first), many(first * rng.lognormal(np.log(0.8), 0.2, 60)))
    ratio = result["curve"][-1]["l2"]["ratio"]
    assert 0.7 < ratio["low"] < ratio["value"] < ratio["high"] < 0.9
    assert result["sentence"].startswith(f"int8 falls at {ratio['value']:.2f} times the distance of fp32 [")
    assert result["sentence"].endswith("int8 is the easier to fool")
    back = compare(many(first * rng.lognormal(np.log(0.8), 0.2, 60)), many(first))
    assert back["sentence"].endswith("int8 is the harder to fool")


def test_the_interval_holds_its_level():
    rng = np.random.default_rng(2)
    held = 0
    for seed in range(60):
        ratio = compare_distances(np.ones(25), rng.lognormal(0, 0.5, 25), seed=seed)["ratio"]
        held += ratio["low"] <= 1 <= ratio["high"]
    assert held >= 53


def test_no_difference_is_said_where_none_is_seen():
    assert compare(many(np.full(10, 5.0)), many(np.full(10, 5.0)))["sentence"] == (
        "int8 falls at 1.00 times the distance of fp32 [1.00, 1.00] (L2, 10 queries, n = 10): no difference seen"
    )


@pytest.mark.parametrize(
    ("first", "second", "value", "end"),
    [
        ([9.0] * 8, [INF] * 8, None, "int8 mostly withstands what fools fp32 [inf, inf] (L2, 10 queries, n = 8): "
         "int8 is the harder to fool"),
        ([INF] * 8, [9.0] * 8, 0, "int8 falls at 0.00 times the distance of fp32 [0.00, 0.00] (L2, 10 queries, n = 8): "
         "int8 is the easier to fool"),
        ([9.0] * 4 + [INF] * 4, [INF] * 4 + [9.0] * 4, None, "int8 and fp32 fall on different records [0.00, inf] "
         "(L2, 10 queries, n = 8): no difference seen"),
        ([INF] * 8, [INF] * 8, None, NOTHING),
        ([], [], None, NOTHING),
    ],
)  # fmt: skip
def test_infinities_are_counted_and_said(first: list[float], second: list[float], value: float | None, end: str):
    result = compare(many(np.array(first)), many(np.array(second)))
    assert result["curve"][-1]["l2"]["ratio"]["value"] == value
    assert result["sentence"] == end


def test_a_few_infinite_ratios_make_an_end_infinite_and_leave_the_median():
    first, second = np.full(9, 10.0), np.array([5, 8, 9, 10, 10, 12, INF, INF, INF])
    ratio = compare_distances(first, second)["ratio"]
    assert ratio["value"] == pytest.approx(1)
    assert 0.5 <= ratio["low"] <= 0.9
    assert ratio["high"] is None


def test_success_is_the_second_less_the_first_with_tangos_interval():
    first = {i: found(1, 100, 5 if i < 2 else 60) for i in range(20)}
    second = {i: found(1, 100, 5 if 1 <= i < 8 else 45) for i in range(20)}
    success = compare(first, second)["curve"][0]["success"]
    assert (success["10"]["only_first"], success["10"]["only_second"]) == (1, 6)
    assert success["10"]["difference"] == pytest.approx(0.25)
    assert (success["10"]["low"], success["10"]["high"]) == pytest.approx(tango(6, 1, 20))
    assert success["50"]["difference"] == pytest.approx(0.9)


def test_the_sentence_follows_the_norm_that_is_asked_for():
    first = {i: found(1, 100, 10) for i in range(10)}
    second = {i: found(1, 50, 20) for i in range(10)}
    assert "2.00 times" in compare(first, second, norm="linf")["sentence"]
    assert "L-inf" in compare(first, second, norm="linf")["sentence"]
    assert "0.50 times" in compare(first, second)["sentence"]


def test_no_query_counts_give_no_curve():
    result = compare({}, {}, queries=[])
    assert result["curve"] == []


distances = st.lists(
    st.tuples(*[st.floats(1, 1e4) | st.just(INF)] * 2), min_size=0, max_size=14
).map(lambda pairs: np.array(pairs, np.float64).reshape(-1, 2))  # fmt: skip


@given(distances)
def test_exchanging_the_files_inverts_the_ratio(pairs: np.ndarray):
    forward, back = compare_distances(*pairs.T), compare_distances(*pairs[:, ::-1].T)
    assert (forward["nearer"], forward["only_first"]) == (back["farther"], back["only_second"])
    assert forward["neither"] == back["neither"]
    value, inverse = forward["ratio"]["value"], back["ratio"]["value"]
    if value and inverse:
        assert value * inverse == pytest.approx(1)
    elif value == 0:
        assert inverse is None
    told = np.isfinite(pairs).any(axis=1).sum()
    assert forward["ratio"]["n"] == told
    assert json.dumps(forward, allow_nan=False)
    low, high = forward["ratio"]["low"], forward["ratio"]["high"]
    if value is not None and told >= 6:
        assert low is not None
        assert low <= value * (1 + 1e-9)
        assert high is None or value <= high * (1 + 1e-9)
    if told < 6:
        assert (low, high) == (None, None)


def test_the_same_seed_gives_the_same_interval():
    rng = np.random.default_rng(5)
    first, second = rng.lognormal(0, 1, (2, 30))
    assert compare_distances(first, second, seed=1) == compare_distances(first, second, seed=1)
