"""The stream's ONNX graph, written from a plan."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from edgeguard.export.streaming.layers import Layer, Pool, Timeline, refused
from edgeguard.export.streaming.plan import Plan
from edgeguard.export.streaming.window_graph import WindowGraph, attributes

PAST, PRESENT = "past_", "present_"
_SHAPERS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


@dataclass
class _Writer:
    """Collects nodes, constants, inputs and outputs; names are those of the window graph where there is one."""

    graph: WindowGraph
    timeline: Timeline
    plan: Plan
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, TensorProto] = field(default_factory=dict)
    inputs: list[ValueInfoProto] = field(default_factory=list)
    outputs: list[ValueInfoProto] = field(default_factory=list)
    wholes: list[ValueInfoProto] = field(default_factory=list)
    initial: dict[str, int] = field(default_factory=dict)
    cut: dict[tuple[str, int], str] = field(default_factory=dict)

    def add(self, operator: str, inputs: Sequence[str], output: str, **options: Any) -> str:
        self.nodes.append(helper.make_node(operator, list(inputs), [output], name=f"{output}_{operator}", **options))
        return output

    def constant(self, name: str, value: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.array(value, order="C"), name)
        return name

    def indices(self, *values: int) -> str:
        return self.constant("stream_" + "_".join(map(str, values)).replace("-", "m"), np.array(values, np.int64))

    def slice(self, source: str, output: str, *, start: int, end: int, axis: int, step: int = 1) -> str:
        places = [self.indices(value) for value in (start, end, axis, step)]
        return self.add("Slice", [source, *places], output)

    def state(self, name: str, shape: Sequence[int], dtype: np.dtype, initial: int) -> tuple[str, str]:
        """Names of a state's input and output."""
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.inputs.append(helper.make_tensor_value_info(PAST + name, kind, shape))
        self.outputs.append(helper.make_tensor_value_info(PRESENT + name, kind, shape))
        self.initial[PAST + name] = initial
        return PAST + name, PRESENT + name

    def remember(self, name: str, new: str, whole: str, shape: Sequence[int], dtype: np.dtype, **about: int) -> None:
        """Join what a state remembers with what is new, and hand on what the next hop needs.

        Args:
            name: of the state.
            new: tensor with what is new.
            whole: name of both, joined.
            shape: of both, joined.
            about: `axis` of time, frames `kept`, frames that are `fresh`, code that it begins with: `initial`.
        """
        axis, kept, fresh = about["axis"], about["kept"], about["fresh"]
        past, present = self.state(name, [*shape[:axis], kept, *shape[axis + 1 :]], dtype, about["initial"])
        self.add("Concat", [past, new], whole, axis=axis)
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.wholes.append(helper.make_tensor_value_info(whole, kind, shape))
        self.slice(whole, present, start=fresh, end=fresh + kept, axis=axis)

    def last(self, name: str, frames: int) -> str:
        """The last `frames` of what is held of a tensor; codes are cut before they are dequantised, so as to fuse."""
        held = self.plan.held[name]
        if held == frames:
            return name
        if (name, frames) not in self.cut:
            output, maker = f"{name}_last_{frames}", self.graph.makers.get(name)
            if maker is not None and maker.op_type == "DequantizeLinear":
                codes = self.last(maker.input[0], frames)
                self.add("DequantizeLinear", [codes, *maker.input[1:]], output)
                self.nodes[-1].attribute.extend(maker.attribute)
            else:
                self.slice(name, output, start=held - frames, end=held, axis=self.timeline.axis[name])
            self.cut[name, frames] = output
        return self.cut[name, frames]


def write_stream(graph: WindowGraph, timeline: Timeline, plan: Plan) -> tuple[ModelProto, dict[str, int]]:
    """The streaming model, without metadata, and the value that each of its states begins with.

    Inputs: `ecg`, one hop, and `past_*`; outputs: the logits and `present_*`. All shapes are static.
    """
    writer = _Writer(graph, timeline, plan)
    source = graph.signature.input
    shape = graph.signature.shape(1, plan.hop)
    kind = helper.np_dtype_to_tensor_dtype(graph.types[source])
    layers = {layer.node.output[0]: layer for layer in timeline.layers}
    pools = {pool.node.output[0]: pool for pool in timeline.pools}
    first = source
    if source in plan.states:
        first = f"{source}_hop"
        _remember(writer, source, first)
    replaced: set[str] = set()
    for node in graph.model.graph.node:
        key = node.output[0]
        if key in pools:
            replaced.update(_write_pool(writer, pools[key]))
        elif key in layers:
            _write_layer(writer, layers[key])
        elif node.op_type in ("Shape", "Size"):
            writer.constant(key, graph.stored[key])
        elif key not in replaced:
            writer.nodes.append(node)
    logits = graph.signature.output
    output = helper.make_tensor_value_info(
        logits, helper.np_dtype_to_tensor_dtype(graph.types[logits]), graph.shapes[logits]
    )
    made = helper.make_graph(
        writer.nodes,
        "stream",
        [helper.make_tensor_value_info(first, kind, shape), *writer.inputs],
        [output, *writer.outputs],
        [*graph.model.graph.initializer, *writer.constants.values()],
        value_info=writer.wholes,
    )
    if first != source:
        _rename(made, {source: f"{source}_held", first: source})
    _prune(made)
    model = helper.make_model(made, opset_imports=graph.model.opset_import, ir_version=graph.model.ir_version)
    return model, writer.initial


