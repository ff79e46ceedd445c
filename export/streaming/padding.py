"""A window graph without its padding: the same frames, but for those at the window's edges that see padded zeros.

A stream has no edge. Where a network pads, the frames near the window's ends are computed from zeros that a stream does
not have. They are left out: every layer runs on the frames that no padding reaches, shortcuts are cropped to the same
frames, and the mean over time is that of the frames that are left. Those are the window graph's own, in every bit; the
logits are not.
"""

from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgeguard.errors import InputError
from edgeguard.export.streaming.layers import Layer, Timeline
from edgeguard.export.streaming.window_graph import WindowGraph, attributes

SMALLEST_SHARE = 0.5
"""Share of the window's frames that has to be left."""
Frames = tuple[int, int]
"""First frame and the one behind the last, counted as in the window graph."""


@dataclass
class _Rewriter:
    """Copies a graph node by node, and cuts tensors to the frames that are wanted."""

    graph: WindowGraph
    timeline: Timeline
    frames: dict[str, Frames]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    cuts: dict[tuple[str, Frames], str] = field(default_factory=dict)

    def cut(self, name: str, wanted: Frames) -> str:
        """A tensor's frames; codes are cut before they are dequantised, so that the layer behind still fuses."""
        if self.frames[name] == wanted:
            return name
        if (name, wanted) not in self.cuts:
            output = f"{name}_frames_{wanted[0]}_{wanted[1]}"
            maker = self.graph.makers.get(name)
            if maker is not None and maker.op_type == "DequantizeLinear":
                codes = self.cut(maker.input[0], wanted)
                node = helper.make_node("DequantizeLinear", [codes, *maker.input[1:]], [output], f"cut_{output}")
                node.attribute.extend(maker.attribute)
            else:
                start = wanted[0] - self.frames[name][0]
                places = [start, start + wanted[1] - wanted[0], self.timeline.axis[name]]
                node = helper.make_node("Slice", [name, *map(self.place, places)], [output], f"cut_{output}")
            self.nodes.append(node)
            self.cuts[name, wanted] = output
        return self.cuts[name, wanted]

    def place(self, value: int) -> str:
        """Name of a constant for a Slice."""
        name = f"place_{value}"
        self.constants[name] = np.array([value], np.int64)
        return name


def without_padding(graph: WindowGraph, timeline: Timeline) -> ModelProto:
    """The window model with every padded layer run on the frames that no padding reaches.

    Args:
        timeline: read with `padded`.

    Raises InputError where less than half of the frames of the mean over time would be left.
    """
    source = graph.signature.input
    rewriter = _Rewriter(graph, timeline, {source: (0, graph.window)})
    layers = {layer.node.output[0]: layer for layer in timeline.layers}
    pools = {pool.node.output[0]: pool for pool in timeline.pools}
    for node in graph.model.graph.node:
        layer, pool = layers.get(node.output[0]), pools.get(node.output[0])
        if layer is not None:
            _rewrite(rewriter, layer)
            continue
        copy = NodeProto()
        copy.CopyFrom(node)
        if pool is not None:
            first, end = rewriter.frames[pool.features]
            if end - first < SMALLEST_SHARE * pool.frames:
                left = f"{max(end - first, 0)} of {pool.frames} frames"
                raise InputError(
                    f"no padding reaches only {left} of the mean over time; "
                    "take a longer window, a smaller receptive field, or the window file"
                )
            _shrink_kernel(copy, pool.frames, end - first)
        rewriter.nodes.append(copy)
    made = ModelProto()
    made.CopyFrom(graph.model)
    del made.graph.node[:], made.graph.value_info[:]
    made.graph.node.extend(rewriter.nodes)
    made.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in rewriter.constants.items())
    return made


def _rewrite(rewriter: _Rewriter, layer: Layer) -> None:
    """One layer on the frames that no padding reaches."""
    known = [rewriter.frames[name] for name in layer.inputs]
    first, end = max(start for start, _ in known), min(stop for _, stop in known)
    left = layer.pads[0] - layer.start
    made = -(-(first + left) // layer.stride), (end + left - layer.span) // layer.stride + 1
    wanted = made[0] * layer.stride - left, end
    node = NodeProto()
    node.CopyFrom(layer.node)
    if node.op_type == "Pad":
        node = helper.make_node("Identity", [layer.inputs[0]], list(node.output), node.name)
    elif layer.crops:
        start = wanted[0] - known[0][0]
        places = [start, start + (made[1] - made[0] - 1) * layer.stride + 1]
        axis = rewriter.timeline.axis[layer.inputs[0]]
        node.input[1:] = [rewriter.place(value) for value in (*places, axis, layer.stride)]
    else:
        fed = {name: rewriter.cut(name, wanted) for name in layer.inputs}
        node.input[:] = [fed.get(name, name) for name in node.input]
        _unpad(node)
    rewriter.nodes.append(node)
    for name in layer.outputs:
        rewriter.frames[name] = made


def _unpad(node: NodeProto) -> None:
    """Take the padding of a convolution or pool away."""
    kept = [entry for entry in node.attribute if entry.name not in ("pads", "auto_pad", "ceil_mode")]
    del node.attribute[:]
    node.attribute.extend(kept)


def _shrink_kernel(node: NodeProto, frames: int, left: int) -> None:
    """Let an AveragePool over the whole window span the frames that are left."""
    kernel = attributes(node).get("kernel_shape")
    if node.op_type != "AveragePool" or kernel is None:
        return
    kept = [entry for entry in node.attribute if entry.name not in ("kernel_shape", "strides")]
    del node.attribute[:]
    node.attribute.extend(kept)
    node.attribute.append(helper.make_attribute("kernel_shape", [left if size == frames else size for size in kernel]))
