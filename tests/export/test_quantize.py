"""The int8 file as microcontroller tools want it: S8S8, weights per channel, a stated input step."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, NodeProto, TensorProto

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import Split
from edgeguard.errors import InputError
from edgeguard.export.calibrate import Range, minmax, observe, parse_method
from edgeguard.export.graph_passes import consumers, initializers
from edgeguard.export.quantize import InputCodes, float_convolutions, quantize
from edgeguard.runtime import census
from edgeguard.runtime.census import fused_operators
from edgeguard.runtime.flags import create_session, session_options
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.input_quantizer import read_input_quantizer

Ranges = dict[str, Range]


@pytest.fixture(scope="module")
def batches(dataset: Dataset, parts: Split) -> list[np.ndarray]:
    return [dataset.batch(parts.train[i : i + 8])[0] for i in range(0, 24, 8)]


@pytest.fixture(scope="module")
def ranges(graph: ModelProto, batches: list[np.ndarray]) -> Ranges:
    return {name: minmax(seen) for name, seen in observe(graph, InputCodes().clipped(batches)).items()}


@pytest.fixture(scope="module")
def quantized(graph: ModelProto, ranges: Ranges) -> ModelProto:
    return quantize(graph, ranges)


def types(model: ModelProto) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def nodes(model: ModelProto, operator: str) -> list[NodeProto]:
    return [node for node in model.graph.node if node.op_type == operator]


def test_the_record_feeds_the_quantiser_directly(quantized: ModelProto):
    (first,) = consumers(quantized)["ecg"]
    assert first.op_type == "QuantizeLinear"
    values = initializers(quantized)
    assert float(values[first.input[1]]) == 31.25
    assert int(values[first.input[2]]) == 0 and values[first.input[2]].dtype == np.int8
    assert InputCodes().range == (-4000, 3968.75)
    assert quantized.graph.input[0].type.tensor_type.elem_type == TensorProto.FLOAT


@pytest.mark.parametrize("step", [10.0, 50.0])
def test_the_input_step_is_designed(graph: ModelProto, ranges: Ranges, step: float):
    model = quantize(graph, ranges, codes=InputCodes(8, step))
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


def test_the_float_graph_and_the_logger_are_left_alone(graph: ModelProto, ranges: Ranges):
    before, level = graph.SerializeToString(), logging.getLogger().level
    first, second = quantize(graph, ranges), quantize(graph, ranges)
    assert graph.SerializeToString() == before and logging.getLogger().level == level
    assert first.SerializeToString() == second.SerializeToString()


@pytest.mark.parametrize("codes", [InputCodes(), InputCodes(8, 15.625), InputCodes(16, 0.5)])
def test_calibration_sees_records_as_the_input_quantiser_cuts_them(
    graph: ModelProto, batches: list[np.ndarray], codes: InputCodes
):
    """A sample beyond the codes changes nothing over one at their end."""
    high, low = [batch.copy() for batch in batches], [batch.copy() for batch in batches]
    high[0][0, 0, 1000:1040], low[0][0, 0, 1000:1040] = 30_000, codes.range[1]
    seen, expected = (observe(graph, codes.clipped(records)) for records in (high, low))
    for name, each in seen.items():
        np.testing.assert_array_equal(each.counts, expected[name].counts)
        assert (each.low, each.high) == (expected[name].low, expected[name].high)


def left_in_float(model: ModelProto) -> int:
    return census.float_convolutions(fused_operators(host_form(model)))


@pytest.mark.parametrize("method", ["minmax", "percentile:99.9", "entropy"])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_excluded_convolution_stays_in_float_with_every_method(
    graph: ModelProto, batches: list[np.ndarray], method: str, bits: int
):
    """In the file and in what ONNX Runtime makes of it, which would quantise the weights itself."""
    codes = InputCodes(bits, 31.25 if bits == 8 else 1.0)
    seen = observe(graph, codes.clipped(batches[:1]))
    ranges = {tensor: parse_method(method)(each) for tensor, each in seen.items()}
    names = [node.name for node in nodes(graph, "Conv")[2:4]]
    for exclude in (names[:1], names):
        model = quantize(graph, ranges, codes=codes, exclude=exclude)
        kept = [node.name for node in nodes(model, "Conv") if types(model).get(node.input[1]) == TensorProto.FLOAT]
        assert kept == exclude
        expected = len(exclude) + (bits == 16)
        assert left_in_float(model) == expected == float_convolutions(graph, codes=codes, exclude=exclude)


@pytest.mark.parametrize("operator", ["Add", "GlobalAveragePool"])
def test_any_node_can_be_excluded(graph: ModelProto, ranges: Ranges, quantized: ModelProto, operator: str):
    name = nodes(graph, operator)[0].name
    made, usual = (fused_operators(host_form(each)) for each in (quantize(graph, ranges, exclude=[name]), quantized))
    assert made[operator] == 1 and operator not in usual
    assert made.get(f"QLinear{operator}", 0) == usual[f"QLinear{operator}"] - 1


def test_what_keeps_a_node_in_float_changes_no_value(graph: ModelProto, ranges: Ranges, batches: list[np.ndarray]):
    """Without the clip in between the excluded pool reads the very same values."""
    model = quantize(graph, ranges, exclude=[nodes(graph, "GlobalAveragePool")[0].name])
    (clip,) = nodes(model, "Clip")
    bare = ModelProto()
    bare.CopyFrom(model)
    for node in bare.graph.node:
        node.input[:] = [clip.input[0] if name == clip.output[0] else name for name in node.input]
    plain = session_options()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    for ecg in (batches[0], 100 * batches[0]):
        np.testing.assert_array_equal(outputs(model, ecg, plain), outputs(bare, ecg, plain))


def test_a_node_that_is_not_there_cannot_be_excluded(graph: ModelProto, ranges: Ranges):
    with pytest.raises(InputError, match="--exclude Conv_99: no such node; choose Add_"):
        quantize(graph, ranges, exclude=["Conv_99"])


def test_sixteen_bits_resolve_a_microvolt_and_only_the_stem_computes_in_float(
    graph: ModelProto, ranges: Ranges, batches: list[np.ndarray]
):
    codes = InputCodes(16, 1.0)
    assert codes.range == (-32768, 32767)
    model = quantize(graph, ranges, codes=codes)
    (first,) = consumers(model)["ecg"]
    values = initializers(model)
    assert first.op_type == "QuantizeLinear" and values[first.input[2]].dtype == np.int16
    assert float(values[first.input[1]]) == 1 == read_input_quantizer(model, "ecg").step
    (back,) = consumers(model)[first.output[0]]
    (conv,) = consumers(model)[back.output[0]]
    (original,) = consumers(graph)["ecg"]
    assert (back.op_type, conv.op_type, conv.name) == ("DequantizeLinear", "Conv", original.name)
    assert left_in_float(model) == 1 == float_convolutions(graph, codes=codes)
    onnx.checker.check_model(model, full_check=True)
    whole = np.rint(batches[0])
    np.testing.assert_array_equal(outputs(model, whole), outputs(model, whole + np.float32(0.4)))
    expected = outputs(graph, batches[0])
    assert np.abs(outputs(model, batches[0]) - expected).max() < np.abs(expected).max() / 10


def outputs(model: ModelProto, ecg: np.ndarray, options: onnxruntime.SessionOptions | None = None) -> np.ndarray:
    session = create_session(model.SerializeToString(), options or session_options())
    logits: np.ndarray = session.run(["logits"], {"ecg": ecg})[0]
    return logits


def test_portable_weights_have_seven_bits(graph: ModelProto, ranges: Ranges, quantized: ModelProto):
    portable = quantize(graph, ranges, portable=True)
    for model, largest in ((quantized, 127), (portable, 64)):
        values = initializers(model)
        dequantizers = {node.output[0]: node for node in nodes(model, "DequantizeLinear")}
        codes = [values[dequantizers[conv.input[1]].input[0]] for conv in nodes(model, "Conv")]
        assert {int(np.abs(each.astype(int)).max()) for each in codes} == {largest}
    for node, other in zip(nodes(portable, "QuantizeLinear"), nodes(quantized, "QuantizeLinear"), strict=True):
        assert initializers(portable)[node.input[1]] == initializers(quantized)[other.input[1]]