def _write_layer(writer: _Writer, layer: Layer) -> None:
    """One node of the window graph on the frames of a hop, and the memory of what it makes."""
    plan, timeline = writer.plan, writer.timeline
    if layer.outputs[0] not in plan.made:
        return
    frames = plan.made[layer.outputs[0]]
    node = NodeProto()
    node.CopyFrom(layer.node)
    if layer.crops:
        name, held = layer.inputs[0], plan.held[layer.inputs[0]]
        start = held - layer.needs(frames)
        end, axis = start + (frames - 1) * layer.stride + 1, timeline.axis[name]
        places = [writer.indices(value) for value in (start, end, axis, layer.stride)]
        node.input[:] = [name, *places]
    else:
        fed = {name: writer.last(name, layer.needs(frames)) for name in layer.inputs}
        node.input[:] = [fed.get(name, name) for name in node.input]
    if node.op_type in _SHAPERS:
        target = list(writer.graph.shapes[node.output[0]])
        target[timeline.axis[node.output[0]]] = frames
        node.input[:] = [node.input[0], writer.indices(*target)]
        node.op_type = "Reshape"
        del node.attribute[:]
    states = [name for name in layer.outputs if name in plan.states]
    for name in states:
        node.output[list(node.output).index(name)] = f"{name}_new"
    writer.nodes.append(node)
    for name in states:
        _remember(writer, name, f"{name}_new")


def _remember(writer: _Writer, name: str, new: str) -> None:
    """Put the remembered frames before the new ones, and hand on those that the next hop needs.

    Codes of several channels are remembered with the channels last, the layout of 8-bit kernels.
    """
    plan, axis = writer.plan, writer.timeline.axis[name]
    shape, dtype = list(writer.graph.shapes[name]), writer.graph.types[name]
    order = list(range(len(shape)))
    if np.issubdtype(dtype, np.integer) and prod(shape[1:axis]) > 1 and axis == len(shape) - 1:
        order = [0, *range(2, len(shape)), 1]
        new = writer.add("Transpose", [new], f"{name}_new_last", perm=order)
        axis = order.index(axis)
    shape = [shape[place] for place in order]
    shape[axis] = plan.held[name]
    moved = order != sorted(order)
    whole = f"{name}_whole" if moved else name
    kept, fresh, initial = plan.remembered(name), plan.fresh[name], _zero_point(writer.graph, name)
    writer.remember(
        str(len(writer.initial)), new, whole, shape, dtype, axis=axis, kept=kept, fresh=fresh, initial=initial
    )
    if moved:
        writer.add("Transpose", [whole], name, perm=list(np.argsort(order)))


def _zero_point(graph: WindowGraph, name: str) -> int:
    """The code of zero; 0 for a float."""
    place = {"QuantizeLinear": 2, "QLinearConv": 7, "QLinearAdd": 7}
    node = graph.makers.get(name)
    while node is not None and node.op_type not in place and node.input:
        node = graph.makers.get(node.input[0])
    if node is None or place[node.op_type] >= len(node.input) or not np.issubdtype(graph.types[name], np.integer):
        return 0
    return int(np.ravel(graph.stored[node.input[place[node.op_type]]])[0])


