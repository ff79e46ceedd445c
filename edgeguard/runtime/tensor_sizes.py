"""Bounds on the tensors that an ONNX file makes, told before anything makes them.

ONNX Runtime computes what depends on constants alone while it opens a file: a ConstantOfShape of 2^31 in a file of 435
bytes takes 16 GB there. Sizes are followed through the graph node by node, by ONNX's own shape inference, with the
small constants that shapes are made of, into subgraphs and model-local functions. What depends on the data is not told.
"""

import math
from collections import ChainMap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import onnx
from onnx import (
    FunctionProto,
    GraphProto,
    NodeProto,
    SparseTensorProto,
    TensorProto,
    TypeProto,
    ValueInfoProto,
    helper,
)

from edgeguard.errors import InputError
from edgeguard.runtime.small_constants import EVALUATED, SMALL, attribute_value, evaluate, is_small, shape_value

MOST_ELEMENTS = 2**28
"""Elements of one tensor at batch size one: 1 GiB in float32. A day of one lead at 512 Hz has 2^25 samples."""

MOST_CONSTANT = 2**26
"""Elements of all tensors together that depend on constants alone, beside four for each byte of the file."""

_MOST_NODES = 50_000
"""Counted in every place where a function is called."""

_MOST_EVALUATED = 2_000
"""Small constants that are computed; each takes a tenth of a millisecond or more."""

_MOST_AXES = 64
"""Of one tensor; numpy takes no more."""

_DEEPEST = 32
"""Levels of subgraphs and functions."""

_NOMINAL = 1000
"""Samples of a time axis that the file leaves open; a batch that it leaves open is one."""

_BORROWED = {("com.microsoft", "Pad"), ("com.microsoft", "Range")}
"""Operators of ONNX Runtime that are those of ONNX under another name."""


def check_sizes(model: onnx.ModelProto, where: Path) -> None:
    """Refuse a model of tensors that are too large, for what is known of their shapes.

    Args:
        model: one that `onnx.checker` takes.
        where: file to name in errors.

    Raises InputError for a tensor of more than 2^28 elements at batch size one, for constants of more than 2^26 and
    four for each byte of the file, for more than 50,000 nodes, 2,000 computed small constants or 64 axes, and for
    subgraphs and functions nested more than 32 deep.
    """
    _Walk(model, where).graph(model.graph, _Scope())


class _Scope:
    """What is known of the names that a graph or a function sees.

    Attributes:
        types: element type and shape.
        values: of small constants.
        constant: names that depend on constants alone.
    """

    def __init__(self, outer: "_Scope | None" = None) -> None:
        self.types: ChainMap[str, TypeProto] = outer.types.new_child() if outer else ChainMap()
        self.values: ChainMap[str, TensorProto] = outer.values.new_child() if outer else ChainMap()
        self.constant: ChainMap[str, bool] = outer.constant.new_child() if outer else ChainMap()

    def share(self, theirs: str, other: "_Scope", ours: str) -> None:
        """Know of our name what another scope knows of theirs."""
        if theirs in other.types:
            self.types[ours] = other.types[theirs]
        if theirs in other.values:
            self.values[ours] = other.values[theirs]
        if theirs in other.constant:
            self.constant[ours] = True


