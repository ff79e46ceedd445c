"""Can the 16-bit sums of an int8 file overflow? Answered from its weights alone.

Processors without VNNI multiply uint8 activations by int8 weights with VPMADDUBSW: two adjacent products are added
in int16, and what exceeds it is cut off without a sign of it (Intel 64 and IA-32 Architectures Software Developer's
Manual, volume 2, PMADDUBSW; the reason for ONNX Runtime's `session.x64quantprecision`). Which products are adjacent
depends on how a kernel packs its weights, so the bound takes the two worst weights of each output channel: a file that
it clears cannot overflow under any packing, for any input. 7-bit weights always pass: 2 * 255 * 64 = 32,640.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgeguard.runtime.census import optimized_model
from edgeguard.runtime.loading import constants

_LARGEST_ACTIVATION = 255
_INT16 = np.iinfo(np.int16)

_WEIGHTS = {
    "ConvInteger": (1, 0),
    "DynamicQuantizeMatMul": (1, -1),
    "MatMulInteger": (1, -1),
    "MatMulIntegerToFloat": (1, -1),
    "QGemm": (3, -1),
    "QLinearConv": (3, 0),
    "QLinearMatMul": (3, -1),
}
"""Integer operator of ONNX Runtime -> (which input holds its weights, their axis of output channels)."""


@dataclass(frozen=True)
class PairBound:
    """The largest and the smallest sum of two products that a layer can form.

    Attributes:
        node: name of the layer.
        highest, lowest: bounds on u8 * s8 + u8 * s8, over all inputs and all orders of its weights.
    """

    node: str
    highest: int
    lowest: int

    @property
    def fits(self) -> bool:
        """Whether every such sum is an int16."""
        return self.lowest >= _INT16.min and self.highest <= _INT16.max

    @property
    def magnitude(self) -> int:
        """The larger distance from zero."""
        return max(self.highest, -self.lowest)


def pair_bounds(model: ModelProto) -> list[PairBound]:
    """A bound for every layer with int8 weights in the graph that ONNX Runtime makes of `model`.

    Layers with uint8 weights are left out: their products are added in 32 bits. Weights that are computed while the
    model runs count as the worst that there are.
    """
    graph = optimized_model(model).graph
    known = constants(graph)
    return [_bound(node, known) for node in graph.node if node.op_type in _WEIGHTS and _may_be_int8(node, known)]


def may_saturate(model: ModelProto) -> bool:
    """Whether a sum of two products could leave int16 on a processor without VNNI: what `requires_vnni` states."""
    return not all(bound.fits for bound in pair_bounds(model))


def _may_be_int8(node: NodeProto, known: Mapping[str, TensorProto]) -> bool:
    weights = known.get(node.input[_WEIGHTS[node.op_type][0]])
    return weights is None or weights.data_type == TensorProto.INT8


def _bound(node: NodeProto, known: Mapping[str, TensorProto]) -> PairBound:
    position, axis = _WEIGHTS[node.op_type]
    if node.input[position] not in known:
        worst = 2 * _LARGEST_ACTIVATION
        return PairBound(node.name, worst * 127, worst * -128)
    if any(a.name == "transB" and a.i for a in node.attribute):
        axis = 0
    weights = np.moveaxis(numpy_helper.to_array(known[node.input[position]]).astype(np.int64), axis, 0)
    channels = np.sort(weights.reshape(len(weights), -1), axis=1)
    highest = np.maximum(channels[:, -2:], 0).sum(axis=1).max()
    lowest = np.minimum(channels[:, :2], 0).sum(axis=1).min()
    return PairBound(node.name, int(_LARGEST_ACTIVATION * highest), int(_LARGEST_ACTIVATION * lowest))
