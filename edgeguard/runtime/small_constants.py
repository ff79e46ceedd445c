"""The values of small tensors that an ONNX graph computes from constants alone: shapes, axes, repeats."""

import math
from collections.abc import Mapping

import numpy as np
from onnx import GraphProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

SMALL = 1024
"""Elements: no shape, and no arithmetic on one, takes more."""

_OPERATORS = """
Abs Add And ArgMax ArgMin BitShift Cast CastLike Ceil Clip Concat ConstantOfShape CumSum Div Equal Exp Expand Flatten
Floor Gather GatherElements GatherND Greater GreaterOrEqual Identity Less LessOrEqual Log Max Mean Min Mod Mul Neg Not
Or Pow Range Reciprocal ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum Reshape Round Sign Size Slice Split Sqrt
Squeeze Sub Sum Tile Transpose Unsqueeze Where Xor
"""
EVALUATED = frozenset(_OPERATORS.split())
"""Operators that shapes are computed by. None makes, on its way, a tensor larger than its inputs and outputs."""


def attribute_value(node: NodeProto) -> TensorProto | None:
    """The tensor of a Constant node; None for one of strings, or a sparse one."""
    for attribute in node.attribute:
        match attribute.name:
            case "value":
                return attribute.t
            case "value_int" | "value_ints":
                values = attribute.ints if attribute.name.endswith("s") else attribute.i
                return numpy_helper.from_array(np.asarray(values, np.int64))
            case "value_float" | "value_floats":
                values = attribute.floats if attribute.name.endswith("s") else attribute.f
                return numpy_helper.from_array(np.asarray(values, np.float32))
    return None


def shape_value(node: NodeProto, dims: list[int]) -> TensorProto:
    """What a Shape node gives for a tensor of these axis lengths."""
    ends = {attribute.name: attribute.i for attribute in node.attribute}
    return numpy_helper.from_array(np.asarray(dims[ends.get("start", 0) : ends.get("end", len(dims))], np.int64))


def evaluate(node: NodeProto, inputs: Mapping[str, TensorProto], opsets: dict[str, int]) -> dict[str, TensorProto]:
    """The outputs of a node by name; empty where it cannot be evaluated.

    Args:
        node: an operator of `EVALUATED`, whose outputs are known to be small.
        inputs: value of each of its inputs by name.
        opsets: version of each domain.
    """
    from onnx.reference import ReferenceEvaluator

    outputs = [name for name in node.output if name]
    graph = GraphProto(node=[node], output=[ValueInfoProto(name=name) for name in outputs])
    for name, tensor in inputs.items():
        graph.initializer.add().CopyFrom(tensor)
        graph.initializer[-1].name = name
    try:
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(graph, opsets=opsets).run(None, {})
            found = {name: np.asarray(value) for name, value in zip(outputs, values, strict=True)}
            return {name: numpy_helper.from_array(value) for name, value in found.items() if value.size <= SMALL}
    except Exception:  # what an operator makes of values that it was not made for may be any error
        return {}


def is_small(tensor: TensorProto) -> bool:
    """Whether a tensor is small enough to be looked into."""
    return math.prod(tensor.dims) <= SMALL