class _Walk:
    """One pass over a model, in the order in which it is computed."""

    def __init__(self, model: onnx.ModelProto, where: Path) -> None:
        self.where = where
        self.opsets = {entry.domain: entry.version for entry in model.opset_import}
        self.functions = {(function.domain, function.name): function for function in model.functions}
        self.constants_left = MOST_CONSTANT + 4 * model.ByteSize()
        self.nodes_left, self.evaluations_left = _MOST_NODES, _MOST_EVALUATED
        self.depth = 0

    def graph(self, graph: GraphProto, scope: _Scope) -> None:
        """Follow a graph whose outer names are in the scope, and leave its own there too."""
        for tensor in graph.initializer:
            self._constant(tensor.name, tensor, scope, f"initializer {tensor.name!r}")
        for sparse in graph.sparse_initializer:
            self._sparse(sparse.values.name, sparse, scope, f"initializer {sparse.values.name!r}")
        for value in graph.input:
            scope.types.setdefault(value.name, _closed(value.type) if self.depth == 0 else value.type)
        for what, values in (("input", graph.input), ("output", graph.output)):
            self._declared(what, values, scope)
        self._nodes(graph.node, scope)

    def _declared(self, what: str, values: Iterable[ValueInfoProto], scope: _Scope) -> None:
        for value in values:
            self._bound(_lengths(scope.types.get(value.name, value.type)), f"{what} {value.name!r}")

    def _nodes(self, nodes: Iterable[NodeProto], scope: _Scope) -> None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise InputError(f"{self.where}: subgraphs or functions more than {_DEEPEST} deep; export without them")
        for node in nodes:
            self._node(node, scope)
        self.depth -= 1

    def _node(self, node: NodeProto, scope: _Scope) -> None:
        self.nodes_left -= 1
        if self.nodes_left < 0:
            raise InputError(f"{self.where}: more than {_MOST_NODES} nodes, functions written out; export without them")
        if (function := self.functions.get((node.domain, node.op_type))) is not None:
            self._call(node, function, scope)
            return
        if node.op_type == "Constant":
            if (tensor := attribute_value(node)) is not None:
                self._constant(node.output[0], tensor, scope, _named(node))
            for attribute in node.attribute:
                if attribute.name == "sparse_value":
                    self._sparse(node.output[0], attribute.sparse_tensor, scope, _named(node))
            return
        branches = self._branches(node, scope)
        types = branches if node.op_type == "If" else self._infer(node, scope)
        scope.types.update(types)
        for output in types.values():
            self._bound(_lengths(output), _named(node))
        if all(name in scope.constant for name in node.input if name):
            self._grow(sum(map(_elements, types.values())), _named(node))
            scope.constant.update(dict.fromkeys(node.output, True))
        self._evaluate(node, types, scope)

    def _branches(self, node: NodeProto, scope: _Scope) -> dict[str, TypeProto]:
        """Follow the subgraphs of a node; types of its outputs by name, should they be those of its largest branch."""
        largest: dict[str, TypeProto] = {}
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):  # an attribute of another kind has an empty graph
                inner = _Scope(scope)
                self.graph(graph, inner)
                for name, value in zip(node.output, graph.output, strict=False):
                    known = inner.types.get(value.name, value.type)
                    if name not in largest or _elements(known) > _elements(largest[name]):
                        largest[name] = known
        return largest

    def _call(self, node: NodeProto, function: FunctionProto, scope: _Scope) -> None:
        """Follow a function as if it were written out where it is called."""
        inner, given = _Scope(), {attribute.name: attribute for attribute in node.attribute}
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        for formal, actual in zip(function.input, node.input, strict=False):
            inner.share(actual, scope, formal)
        opsets, self.opsets = self.opsets, {entry.domain: entry.version for entry in function.opset_import}
        self._nodes((_bound_node(inside, defaults | given) for inside in function.node), inner)
        self.opsets = opsets
        for formal, actual in zip(function.output, node.output, strict=False):
            scope.share(formal, inner, actual)

    def _constant(self, name: str, tensor: TensorProto, scope: _Scope, what: str) -> None:
        """Take note of a tensor that the file stores."""
        self._bound(tensor.dims, what)
        scope.types[name] = helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
        scope.constant[name] = True
        if is_small(tensor):
            scope.values[name] = tensor

    def _sparse(self, name: str, tensor: SparseTensorProto, scope: _Scope, what: str) -> None:
        """Take note of a tensor that ONNX Runtime writes out with all its zeros."""
        self._bound(tensor.dims, what)
        self._grow(math.prod(tensor.dims), what)
        scope.types[name] = helper.make_tensor_type_proto(tensor.values.data_type, tensor.dims)
        scope.constant[name] = True

    def _infer(self, node: NodeProto, scope: _Scope) -> dict[str, TypeProto]:
        """Types of a node's outputs by name, as far as ONNX can tell; empty for an operator of another domain."""
        domain = "" if node.domain == "ai.onnx" or (node.domain, node.op_type) in _BORROWED else node.domain
        version = self.opsets.get(domain, self.opsets.get("ai.onnx", 0))
        try:
            schema = onnx.defs.get_schema(node.op_type, version or onnx.defs.onnx_opset_version(), domain)
            return onnx.shape_inference.infer_node_outputs(
                schema,
                node,
                {name: scope.types.get(name, TypeProto()) for name in node.input if name},
                {name: scope.values[name] for name in node.input if name in scope.values},
                opset_imports=[helper.make_opsetid(domain, version)],
            )
        except Exception:  # a type that does not fit may be any error, and is for ONNX Runtime to refuse
            return {}

    def _evaluate(self, node: NodeProto, types: dict[str, TypeProto], scope: _Scope) -> None:
        """Take note of a small output whose value is known."""
        inputs = [name for name in node.input if name]
        if node.op_type == "Shape" and (dims := _dims(scope.types.get(inputs[0]))) is not None:
            scope.values[node.output[0]] = shape_value(node, dims)
        elif node.op_type in EVALUATED and inputs and all(name in scope.values for name in inputs):
            known = [_dims(types.get(name)) for name in node.output if name]
            if all(dims is not None and math.prod(dims) <= SMALL for dims in known):
                self.evaluations_left -= 1
                if self.evaluations_left < 0:
                    raise InputError(f"{self.where}: more than {_MOST_EVALUATED} computed constants; fold them first")
                scope.values.update(evaluate(node, {name: scope.values[name] for name in inputs}, self.opsets))

    def _grow(self, elements: int, what: str) -> None:
        self.constants_left -= elements
        if self.constants_left < 0:
            self._refuse(elements, f"{what} and the constants before it", "too many to compute when the file is opened")

    def _bound(self, lengths: Sequence[int], what: str) -> None:
        if len(lengths) > _MOST_AXES:
            raise InputError(f"{self.where}: {what}: {len(lengths)} axes, at most {_MOST_AXES}; export it without it")
        if (elements := math.prod(lengths)) > MOST_ELEMENTS:
            self._refuse(elements, what, f"at most {MOST_ELEMENTS} at batch size one")

    def _refuse(self, elements: int, what: str, why: str) -> NoReturn:
        count = elements if elements < 2**63 else "more than 2^63"
        raise InputError(f"{self.where}: {what}: {count} elements, {why}; export the model with smaller tensors")


