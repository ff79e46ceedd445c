"""Histograms of bounded size, and the ranges that three methods read off them."""

import weakref
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import ModelProto
from onnxruntime.quantization.calibrate import HistogramCollector
from scipy.stats import entropy as kl_divergence

from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.export.calibrate import Histogram, entropy, entropy_threshold, minmax, observe, parse_method, percentile

SMALL = """
<ir_version: 10, opset_import: ["" : 21]>
agraph (float[n,1,6] ecg) => (float[n,1,1] logits) <float two = {2}> {
    double = Mul (ecg, two)
    positive = Relu (double)
    logits = GlobalAveragePool (positive)
}
"""
FLOATS = st.floats(-1e6, 1e6, width=32)


def histogram(*parts: np.ndarray) -> Histogram:
    made = Histogram()
    for part in parts:
        made.add(np.asarray(part, np.float32))
    return made


def test_ranges_of_a_graph_by_hand():
    ecg = np.array([[[-3, 0, 1, 2, 5, 1]], [[-7, 0, 0, 0, 0, 3]]], np.float32)
    seen = observe(onnx.parser.parse_model(SMALL), [ecg[:1], ecg[1:]])
    assert {name: (each.low, each.high) for name, each in seen.items()} == {
        "ecg": (-7, 5),
        "double": (-14, 10),
        "positive": (0, 10),
        "logits": (1, 3),
    }
    assert {name: minmax(each) for name, each in seen.items()} == {
        "ecg": (-7, 5),
        "double": (-14, 10),
        "positive": (0, 10),
        "logits": (0, 3),
    }
    assert seen["ecg"].counts.sum() == 12 and seen["logits"].counts.sum() == 2


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_ranges_do_not_depend_on_batch_or_order(graph: ModelProto, dataset: Dataset, batch: int):
    ecg = dataset.batch(np.arange(20))[0]
    whole = observe(graph, [ecg])
    turned = ecg[::-1].copy()
    parts = observe(graph, (turned[i : i + batch] for i in range(0, 20, batch)))
    assert whole.keys() == parts.keys() == {"ecg"} | {n for node in graph.graph.node for n in node.output}
    for name, seen in whole.items():
        for method in ("minmax", "percentile:99.9"):
            expected = parse_method(method)(seen)
            np.testing.assert_allclose(parse_method(method)(parts[name]), expected, atol=1e-5 + 2 * seen.width)
            assert expected[0] < expected[1]


def test_batches_are_taken_one_by_one():
    """However many there are, no more than the one before is still held when the next is asked for."""
    held: list[weakref.ref[np.ndarray]] = []

    def batches() -> Iterator[np.ndarray]:
        for number in range(20):
            ecg = np.full((4, 1, 6), number, np.float32)
            held.append(weakref.ref(ecg))
            yield ecg
            del ecg
            assert sum(each() is not None for each in held) <= 1

    assert minmax(observe(onnx.parser.parse_model(SMALL), batches())["ecg"]) == (0, 19)
    assert len(held) == 20


def test_the_graph_is_left_as_it_was(graph: ModelProto, dataset: Dataset):
    before = graph.SerializeToString()
    observe(graph, [dataset.batch(np.arange(1))[0]])
    assert graph.SerializeToString() == before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_refused(value: float):
    ecg = np.zeros((1, 1, 6), np.float32)
    ecg[0, 0, 3] = value
    with pytest.raises(InputError, match="calibration: tensor ecg is not finite"):
        observe(onnx.parser.parse_model(SMALL), [ecg])


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(np.float32, st.integers(1, 60), elements=FLOATS), st.data())
def test_a_histogram_depends_on_neither_order_nor_batches(values: np.ndarray, data: st.DataObject):
    """One value after another, in any order, gives the bins that numpy gives for all of them at once."""
    whole = histogram(values)
    parts = histogram(*np.array_split(np.asarray(data.draw(st.permutations(list(values))), np.float32), len(values)))
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert (parts.low, parts.high, parts.width) == (whole.low, whole.high, whole.width)
    edges = np.arange(-(2**14), 2**14 + 1) * whole.width
    np.testing.assert_array_equal(whole.counts, np.histogram(values.astype(np.float64), edges)[0])
    largest = np.abs(values).max()
    assert largest < 2**14 * whole.width and (largest >= 2**13 * whole.width or whole.width < 2.0**-70)


def test_memory_does_not_grow_with_the_values():
    one, many = histogram([1.0]), histogram(*np.random.default_rng(0).normal(0, 1e4, (200, 50)))
    assert one.counts.nbytes == many.counts.nbytes == 2**15 * 8
    assert many.counts.sum() == 10_000


