"""Weights that an ONNX file keeps beside itself, and which its own hash does not cover."""

from collections.abc import Iterable, Iterator

from onnx import GraphProto, ModelProto, NodeProto, TensorProto


def external_files(model: ModelProto) -> list[str]:
    """Names, relative to the file's folder and sorted, of the files that hold its tensors' data; mostly none.

    Args:
        model: without that data, as `onnx.load(path, load_external_data=False)` gives it.
    """
    tensors = [*_of_graph(model.graph), *_of_nodes(node for function in model.functions for node in function.node)]
    outside = [tensor for tensor in tensors if tensor.data_location == TensorProto.EXTERNAL]
    return sorted({entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"})


def _of_graph(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[NodeProto]) -> Iterator[TensorProto]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)  # an attribute of another kind has an empty tensor
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)
