"""What each operator does to time: how many frames of its input one frame of its output sees, and where they lie.

Everything is counted from the window's END. A stream's hop ends where a window ends, so the last n frames of a tensor
in the window are, hop after hop, the newest n frames of the stream, and no phase has to be kept.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from onnx import NodeProto

from edgeguard.errors import InputError
from edgeguard.export.streaming.window_graph import WindowGraph, attributes, node_name

VALID = "train it with padding=0 and crop the skips by constants, as edge-s and edge-m do"
_GLOBAL = "normalise by constants (BatchNormalization, a fixed scale) instead"


@dataclass(frozen=True)
class Layer:
    """One node that keeps time.

    Attributes:
        node: as in the file.
        inputs: tensors with time that it reads.
        outputs: tensors that it makes; all of the same frames.
        span: frames of the input that one output frame sees.
        stride: input frames from one output frame to the next.
        rest: last frames of the input that no output frame sees.
        crops: whether it is a cut in time and nothing else.
        start: first frame of the input that a cut keeps; 0 of other layers.
        pads: frames that are put before and behind the input.
        macs: multiply-accumulates of one output frame.
    """

    node: NodeProto
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    span: int = 1
    stride: int = 1
    rest: int = 0
    crops: bool = False
    start: int = 0
    pads: tuple[int, int] = (0, 0)
    macs: int = 0

    def needs(self, frames: int) -> int:
        """Last frames of each input that the last `frames` of the output are made of."""
        return (frames - 1) * self.stride + self.span + self.rest

    def makes(self, frames: int) -> int:
        """Last frames of the output that the last `frames` of each input give."""
        return (frames - self.span - self.rest) // self.stride + 1


@dataclass(frozen=True)
class Pool:
    """The mean over all frames: where time ends.

    Attributes:
        node: the pooling node.
        features: tensor that is pooled.
        frames: that the window has.
    """

    node: NodeProto
    features: str
    frames: int


@dataclass(frozen=True)
class Timeline:
    """The part of a graph that has time.

    Attributes:
        layers: in the order of the file.
        pools: where time ends.
        axis: of time, by tensor.
        stride: samples from one frame to the next, by tensor.
        lengths: frames in the window, by tensor.
    """

    layers: tuple[Layer, ...]
    pools: tuple[Pool, ...]
    axis: dict[str, int]
    stride: dict[str, int]
    lengths: dict[str, int]

    @property
    def total_stride(self) -> int:
        """Samples from one pooled feature to the next: the least common multiple of all strides."""
        return int(np.lcm.reduce(list(self.stride.values())))


class _Reader:
    """Walks a graph and tells time from the rest; `padded` says whether layers may pad."""

    def __init__(self, graph: WindowGraph, *, padded: bool = False) -> None:
        self.graph = graph
        self.padded = padded
        source = graph.signature.input
        self.axis = {source: len(graph.signature.leading) + 1}
        self.stride = {source: 1}
        self.layers: list[Layer] = []
        self.pools: list[Pool] = []

    def length(self, name: str) -> int:
        return self.graph.shapes[name][self.axis[name]]

    def read(self, node: NodeProto) -> None:
        timed = [name for name in dict.fromkeys(node.input) if name in self.axis]
        if not timed or not any(self.graph.depends(name) for name in node.output):
            return
        if any(self.graph.depends(name) and name not in self.axis for name in node.input):
            raise refused(
                node, "brings a mean of the whole window back into its features", "leave that gate or normalisation out"
            )
        if node.op_type not in _RULES:
            raise refused(node, "is no layer that a stream can repeat", f"{VALID}; or use the window file")
        _RULES[node.op_type](self, node, timed)

    def keep(self, node: NodeProto, inputs: Sequence[str], *, axis: int | None = None, **geometry: Any) -> None:
        """A layer whose output has time, on the input's axis unless told."""
        layer = Layer(node, tuple(inputs), tuple(filter(None, node.output)), **geometry)
        if len({(self.length(name), self.stride[name]) for name in inputs}) > 1:
            raise refused(node, "joins tensors of different lengths", VALID)
        for name in layer.outputs:
            self.axis[name] = self.axis[inputs[0]] if axis is None else axis
            self.stride[name] = self.stride[inputs[0]] * layer.stride
            if layer.makes(self.length(inputs[0]) + sum(layer.pads)) != self.length(name):
                raise refused(node, "has another length than its kernel and stride say", VALID)
        self.layers.append(layer)

    def along(self, node: NodeProto, name: str, axis: int) -> bool:
        """Whether an attribute `axis` of a node, which may be negative, is time."""
        return axis % len(self.graph.shapes[name]) == self.axis[name]