def _closed(declared: TypeProto) -> TypeProto:
    """A type with every axis that it leaves open given a length: one window."""
    closed = TypeProto()
    closed.CopyFrom(declared)
    for axis, dim in enumerate(closed.tensor_type.shape.dim):
        if not (dim.HasField("dim_value") and dim.dim_value > 0):
            dim.dim_value = _NOMINAL if axis else 1
    return closed


def _dims(known: TypeProto | None) -> list[int] | None:
    """Axis lengths of a tensor; None unless all are known."""
    if known is None or not known.tensor_type.HasField("shape"):
        return None
    dims = known.tensor_type.shape.dim
    return [dim.dim_value for dim in dims] if all(dim.HasField("dim_value") for dim in dims) else None


def _lengths(known: TypeProto) -> list[int]:
    """Axis lengths of a tensor, those that are not known taken to be one."""
    dims = known.tensor_type.shape.dim
    return [max(dim.dim_value, 0) if dim.HasField("dim_value") else 1 for dim in dims]


def _elements(known: TypeProto) -> int:
    return math.prod(_lengths(known))


def _bound_node(node: NodeProto, attributes: dict[str, onnx.AttributeProto]) -> NodeProto:
    """A function's node with the attributes that its call gives."""
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return node
    bound = NodeProto()
    bound.CopyFrom(node)
    del bound.attribute[:]
    for attribute in node.attribute:
        value = attributes.get(attribute.ref_attr_name) if attribute.ref_attr_name else attribute
        if value is not None:
            bound.attribute.add().CopyFrom(value)
            bound.attribute[-1].name = attribute.name
    return bound


def _named(node: NodeProto) -> str:
    return f"node {(node.name or ', '.join(node.output))[:80]!r} ({node.op_type[:40]!r})"
