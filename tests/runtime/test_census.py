"""The census counts what ONNX Runtime executes, not what the file says."""

from collections.abc import Callable
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType

from edgeguard.runtime.census import float_convolutions, fused_operators
from edgeguard.runtime.host_form import host_form


def test_a_float_model_runs_its_convolutions_in_float(residual_path: Path) -> None:
    census = fused_operators(residual_path)
    assert float_convolutions(census) == 3
    assert "QLinearConv" not in census


def test_an_int8_model_runs_all_convolutions_in_int8(quantized: Callable) -> None:
    model = onnx.load(quantized(QuantType.QInt8))
    for form in (model, host_form(model)):
        census = fused_operators(form)
        assert census["QLinearConv"] == 3
        assert census["QLinearAdd"] == 1
        assert census["QLinearGlobalAveragePool"] == 1
        assert float_convolutions(census) == 0


def test_a_convolution_left_out_of_quantisation_is_counted(quantized: Callable) -> None:
    """Without its output quantiser, the last convolution finds no fused kernel."""
    model = onnx.load(quantized(QuantType.QInt8))
    maker = {node.output[0]: node for node in model.graph.node}
    pool = next(node for node in model.graph.node if node.op_type == "GlobalAveragePool")
    dequantize = maker[pool.input[0]]
    pool.input[0] = maker[dequantize.input[0]].input[0]
    assert float_convolutions(fused_operators(model)) == 1
