"""The form of an int8 file that hosts run fast: uint8 activations, int8 weights (U8S8).

MCU toolchains want int8 activations (S8S8). ONNX Runtime's kernels on x86 want uint8 ones. Both hold the same
codes, shifted by 128, so one can be derived from the other by rewriting zero points and types.
"""

import numpy as np
import onnx
from onnx import numpy_helper

from edgeguard.runtime.loading import constants

_PASS_THROUGH = {
    "Concat",
    "Flatten",
    "Gather",
    "Identity",
    "MaxPool",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
"""Operators that move or select codes without arithmetic: shifted codes in, shifted codes out."""

_SHIFT = 128


class _NotShiftableError(Exception):
    """The graph holds int8 activations in a place where a shift by 128 would change what it computes."""


def host_form(model: onnx.ModelProto) -> onnx.ModelProto:
    """The U8S8 twin of an S8S8 QDQ model; any other model comes back as it is.

    Every per-tensor int8 activation between a QuantizeLinear and its DequantizeLinear becomes uint8 with its
    zero point raised by 128. Weights and biases are untouched. The given model is not changed.
    """
    known = constants(model.graph)
    if not any(_is_activation_quantizer(node, known) for node in model.graph.node):
        return model
    twin = onnx.ModelProto()
    twin.CopyFrom(model)
    try:
        _shift_codes(twin.graph)
    except _NotShiftableError:
        return model
    return twin


def _is_activation_quantizer(node: onnx.NodeProto, known: dict[str, onnx.TensorProto]) -> bool:
    if node.op_type != "QuantizeLinear" or node.input[0] in known:
        return False
    if len(node.input) > 2 and node.input[2]:
        zero_point = known.get(node.input[2])
        return zero_point is not None and zero_point.data_type == onnx.TensorProto.INT8
    return any(a.name == "output_dtype" and a.i == onnx.TensorProto.INT8 for a in node.attribute)


def _shift_codes(graph: onnx.GraphProto) -> None:
    known = constants(graph)
    outputs = {value.name for value in graph.output}
    shifted: set[str] = set()
    new_zero_points: dict[str, onnx.TensorProto] = {}

    def shift(node: onnx.NodeProto) -> None:
        zero_point = _zero_point(node, known)
        name = f"edgeguard_uint8_zero_point_{zero_point + _SHIFT}"
        new_zero_points[name] = numpy_helper.from_array(np.array(zero_point + _SHIFT, np.uint8), name)
        node.input[:] = [*node.input[:2], name]

    for node in graph.node:
        touched = [name in shifted for name in node.input]
        if _is_activation_quantizer(node, known):
            shift(node)
            kept = [a for a in node.attribute if a.name != "output_dtype"]
            del node.attribute[:]
            node.attribute.extend(kept)
            shifted.add(node.output[0])
        elif node.op_type == "DequantizeLinear":
            if touched[0]:
                shift(node)
            elif node.input[0] not in known and _zero_point_type(node, known) == onnx.TensorProto.INT8:
                raise _NotShiftableError
        elif any(touched):
            if node.op_type not in _PASS_THROUGH or not _codes_all_shifted(node, touched):
                raise _NotShiftableError
            shifted.update(node.output)
    if shifted & outputs:
        raise _NotShiftableError
    graph.initializer.extend(new_zero_points.values())
    typed = [value for value in graph.value_info if value.name not in shifted]
    del graph.value_info[:]
    graph.value_info.extend(typed)


def _codes_all_shifted(node: onnx.NodeProto, touched: list[bool]) -> bool:
    """Concat joins codes of all its inputs; the others carry codes in the first input only."""
    return all(touched) if node.op_type == "Concat" else touched[0]


def _zero_point_type(node: onnx.NodeProto, known: dict[str, onnx.TensorProto]) -> int | None:
    if len(node.input) > 2 and node.input[2] in known:
        return known[node.input[2]].data_type
    return None


def _zero_point(node: onnx.NodeProto, known: dict[str, onnx.TensorProto]) -> int:
    """The int8 zero point of a per-tensor Q or DQ node; 0 where it has none."""
    scale = known.get(node.input[1])
    if scale is None or int(np.prod(scale.dims)) != 1:
        raise _NotShiftableError
    if len(node.input) < 3 or not node.input[2]:
        return 0
    if node.input[2] not in known:
        raise _NotShiftableError
    return int(numpy_helper.to_array(known[node.input[2]]).item())