def _write_pool(writer: _Writer, pool: Pool) -> set[str]:
    """The mean over the window from sums over hops; outputs of the window graph's nodes that this replaces.

    The window holds q hops of m features and r more. A hop gives one sum, or where r > 0 two: over its first m - r
    features and over its last r, so that the oldest hop can lend the latter alone.
    """
    held = writer.plan.held[pool.features]
    hop = min(writer.plan.fresh[pool.features], pool.frames)
    whole, rest = divmod(pool.frames, hop)
    pieces = [hop - rest, rest] if rest else [hop]
    matrix = np.zeros((len(pieces), held))
    for row, (end, size) in enumerate(zip(held - hop + np.cumsum(pieces), pieces, strict=True)):
        matrix[row, end - size : end] = 1
    rows = whole * len(pieces) + bool(rest)
    quantised = _quantised_mean(writer.graph, pool)
    base = pool.node.output[0]
    source = pool.features if quantised is None else quantised.codes
    features = _time_first(writer, source, pool.features, held, f"{base}_features")
    if quantised is None:
        sums = writer.add(
            "MatMul", [writer.constant(f"{base}_ones", matrix.astype(np.float32)), features], f"{base}_new"
        )
    else:
        ones = writer.constant(f"{base}_ones", matrix.astype(np.uint8))
        sums = writer.add("MatMulInteger", [ones, features, "", quantised.zero_point], f"{base}_new")
    if rows > len(pieces):
        channels = prod(writer.graph.shapes[pool.features]) // pool.frames
        dtype = np.dtype(np.float32 if quantised is None else np.int32)
        name, new, sums = f"sums_{len(writer.initial)}", sums, f"{base}_ring"
        kept, fresh = rows - len(pieces), len(pieces)
        writer.remember(name, new, sums, [1, rows, channels], dtype, axis=1, kept=kept, fresh=fresh, initial=0)
    total = writer.add("ReduceSum", [sums, writer.indices(1)], f"{base}_sum", keepdims=0)
    target = writer.indices(*writer.graph.shapes[base])
    if quantised is None:
        scale = writer.constant(f"{base}_share", np.array(1 / pool.frames, np.float32))
        mean = writer.add("Mul", [total, scale], f"{base}_mean")
        writer.add("Reshape", [mean, target], base)
        return set()
    scale = writer.constant(f"{base}_ratio", quantised.ratio(pool.frames))
    steps = writer.add("DequantizeLinear", [total, scale], f"{base}_steps")
    one = writer.constant(f"{base}_one", np.array(1, np.float32))
    codes = writer.add("QuantizeLinear", [steps, one, quantised.out_zero_point], f"{base}_codes")
    writer.add("Reshape", [codes, target], quantised.output)
    return {quantised.output}


@dataclass(frozen=True)
class _QuantisedMean:
    """What a quantised pool computes: codes in, codes out; names of constants."""

    codes: str
    zero_point: str
    scale: np.float32
    out_scale: np.float32
    out_zero_point: str
    output: str

    def ratio(self, frames: int) -> np.ndarray:
        """Output steps of one input step, in float32 and in the order of ONNX Runtime's QLinearGlobalAveragePool."""
        return np.array(self.scale / (self.out_scale * np.float32(frames)), np.float32)


def _quantised_mean(graph: WindowGraph, pool: Pool) -> _QuantisedMean | None:
    """None for a mean that ONNX Runtime computes in float."""
    node = pool.node
    if node.op_type == "QLinearGlobalAveragePool":
        if attributes(node).get("channels_last"):
            raise refused(node, "has its channels last", "put them first")
        scale, out_scale = (np.float32(np.ravel(graph.stored[node.input[place]])[0]) for place in (1, 3))
        return _QuantisedMean(node.input[0], node.input[2], scale, out_scale, node.input[4], node.output[0])
    before, after = graph.makers.get(node.input[0]), graph.readers.get(node.output[0], ())
    if node.op_type != "GlobalAveragePool" or before is None or before.op_type != "DequantizeLinear":
        return None
    if len(after) != 1 or after[0].op_type != "QuantizeLinear" or len(before.input) < 3 or len(after[0].input) < 3:
        return None
    codes = before.input[0]
    if graph.types[codes].itemsize != 1:
        return None
    scale, out_scale = (np.float32(np.ravel(graph.stored[entry.input[1]])[0]) for entry in (before, after[0]))
    return _QuantisedMean(codes, before.input[2], scale, out_scale, after[0].input[2], after[0].output[0])


def _time_first(writer: _Writer, source: str, features: str, frames: int, output: str) -> str:
    """A tensor as [1, frames, channels]."""
    axis, shape = writer.timeline.axis[features], list(writer.graph.shapes[features])
    order = [0, axis, *(place for place in range(1, len(shape)) if place != axis)]
    if order != sorted(order):
        source = writer.add("Transpose", [source], f"{output}_last", perm=order)
    if len(shape) == 3:
        return source
    channels = prod(shape) // shape[axis]
    return writer.add("Reshape", [source, writer.indices(1, frames, channels)], output)


def _rename(graph: GraphProto, names: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.value_info):
        value.name = names.get(value.name, value.name)


def _prune(graph: GraphProto) -> None:
    """Leave out nodes and constants that no output needs."""
    needed = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(node.input)
    stored = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(stored)
