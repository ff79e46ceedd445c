"""Which nodes of a float graph are quantised: those that ONNX Runtime has integer kernels for, up to the last layer."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper

from edgeguard.export.graph_passes import consumers, initializers

_DENSE = ("Gemm", "MatMul")
_SAME_CODES = ("Add", "Clip", "Concat", "LeakyRelu", "MaxPool", "Mul", "Relu", "Sigmoid", "Slice", "Pad")
_POOLS = ("AveragePool", "GlobalAveragePool")
_SHAPES = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_FLOAT_ACTIVATIONS = {
    *(
        "Celu",
        "Elu",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "PRelu",
        "Selu",
        "Softplus",
        "Tanh",
        "ThresholdedRelu",
    ),
}
"""Computed in float between codes and codes: what they make is quantised again where a quantised node reads it."""
_CARRIED = {*_SAME_CODES, *_POOLS, *_SHAPES}
_SILENT = {*_SHAPES, "Cast", "Concat", "ConstantOfShape", "Expand", "Gather", "Identity", "Shape", "Slice", "Split"}
"""Operators that compute nothing: not worth a word where they stay in float."""


@dataclass(frozen=True)
class Selection:
    """What of a float graph is quantised.

    Attributes:
        nodes: names of the nodes that are.
        source: tensors that are the input in another shape or unit -> their value for one unit of the input.
        left: operator -> nodes that compute and stay in float.
        convolutions: convolutions that stay in float.
        reads_source: whether a quantised node reads the input, so that it is quantised too.
    """

    nodes: tuple[str, ...]
    source: Mapping[str, float]
    left: Mapping[str, int]
    convolutions: tuple[str, ...]
    reads_source: bool


def select_nodes(model: ModelProto, source: str) -> Selection:
    """Choose the nodes to quantise of a graph that `prepare` made.

    Convolutions are, and dense layers on codes; pools, sums, products and activations where all that they read are
    codes. The last layer with weights and what follows it stay in float: int8 logits would tie. So does what loses by
    8 bits or has no integer kernel: GRU, LSTM, attention, LayerNormalization, Softmax.

    Args:
        source: name of the input.
    """
    stored = initializers(model)
    path = source_path(model, source)
    head = _head(model, stored)
    codes = set(path)
    chosen = []
    for node in model.graph.node:
        scaling = node.op_type in ("Mul", "Div") and node.output[0] in path
        if node.name in head or scaling:
            continue
        if _fits(node, stored, codes):
            chosen.append(node)
        elif node.op_type not in _FLOAT_ACTIVATIONS or node.input[0] not in codes:
            continue
        codes.update(node.output)
    chosen = _worthwhile(model, chosen)
    names = dict.fromkeys(node.name for node in chosen)
    rest = [node for node in model.graph.node if node.name not in names]
    left = Counter(node.op_type for node in rest if node.op_type not in _SILENT)
    convolutions = tuple(node.name for node in rest if node.op_type in ("Conv", "ConvTranspose"))
    weighted = any(node.op_type in ("Conv", *_DENSE) for node in chosen)
    reads_source = any(name in path for node in chosen for name in node.input)
    return Selection(tuple(names) if weighted else (), path, dict(left), convolutions, reads_source)


def _worthwhile(model: ModelProto, chosen: list[NodeProto]) -> list[NodeProto]:
    """The chosen nodes without those that only serve to normalise the input in float.

    A node before the first layer with weights is kept where all that read it are chosen.
    """
    readers = consumers(model)
    layers = {node.name for node in chosen if node.op_type in ("Conv", *_DENSE)}
    weighted: set[str] = set()
    for node in model.graph.node:
        if node.name in layers or weighted.intersection(node.input):
            weighted.update(node.output)
    kept = {node.name for node in chosen}
    for node in reversed(chosen):
        following = [reader.name for name in node.output for reader in readers.get(name, [])]
        if weighted.isdisjoint(node.output) and not kept.issuperset(following):
            kept.remove(node.name)
    return [node for node in chosen if node.name in kept]


def _fits(node: NodeProto, stored: Mapping[str, np.ndarray], codes: set[str]) -> bool:
    """Whether a node computes on codes, given the tensors that are codes so far."""
    if node.op_type == "Conv":
        return all(name in stored for name in node.input[1:] if name) and len(node.input) > 1
    if node.op_type in _DENSE:
        return node.input[0] in codes and _is_plain_dense(node, stored)
    if node.op_type not in _CARRIED or (node.op_type == "Pad" and not _pads_constant(node)):
        return False
    operands = node.input if node.op_type in ("Add", "Concat", "Mul") else node.input[:1]
    return any(name in codes for name in operands) and all(name in codes or name in stored for name in operands)


def _is_plain_dense(node: NodeProto, stored: Mapping[str, np.ndarray]) -> bool:
    about = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
    weights = stored.get(node.input[1])
    scaled = about.get("alpha", 1.0) != 1 or about.get("beta", 1.0) != 1 or about.get("transA", 0)
    return weights is not None and weights.ndim == 2 and not scaled and all(n in stored for n in node.input[2:] if n)


def _pads_constant(node: NodeProto) -> bool:
    return next((a.s for a in node.attribute if a.name == "mode"), b"constant") == b"constant"


def source_path(model: ModelProto, source: str) -> dict[str, float]:
    """Tensors that are the input in another shape, or times a positive constant -> that constant."""
    stored = initializers(model)
    path = {source: 1.0}
    for node in model.graph.node:
        if not node.input or node.input[0] not in path:
            continue
        factor = path[node.input[0]]
        if node.op_type in _SHAPES:
            path[node.output[0]] = factor
        elif node.op_type in ("Mul", "Div") and node.input[1] in stored and stored[node.input[1]].size == 1:
            constant = float(stored[node.input[1]].reshape(()))
            if constant > 0:
                path[node.output[0]] = factor * constant if node.op_type == "Mul" else factor / constant
    return path


def _head(model: ModelProto, stored: Mapping[str, np.ndarray]) -> set[str]:
    """Names of the nodes from the last layer with weights on; a convolution over time itself is none of them."""
    makers = {output: node for node in model.graph.node for output in node.output}
    frames = _frames(model)
    head: set[str] = set()
    waiting = [value.name for value in model.graph.output]
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in head:
            continue
        weighted = node.op_type in ("Conv", *_DENSE) and len(node.input) > 1 and node.input[1] in stored
        if weighted and node.op_type == "Conv" and frames.get(node.output[0], 1) > 1:
            continue
        head.add(node.name)
        if not weighted:
            waiting.extend(name for name in node.input if name)
    return head


def _frames(model: ModelProto) -> dict[str, int]:
    """Places behind the channels, by tensor; of an open length one."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.output)
    dims = {value.name: value.type.tensor_type.shape.dim for value in values}
    return {name: prod(dim.dim_value or 1 for dim in shape[2:]) for name, shape in dims.items()}


def calibrated_tensors(model: ModelProto, selection: Selection) -> list[str]:
    """Float tensors that the chosen nodes read and make, the input and its other shapes left out."""
    stored = initializers(model)
    chosen = set(selection.nodes)
    names = [
        name
        for node in model.graph.node
        if node.name in chosen
        for name in (*_operands(node), *node.output)
        if name and name not in stored and name not in selection.source
    ]
    return list(dict.fromkeys(names))


def _operands(node: NodeProto) -> list[str]:
    return list(node.input) if node.op_type in ("Add", "Concat", "Mul") else list(node.input[:1])
