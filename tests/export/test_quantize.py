"""The int8 file as microcontroller tools want it: S8S8, weights per channel, a stated input step."""

import logging

import numpy as np
import onnx
import pytest
from onnx import ModelProto, NodeProto, TensorProto

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split
from edgeguard.errors import InputError
from edgeguard.export.float_graph import consumers, initializers
from edgeguard.export.quantize import INPUT_STEP_UV, input_range, quantize


@pytest.fixture(scope="module")
def batches(dataset: Dataset, parts: Split) -> list[np.ndarray]:
    return [dataset.batch(parts.train[i : i + 8])[0] for i in range(0, 24, 8)]


@pytest.fixture(scope="module")
def quantized(graph: ModelProto, batches: list[np.ndarray]) -> ModelProto:
    return quantize(graph, batches)


def types(model: ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def nodes(model: ModelProto, operator: str) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type == operator]


def test_the_record_feeds_the_quantiser_directly(quantized: ModelProto):
    (first,) = consumers(quantized)["ecg"]
    assert first.op_type == "QuantizeLinear"
    values = initializers(quantized)
    assert float(values[first.input[1]]) == INPUT_STEP_UV == 31.25
    assert int(values[first.input[2]]) == 0 and values[first.input[2]].dtype == np.int8
    assert input_range() == (-4000, 3968.75)
    assert quantized.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("step", [10.0, 50.0])
def test_the_input_step_is_designed(graph: ModelProto, batches: list[np.ndarray], step: float):
    model = quantize(graph, batches, step=step)
    (first,) = consumers(model)["ecg"]
    assert float(initializers(model)[first.input[1]]) == pytest.approx(step, rel=1e-6)
    assert int(initializers(model)[first.input[2]]) == 0


def test_activations_are_int8_with_one_scale(quantized: ModelProto):
    known, values = types(quantized), initializers(quantized)
    quantizers = nodes(quantized, "QuantizeLinear")
    assert len(quantizers) > 10
    for node in quantizers:
        assert known[node.input[2]] == TensorProto.INT8 and values[node.input[1]].size == 1
    for node in nodes(quantized, "DequantizeLinear"):
        if node.input[0] not in known:
            assert known[node.input[2]] == TensorProto.INT8


def test_weights_are_int8_per_channel_and_right_to_half_a_step(quantized: ModelProto, graph: ModelProto):
    known, values, original = types(quantized), initializers(quantized), initializers(graph)
    dequantizers = {node.output[0]: node for node in nodes(quantized, "DequantizeLinear")}
    originals = {node.name: node for node in nodes(graph, "Conv")}
    convolutions = nodes(quantized, "Conv")
    assert len(convolutions) == len(originals)
    for conv in convolutions:
        assert conv.input[0] in dequantizers
        weight = dequantizers[conv.input[1]]
        codes, scale = values[weight.input[0]], values[weight.input[1]]
        assert known[weight.input[0]] == TensorProto.INT8 and scale.shape == (len(codes),)
        assert next(a.i for a in weight.attribute if a.name == "axis") == 0
        assert not values[weight.input[2]].any()
        error = np.abs(codes * scale[:, None, None] - original[originals[conv.name].input[1]])
        assert (error <= 0.5001 * scale[:, None, None]).all()
        bias = dequantizers[conv.input[2]]
        assert known[bias.input[0]] == TensorProto.INT32


def test_the_last_gemm_stays_in_float(quantized: ModelProto, graph: ModelProto):
    (gemm,) = nodes(quantized, "Gemm")
    assert gemm.output[0] == "logits"
    assert all(types(quantized)[name] == TensorProto.FLOAT for name in gemm.input[1:])
    values, original = initializers(quantized), initializers(graph)
    for name, other in zip(gemm.input[1:], nodes(graph, "Gemm")[0].input[1:], strict=True):
        np.testing.assert_array_equal(values[name], original[other])


def test_the_file_stays_bare_and_valid(quantized: ModelProto):
    onnx.checker.check_model(quantized, full_check=True)
    assert {(entry.domain, entry.version) for entry in quantized.opset_import} == {("", 21)}
    assert quantized.producer_name == "edgeguard" and not quantized.metadata_props
    dimension = quantized.graph.input[0].type.tensor_type.shape.dim[0]
    assert dimension.dim_param == "batch"


def test_the_float_graph_and_the_logger_are_left_alone(graph: ModelProto, batches: list[np.ndarray]):
    before, level = graph.SerializeToString(), logging.getLogger().level
    first, second = quantize(graph, batches), quantize(graph, iter(batches))
    assert graph.SerializeToString() == before and logging.getLogger().level == level
    assert first.SerializeToString() == second.SerializeToString()


def test_calibration_sees_records_as_the_input_quantiser_cuts_them(graph: ModelProto, batches: list[np.ndarray]):
    """A sample beyond the codes changes nothing over one at their end."""
    high, low = [batch.copy() for batch in batches], [batch.copy() for batch in batches]
    high[0][0, 0, 1000:1040], low[0][0, 0, 1000:1040] = 30_000, input_range()[1]
    assert quantize(graph, high).SerializeToString() == quantize(graph, low).SerializeToString()


def test_an_excluded_node_stays_in_float(graph: ModelProto, batches: list[np.ndarray]):
    name = nodes(graph, "Conv")[2].name
    model = quantize(graph, batches, exclude=[name])
    (kept,) = [node for node in nodes(model, "Conv") if node.name == name]
    assert types(model)[kept.input[1]] == TensorProto.FLOAT
    assert sum(types(model).get(node.input[1]) == TensorProto.FLOAT for node in nodes(model, "Conv")) == 1


def test_a_node_that_is_not_there_cannot_be_excluded(graph: ModelProto, batches: list[np.ndarray]):
    with pytest.raises(InputError, match="--exclude Conv_99: no such node; the graph has Add_"):
        quantize(graph, batches, exclude=["Conv_99"])