_Rule = Callable[[_Reader, NodeProto, list[str]], None]
_RULES: dict[str, _Rule] = {}


def read_timeline(graph: WindowGraph, *, padded: bool = False) -> Timeline:
    """Which nodes keep time, and where it ends.

    Args:
        padded: let convolutions and pools pad, for `padding.without_padding`.

    Raises InputError, naming node and mend, for what cannot be computed hop by hop with equal bits.
    """
    reader = _Reader(graph, padded=padded)
    for node in graph.model.graph.node:
        reader.read(node)
    if graph.signature.output in reader.axis or not reader.pools:
        raise InputError(
            "its logits are no function of a mean over time; end it with AdaptiveAvgPool1d(1) and a Linear"
        )
    lengths = {name: reader.length(name) for name in reader.axis}
    return Timeline(tuple(reader.layers), tuple(reader.pools), reader.axis, reader.stride, lengths)


def refused(node: NodeProto, why: str, mend: str) -> InputError:
    """The one line for a node that cannot be streamed."""
    return InputError(f"{node_name(node)} {why}, which no stream can repeat; {mend}")


def padded(node: NodeProto, what: str) -> InputError:
    """The one line for a node that pads."""
    close = (
        "edgeguard export --streaming --close makes a stream of the frames that no padding reaches, at a stated cost"
    )
    return refused(node, what, f"{VALID}; or {close}")


def _rule(*operators: str) -> Callable[[_Rule], _Rule]:
    def register(rule: _Rule) -> _Rule:
        for name in operators:
            if name in _RULES:
                raise ValueError(f"operator {name} is registered twice")
            _RULES[name] = rule
        return rule

    return register


