import weakref
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from edgeguard.ecg.dataset import Dataset
from edgeguard.export.calibrate import activation_ranges

SMALL = """
<ir_version: 10, opset_import: ["" : 21]>
agraph (float[n,1,6] ecg) => (float[n,1,1] logits) <float two = {2}> {
    double = Mul (ecg, two)
    positive = Relu (double)
    logits = GlobalAveragePool (positive)
}
"""


def test_ranges_of_a_graph_by_hand():
    ecg = np.array([[[-3, 0, 1, 2, 5, 1]], [[-7, 0, 0, 0, 0, 3]]], np.float32)
    ranges = activation_ranges(onnx.parser.parse_model(SMALL), [ecg[:1], ecg[1:]])
    assert ranges == {
        "ecg": (-7, 5),
        "double": (-14, 10),
        "positive": (0, 10),
        "logits": (1, 3),
    }


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_ranges_do_not_depend_on_batch_or_order(graph: ModelProto, dataset: Dataset, batch: int):
    ecg = dataset.batch(np.arange(20))[0]
    whole = activation_ranges(graph, [ecg])
    turned = ecg[::-1].copy()
    parts = activation_ranges(graph, (turned[i : i + batch] for i in range(0, 20, batch)))
    assert whole.keys() == parts.keys() == {"ecg"} | {n for node in graph.graph.node for n in node.output}
    for name, bounds in whole.items():
        np.testing.assert_allclose(parts[name], bounds, rtol=1e-5, atol=1e-5)
        assert bounds[0] < bounds[1]


def test_batches_are_taken_one_by_one(dataset: Dataset):
    """However many there are, no more than the one before is still held when the next is asked for."""
    held: list[weakref.ref[np.ndarray]] = []

    def batches() -> Iterator[np.ndarray]:
        for number in range(20):
            ecg = np.full((4, 1, 6), number, np.float32)
            held.append(weakref.ref(ecg))
            yield ecg
            del ecg
            assert sum(each() is not None for each in held) <= 1

    assert activation_ranges(onnx.parser.parse_model(SMALL), batches())["ecg"] == (0, 19)
    assert len(held) == 20


def test_the_graph_is_left_as_it_was(graph: ModelProto, dataset: Dataset):
    before = graph.SerializeToString()
    activation_ranges(graph, [dataset.batch(np.arange(1))[0]])
    assert graph.SerializeToString() == before
