"""Ranges of every activation over calibration windows, in memory that does not grow with their number."""

from collections.abc import Iterable

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, helper

from edgeguard.export.float_graph import INPUT
from edgeguard.runtime.flags import session_options

Range = tuple[float, float]


def activation_ranges(model: ModelProto, batches: Iterable[np.ndarray]) -> dict[str, Range]:
    """(lowest, highest) value of every float tensor that a node of the graph computes.

    Only two numbers a tensor are kept, so memory does not depend on how many batches come.

    Args:
        batches: float32 [B, 1, T] microvolts, one after another.
    """
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output]
    del observed.graph.output[:]
    observed.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    session = onnxruntime.InferenceSession(
        observed.SerializeToString(), session_options(), providers=["CPUExecutionProvider"]
    )
    ranges = {name: (np.inf, -np.inf) for name in [INPUT, *names]}
    for ecg in batches:
        values = session.run(names, {INPUT: ecg})
        for name, value in zip([INPUT, *names], [ecg, *values], strict=True):
            low, high = ranges[name]
            ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))
    return ranges