@_rule("Abs", "Cast", "Ceil", "Clip", "Div", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish")
@_rule("Identity", "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu", "Round", "Selu", "Sigmoid")
@_rule("Softplus", "Sqrt", "Sub", "Tanh", "ThresholdedRelu", "Add", "BatchNormalization", "Dropout", "Where")
@_rule("QLinearAdd", "QLinearMul", "QLinearLeakyRelu", "QLinearSigmoid")
def _pointwise(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    """Every frame alike: neither may a constant have a value of its own for each."""
    axis, rank = reader.axis[timed[0]], len(reader.graph.shapes[timed[0]])
    for name in node.input:
        shape = np.shape(reader.graph.stored.get(name, 0))
        place = axis - rank + len(shape)
        if name not in timed and node.op_type != "BatchNormalization" and place >= 0 and shape and shape[place] > 1:
            raise refused(node, "has a constant of its own for every place of the window", "use one a channel")
    reader.keep(node, timed)


@_rule("QuantizeLinear", "DequantizeLinear")
def _quantizer(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    scale = reader.graph.stored.get(node.input[1])
    axis = int(attributes(node).get("axis", 1))
    if scale is None or (np.size(scale) > 1 and reader.along(node, timed[0], axis)):
        raise refused(node, "has scales that change over time", "quantise with one scale a tensor")
    reader.keep(node, timed)


@_rule("Conv", "QLinearConv", "MaxPool", "AveragePool", "QLinearAveragePool")
def _window(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    """Convolutions and pools: valid ones, and an average over everything as the pool that ends time."""
    name, about = timed[0], attributes(node)
    shape, axis = reader.graph.shapes[name], reader.axis[name]
    weight = {"Conv": 1, "QLinearConv": 3}.get(node.op_type)
    if weight is not None and node.input[weight] not in reader.graph.stored:
        raise refused(node, "computes its weights from the signal", "store them")
    kernel = list(about.get("kernel_shape") or np.shape(reader.graph.stored[node.input[weight]])[2:])
    place, axes = axis - 2, len(kernel)
    if place < 0:
        raise refused(node, "has its channels in the axis of time", "put time last")
    if node.op_type == "AveragePool" and kernel[place] == shape[axis]:
        reader.pools.append(Pool(node, name, shape[axis]))
        return
    stride = int((about.get("strides") or [1] * axes)[place])
    dilation = int((about.get("dilations") or [1] * axes)[place])
    span = dilation * (kernel[place] - 1) + 1
    frames = reader.graph.shapes[node.output[0]][axis]
    pads = _pads(about, place=place, axes=axes, missing=(frames - 1) * stride + span - shape[axis])
    if any(pads) and not reader.padded:
        raise padded(node, "pads the window with zeros (same padding)")
    if frames == 1:
        mend = f"take windows of more than {shape[axis]} frames there, or pool over time by AdaptiveAvgPool1d(1)"
        raise refused(node, "sees the whole window at once", mend)
    rest = shape[axis] + sum(pads) - (frames - 1) * stride - span
    if rest < 0:
        raise refused(node, "rounds its length up (ceil_mode)", "leave ceil_mode off")
    macs = 0
    if weight is not None:
        elsewhere = prod(reader.graph.shapes[node.output[0]][2:]) // frames
        macs = int(np.size(reader.graph.stored[node.input[weight]])) * elsewhere
    reader.keep(node, [name], span=span, stride=stride, rest=rest, pads=pads, macs=macs)


def _pads(about: Mapping[str, Any], *, place: int, axes: int, missing: int) -> tuple[int, int]:
    """Frames that a convolution or pool puts before and behind its input.

    Args:
        about: the node's attributes.
        place, axes: of time among the node's axes.
        missing: frames that its output needs and its input lacks.
    """
    auto = about.get("auto_pad", b"NOTSET")
    if auto in (b"SAME_UPPER", b"SAME_LOWER"):
        smaller, larger = max(missing, 0) // 2, -(-max(missing, 0) // 2)
        return (smaller, larger) if auto == b"SAME_UPPER" else (larger, smaller)
    pads = list(about.get("pads") or [0] * 2 * axes)
    return int(pads[place]), int(pads[axes + place])


@_rule("Slice")
def _slice(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    name = timed[0]
    stored = [reader.graph.stored.get(entry) for entry in node.input[1:]]
    starts, ends = (np.asarray(value) for value in stored[:2])
    axes = np.arange(len(starts)) if len(stored) < 3 or stored[2] is None else np.asarray(stored[2])
    steps = np.ones(len(starts), int) if len(stored) < 4 or stored[3] is None else np.asarray(stored[3])
    touched = [i for i, axis in enumerate(axes) if reader.along(node, name, int(axis))]
    if not touched:
        reader.keep(node, timed)
        return
    if len(axes) > 1:
        raise refused(node, "cuts several axes at once", "cut time in a Slice of its own")
    start, _, step = slice(int(starts[0]), int(ends[0]), int(steps[0])).indices(reader.length(name))
    if step < 1:
        raise refused(node, "runs backwards through time", "leave the flip out")
    frames = reader.graph.shapes[node.output[0]][reader.axis[name]]
    rest = reader.length(name) - (start + (frames - 1) * step + 1)
    layer = Layer(node, (name,), tuple(node.output), stride=step, rest=rest, crops=True, start=start)
    reader.axis[node.output[0]] = reader.axis[name]
    reader.stride[node.output[0]] = reader.stride[name] * step
    reader.layers.append(layer)


@_rule("Transpose")
def _transpose(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    rank = len(reader.graph.shapes[timed[0]])
    order = list(attributes(node).get("perm") or range(rank)[::-1])
    reader.keep(node, timed, axis=order.index(reader.axis[timed[0]]))


@_rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _reshape(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    """Time has to stay an axis of its own."""
    shape, target = reader.graph.shapes[timed[0]], reader.graph.shapes[node.output[0]]
    axis = reader.axis[timed[0]]
    for place, size in enumerate(target):
        if size == shape[axis] and prod(target[:place]) == prod(shape[:axis]):
            reader.keep(node, timed, axis=place)
            return
    raise refused(node, "mixes time with channels", "pool over time first: AdaptiveAvgPool1d(1)")


@_rule("Concat", "QLinearConcat", "Softmax", "LogSoftmax", "LayerNormalization", "Split")
def _along_channels(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    """Operators with an axis: any but time, and none behind which time lies."""
    default = 0 if node.op_type == "Split" else -1
    axis = int(attributes(node).get("axis", default))
    rank = len(reader.graph.shapes[timed[0]])
    over = range(axis % rank, rank) if node.op_type == "LayerNormalization" else [axis % rank]
    if reader.axis[timed[0]] in over:
        why = "joins pieces of time" if "Concat" in node.op_type else "needs all of the window at once"
        raise refused(node, why, _GLOBAL)
    if node.op_type == "Concat" and any(name in reader.graph.stored for name in node.input):
        raise refused(node, "joins features with constants", "leave those channels out")
    reader.keep(node, timed)


@_rule("MatMul", "Gemm", "QLinearMatMul")
def _matmul(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    """Features times a stored matrix, frame by frame."""
    place = 3 if node.op_type == "QLinearMatMul" else 1
    name = node.input[0]
    if name not in timed or node.input[place] not in reader.graph.stored:
        raise refused(node, "multiplies features with features", "use convolutions")
    weight = reader.graph.stored[node.input[place]]
    if reader.axis[name] == len(reader.graph.shapes[name]) - 1:
        raise refused(node, "gives every place of the window a weight of its own", "pool over time first")
    reader.keep(node, [name], macs=int(weight.size))


@_rule("GlobalAveragePool", "QLinearGlobalAveragePool", "ReduceMean")
def _mean(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    """The mean over time, and over axes of length 1 beside it."""
    name = timed[0]
    shape, axis = reader.graph.shapes[name], reader.axis[name]
    over = set(range(2, len(shape)))
    if node.op_type == "ReduceMean":
        given = attributes(node).get("axes")
        if given is None and len(node.input) > 1:
            given = reader.graph.stored[node.input[1]]
        over = {int(entry) % len(shape) for entry in given} if given is not None else set(range(len(shape)))
    if axis not in over and node.op_type == "ReduceMean" and bool(attributes(node).get("keepdims", 1)):
        reader.keep(node, timed)
        return
    if axis not in over or any(shape[entry] > 1 for entry in over - {axis}):
        raise refused(node, "averages over more than time", "pool over time alone: AdaptiveAvgPool1d(1)")
    reader.pools.append(Pool(node, name, shape[axis]))


@_rule("InstanceNormalization", "GroupNormalization", "LpNormalization", "MeanVarianceNormalization")
def _statistics(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    raise refused(node, "takes its statistics from the whole window", _GLOBAL)


@_rule("LSTM", "GRU", "RNN", "Scan", "Loop")
def _recurrent(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    raise refused(node, "carries a state from the window's first sample", "use convolutions")


@_rule("Pad")
def _pad(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    if not reader.padded:
        raise padded(node, "pads the window")
    name, about = timed[0], attributes(node)
    rank = len(reader.graph.shapes[name])
    amounts, axes = (
        reader.graph.stored.get(node.input[place]) if len(node.input) > place else None for place in (1, 3)
    )
    places = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]
    if amounts is None or about.get("mode", b"constant") != b"constant":
        raise refused(node, "pads the window with its own samples", VALID)
    by_axis = dict(zip(places, zip(amounts[: len(places)], amounts[len(places) :], strict=True), strict=True))
    left, right = (int(amount) for amount in by_axis.pop(reader.axis[name], (0, 0)))
    if min(left, right) < 0 or any(amount for pair in by_axis.values() for amount in pair):
        raise refused(node, "pads more than time", VALID)
    reader.keep(node, [name], pads=(left, right))


@_rule("GlobalMaxPool", "ReduceMax", "ReduceSum", "ReduceL2")
def _other_reduction(reader: _Reader, node: NodeProto, timed: list[str]) -> None:
    raise refused(node, "sees the whole window at once", "pool over time by AdaptiveAvgPool1d(1)")
