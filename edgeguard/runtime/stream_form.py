"""The form of a streaming file that hosts run fast: U8S8, and states read where the last hop left them.

Like `edgeguard.runtime.host_form`, derived in memory from the file on disk: equal codes, shifted by 128. A state's
output is a slice of a longer tensor, and its elements lie side by side there; the host hands out the whole tensor and
lets the next hop read the slice in place, which saves an operator a state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.loading import constants

PAST, PRESENT = "past_", "present_"
_BORROWED = "edgeguard_host_"


@dataclass(frozen=True)
class State:
    """One state of a stream as a host runs it.

    Attributes:
        name: without `past_`.
        shape: of the state.
        dtype: as the host holds it.
        shifted: whether the file on disk holds int8 where the host holds uint8, 128 higher.
        whole: shape of the output that it is part of.
        offset: elements before it there.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    shifted: bool
    whole: tuple[int, ...]
    offset: int


def stream_form(model: ModelProto) -> tuple[ModelProto, list[State]]:
    """What a host runs in place of a streaming file, and where its states lie; the given model is not changed."""
    shifted = _shifted(model)
    form = ModelProto()
    form.CopyFrom(shifted)
    graph, known = form.graph, constants(form.graph)
    shapes = {value.name: _shape(value) for value in model.graph.value_info}
    on_disk = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    states = []
    for value in [value for value in graph.input if value.name.startswith(PAST)]:
        name, shape = value.name.removeprefix(PAST), _shape(value)
        whole, offset = _read_in_place(graph, known, shapes, PRESENT + name, shape)
        kind = value.type.tensor_type.elem_type
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
        states.append(State(name, shape, dtype, kind != on_disk[value.name], whole, offset))
    return form, states


def _read_in_place(
    graph: GraphProto,
    known: Mapping[str, TensorProto],
    shapes: Mapping[str, tuple[int, ...]],
    output: str,
    shape: tuple[int, ...],
) -> tuple[tuple[int, ...], int]:
    """Drop the Slice that makes an output where its elements lie side by side: (shape of the whole, elements before).

    The whole tensor takes the output's name.
    """
    maker = next(node for node in graph.node if output in node.output)
    if maker.op_type != "Slice" or not all(name in known for name in maker.input[1:]):
        return shape, 0
    start, _, axis, step = (int(numpy_helper.to_array(known[name]).item()) for name in maker.input[1:])
    whole = shapes.get(maker.input[0])
    if step != 1 or prod(shape[:axis]) != 1 or whole is None:
        return shape, 0
    graph.node.remove(maker)
    for node in graph.node:
        node.input[:] = [output if name == maker.input[0] else name for name in node.input]
        node.output[:] = [output if name == maker.input[0] else name for name in node.output]
    value = next(value for value in graph.output if value.name == output)
    for dim, size in zip(value.type.tensor_type.shape.dim, whole, strict=True):
        dim.dim_value = size
    return whole, start * prod(shape[axis + 1 :])


def _shifted(model: ModelProto) -> ModelProto:
    """The U8S8 form, states and all; the model itself where there is none.

    States stand between two graphs as codes between a quantiser and its inverse, and so does the sum over a hop, which
    reads codes: with these in their places for a moment, the file is one like any other.
    """
    opened = ModelProto()
    opened.CopyFrom(model)
    _lend_quantizers(opened.graph)
    shifted = host_form(opened)
    if shifted is opened:
        return model
    _take_back(shifted.graph)
    return shifted


def _lend_quantizers(graph: GraphProto) -> None:
    known = constants(graph)
    one, zero = f"{_BORROWED}one", f"{_BORROWED}zero"
    graph.initializer.append(numpy_helper.from_array(np.array(1, np.float32), one))
    graph.initializer.append(numpy_helper.from_array(np.array(0, np.int8), zero))
    before, after = [], []
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.INT8:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            inside, value.name = value.name, _BORROWED + value.name
            before.append(_borrowed("QuantizeLinear", [value.name, one, zero], inside))
    for value in graph.output:
        if value.type.tensor_type.elem_type == TensorProto.INT8:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            inside, value.name = value.name, _BORROWED + value.name
            after.append(_borrowed("DequantizeLinear", [inside, one, zero], value.name))
    nodes = list(graph.node)
    for place, node in enumerate(nodes):
        if node.op_type == "MatMulInteger" and known[node.input[3]].data_type == TensorProto.INT8:
            # Kept by name beside what stands in for it: the matrix of ones.
            nodes[place] = _borrowed("DequantizeLinear", [node.input[1], one, node.input[3]], node.output[0])
            nodes[place].doc_string = node.input[0]
    del graph.node[:]
    graph.node.extend([*before, *nodes, *after])


def _borrowed(operator: str, inputs: list[str], output: str) -> NodeProto:
    return helper.make_node(operator, inputs, [output], name=_BORROWED + output)


def _take_back(graph: GraphProto) -> None:
    nodes = []
    for node in graph.node:
        if not node.name.startswith(_BORROWED):
            nodes.append(node)
        elif node.doc_string:
            inputs = [node.doc_string, node.input[0], "", node.input[2]]
            nodes.append(helper.make_node("MatMulInteger", inputs, node.output, name=node.output[0]))
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output):
        if value.name.startswith(_BORROWED):
            value.name = value.name.removeprefix(_BORROWED)
            value.type.tensor_type.elem_type = TensorProto.UINT8
    kept = [tensor for tensor in graph.initializer if not tensor.name.startswith(_BORROWED)]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _shape(value: ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
