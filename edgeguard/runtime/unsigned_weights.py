"""The form of an int8 file for processors whose products of uint8 and int8 saturate: uint8 weights (U8U8).

A weight w with zero point z is the same number as w + 128 with z + 128, so the sums are equal in every bit. ONNX
Runtime adds products of two uint8 in 32 bits everywhere. Its own option for this, `session.x64quantprecision`, leaves
QLinearMatMul as it is and fails on graphs that have int8 activations too.
"""

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgeguard.errors import InputError
from edgeguard.runtime.census import optimized_model
from edgeguard.runtime.loading import constants
from edgeguard.runtime.saturation import OPERANDS, graph_bounds, saturating_layers

_SHIFT = 128


def unsigned_weights(model: ModelProto) -> ModelProto:
    """The graph that ONNX Runtime makes of a model, with stored int8 weights that meet uint8 activations as uint8.

    Raises InputError where weights that are computed while the model runs may still overflow, and one of RUNTIME_ERRORS
    for a model that ONNX Runtime cannot load.
    """
    form = optimized_model(model, level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED)
    known = constants(form.graph)
    for number, node in enumerate(saturating_layers(form.graph)):
        weights, zero = OPERANDS[node.op_type].weights, OPERANDS[node.op_type].weights_zero
        if node.input[weights] in known:
            node.input.extend([""] * (zero + 1 - len(node.input)))
            _raise(form, node, weights, known[node.input[weights]], f"{number}_weights")
            _raise(form, node, zero, known.get(node.input[zero]), f"{number}_zero_point")
    if not all(bound.fits for bound in graph_bounds(form.graph)):
        raise InputError(
            "its 8-bit sums may overflow on this processor, which lacks VNNI, as it computes weights; "
            "store them in the file, or use a processor with VNNI"
        )
    return form


def _raise(model: ModelProto, node: NodeProto, place: int, tensor: TensorProto | None, name: str) -> None:
    """Put the values raised by 128 in the place of an int8 input; an absent one stands for zero."""
    values = np.zeros((), np.int16) if tensor is None else numpy_helper.to_array(tensor).astype(np.int16)
    raised = numpy_helper.from_array((values + _SHIFT).astype(np.uint8), f"edgeguard_unsigned_{name}")
    model.graph.initializer.append(raised)
    node.input[place] = raised.name
