"""Can the 16-bit sums of an int8 file overflow? Answered from its weights alone.

Processors without VNNI multiply uint8 activations by int8 weights with VPMADDUBSW: two adjacent products are added
in int16, and what exceeds it is cut off without a sign of it (Intel 64 and IA-32 Architectures Software Developer's
Manual, volume 2, PMADDUBSW). Which products are adjacent depends on how a kernel packs its weights, so the bound takes
the two worst weights of each output channel: a file that it clears cannot overflow under any packing, for any input.
7-bit weights always pass: 2 * 255 * 64 = 32,640.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper

from edgeguard.runtime.census import optimized_model
from edgeguard.runtime.loading import constants

_LARGEST_ACTIVATION = 255
_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Operands:
    """Where an integer operator of ONNX Runtime has its operands.

    Attributes:
        weights: input that holds the weights.
        axis: of their output channels.
        weights_zero: input that holds the zero point of the weights, whose type is theirs.
        zero: the same of the activations; None where they are always uint8.
    """

    weights: int
    axis: int
    weights_zero: int
    zero: int | None


OPERANDS = {
    "ConvInteger": Operands(1, 0, 3, 2),
    "DynamicQuantizeMatMul": Operands(1, -1, 3, None),
    "MatMulInteger": Operands(1, -1, 3, 2),
    "MatMulIntegerToFloat": Operands(1, -1, 5, 4),
    "QGemm": Operands(3, -1, 5, 2),
    "QLinearConv": Operands(3, 0, 5, 2),
    "QLinearMatMul": Operands(3, -1, 5, 2),
}


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

    Layers with uint8 weights are left out, and those with int8 activations: VPMADDUBSW takes neither, and ONNX Runtime
    adds their products in 32 bits. Weights that are computed while the model runs count as the worst that there are.
    """
    return graph_bounds(optimized_model(model).graph)


def graph_bounds(graph: GraphProto) -> list[PairBound]:
    """The same of a graph that ONNX Runtime has made."""
    known = constants(graph)
    return [_bound(node, known) for node in saturating_layers(graph)]


def saturating_layers(graph: GraphProto) -> list[NodeProto]:
    """The nodes of a graph of ONNX Runtime's own that multiply uint8 activations by int8 weights, or may do so."""
    known = constants(graph)
    return [node for node in graph.node if node.op_type in OPERANDS and _mixes_signs(node, known)]


def may_saturate(model: ModelProto) -> bool:
    """Whether a sum of two products could leave int16 on a processor without VNNI: what `requires_vnni` states."""
    return not all(bound.fits for bound in pair_bounds(model))


def _mixes_signs(node: NodeProto, known: Mapping[str, TensorProto]) -> bool:
    """Whether nothing that is stored says that the weights are uint8 or the activations int8."""
    places = OPERANDS[node.op_type]
    weights = {_stored_type(node, place, known) for place in (places.weights, places.weights_zero)}
    return TensorProto.UINT8 not in weights and _stored_type(node, places.zero, known) != TensorProto.INT8


def _stored_type(node: NodeProto, place: int | None, known: Mapping[str, TensorProto]) -> int | None:
    """Element type of an input; None where it is absent or computed."""
    tensor = known.get(node.input[place]) if place is not None and place < len(node.input) else None
    return None if tensor is None else int(tensor.data_type)


def _bound(node: NodeProto, known: Mapping[str, TensorProto]) -> PairBound:
    places = OPERANDS[node.op_type]
    # The sum over a hop of a stream is such a product: stored ones times codes.
    activations = known.get(node.input[0])
    largest = _LARGEST_ACTIVATION if activations is None else int(numpy_helper.to_array(activations).max())
    if node.input[places.weights] not in known:
        return PairBound(node.name, 2 * largest * 127, 2 * largest * -128)
    axis = 0 if any(a.name == "transB" and a.i for a in node.attribute) else places.axis
    weights = np.moveaxis(numpy_helper.to_array(known[node.input[places.weights]]).astype(np.int64), axis, 0)
    channels = np.sort(weights.reshape(len(weights), -1), axis=1)
    highest = np.maximum(channels[:, -2:], 0).sum(axis=1).max()
    lowest = np.minimum(channels[:, :2], 0).sum(axis=1).min()
    return PairBound(node.name, int(largest * highest), int(largest * lowest))
