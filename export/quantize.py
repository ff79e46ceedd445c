"""Float ONNX to int8 QDQ: S8S8, weights per channel, the input step designed rather than calibrated."""

import logging
from collections.abc import Iterable, Sequence

import numpy as np
from onnx import ModelProto, checker
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import TensorData
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from edgeguard.errors import InputError
from edgeguard.export.calibrate import Range, activation_ranges
from edgeguard.export.float_graph import INPUT

INPUT_STEP_UV = 31.25
"""Step of the int8 input: codes -128 to 127 cover -4 to 3.97 mV."""

_QUANTISED = (
    "Conv",
    "Relu",
    "Add",
    "MaxPool",
    "AveragePool",
    "GlobalAveragePool",
    "Slice",
    "Concat",
    "Pad",
    "Reshape",
    "Flatten",
)


def input_range(step: float = INPUT_STEP_UV) -> Range:
    """Microvolts that the int8 codes reach, zero at code zero."""
    return -128 * step, 127 * step


def quantize(
    model: ModelProto,
    batches: Iterable[np.ndarray],
    *,
    step: float = INPUT_STEP_UV,
    exclude: Sequence[str] = (),
) -> ModelProto:
    """The int8 form of a float graph.

    The last Gemm stays in float: int8 logits would tie, and ONNX Runtime has no S8S8 kernel with float output.

    Args:
        model: a graph that `export_float` made.
        batches: calibration windows float32 [B, 1, T] in microvolts, from training records only.
        step: of the input quantiser, microvolts.
        exclude: names of nodes to leave in float.

    Raises InputError for an excluded node that the graph lacks.
    """
    names = {node.name for node in model.graph.node}
    if missing := [name for name in exclude if name not in names]:
        raise InputError(f"--exclude {missing[0]}: no such node; the graph has {', '.join(sorted(names))}")
    low, high = input_range(step)
    ranges = activation_ranges(model, (np.clip(ecg, low, high) for ecg in batches))
    ranges[INPUT] = (low, high)
    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # the quantiser reports each node on the root logger
    try:
        copied = ModelProto()
        copied.CopyFrom(model)
        quantizer = QDQQuantizer(
            copied,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range={name: _tensor_data(bounds) for name, bounds in ranges.items()},
            nodes_to_quantize=[],
            nodes_to_exclude=list(exclude),
            op_types_to_quantize=list(_QUANTISED),
            extra_options={"ForceQuantizeNoInputCheck": True},
        )
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    finally:
        logger.setLevel(level)
    result: ModelProto = quantizer.model.model
    del result.metadata_props[:]
    result.producer_name = "edgeguard"
    checker.check_model(result, full_check=True)
    return result


def _tensor_data(bounds: Range) -> TensorData:
    low, high = bounds
    return TensorData(lowest=np.float32(low), highest=np.float32(high))