@pytest.mark.parametrize("share", [99.0, 99.9, 99.99, 99.999, 100.0])
@pytest.mark.parametrize("kind", ["signed", "relu", "lopsided", "negative"])
def test_percentiles_are_those_of_numpy_to_a_bin(share: float, kind: str):
    values = np.random.default_rng(1).standard_t(3, 400_000).astype(np.float32)
    values = {
        "signed": values,
        "relu": np.maximum(values, 0),
        "lopsided": np.abs(values) - np.float32(0.3),
        "negative": -np.abs(values) - 1,
    }[kind]
    seen = histogram(*np.array_split(values, 7))
    tail = (100 - share) / 2
    low, high = np.percentile(values.astype(np.float64), [tail, 100 - tail], method="inverted_cdf")
    found = percentile(seen, share=share)
    assert low - 3 * seen.width <= found[0] <= low + 1e-6 or found[0] == 0 < low
    assert high - 1e-6 <= found[1] <= high + 3 * seen.width or found[1] == 0 > high
    if kind == "relu":
        assert found[0] == 0
    if share == 100:
        assert found == minmax(seen)


def plain_threshold(counts: list[int], levels: int) -> int:
    """The definition of `entropy_threshold`, element by element, with scipy's divergence."""
    counts = [counts[1], *counts[1:]]
    best, threshold = np.inf, len(counts)
    for size in range(levels, len(counts) + 1):
        reference = [float(count) for count in counts[:size]]
        reference[-1] += sum(counts[size:])
        quantised = [0.0] * size
        for level in range(levels):
            group = [i for i in range(size) if i * levels // size == level]
            filled = [i for i in group if counts[i] > 0]
            for i in filled:
                quantised[i] = sum(counts[j] for j in group) / len(filled)
        if sum(quantised) == 0:
            continue
        divergence = kl_divergence(reference, quantised)
        if divergence < best - 1e-12:
            best, threshold = divergence, size
    return threshold


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 50), min_size=9, max_size=40), st.sampled_from([4, 8]))
def test_the_entropy_threshold_is_that_of_the_definition(counts: list[int], levels: int):
    counts[1] = max(counts[1], 1)
    assert entropy_threshold(np.array(counts), levels) == plain_threshold(counts, levels)


def test_the_entropy_threshold_cuts_a_tail_and_keeps_a_plateau():
    tail = np.bincount(np.minimum(np.random.default_rng(0).exponential(40, 100_000).astype(int), 1023), minlength=1024)
    assert 128 < entropy_threshold(tail, 128) < 600
    assert entropy_threshold(np.full(1024, 100), 128) == 1024
    assert entropy_threshold(np.full(100, 7), 128) == 100


def test_entropy_is_near_that_of_onnx_runtime():
    """Its own version counts in whole numbers and treats zeros in another way, so the two agree only roughly."""
    values = np.random.default_rng(2).laplace(0, 1, 200_000).astype(np.float32)
    ours = entropy(histogram(values))
    largest = float(np.abs(values).max())
    counts, edges = np.histogram(values, 1025, (-largest, largest))
    collector = HistogramCollector("entropy", True, 1025, 128, 99.99, "same")
    theirs = collector.get_entropy_threshold((counts, edges.astype(np.float32), values.min(), values.max()), 256)
    assert ours[0] == pytest.approx(float(theirs[0]), rel=0.35) and ours[1] == pytest.approx(float(theirs[1]), rel=0.35)
    assert ours[1] < largest


@pytest.mark.parametrize("method", [minmax, entropy])
def test_a_relu_keeps_zero_and_silence_has_no_range(method):
    assert method(histogram(np.zeros(9))) == (0, 0)
    low, high = method(histogram(np.maximum(np.random.default_rng(0).normal(size=10_000), 0)))
    assert low == 0 < high
    low, high = method(histogram(np.full(5, -3.0)))
    assert (low, high) == (-3, 0)


@pytest.mark.parametrize("text", ["minmax", "percentile:99.99", "percentile:100", "entropy"])
def test_methods_have_names(text: str):
    values = np.random.default_rng(0).normal(size=20_000)
    low, high = parse_method(text)(histogram(values))
    assert values.min() - 1e-6 <= low < -2 and 2 < high <= values.max() + 1e-6


@pytest.mark.parametrize(
    "text", ["", "max", "percentile", "percentile:", "percentile:50", "percentile:101", "percentile:x", "minmax:1"]
)
def test_an_unknown_method_is_refused_in_one_line(text: str):
    with pytest.raises(InputError, match=f"^--calibration {text}: unknown; .*choose auto, minmax, percentile:99.99"):
        parse_method(text)
