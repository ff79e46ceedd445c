"""A window model with every shape known: what its tensors look like when one window goes through it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, numpy_helper

from edgeguard.errors import InputError
from edgeguard.runtime.flags import RUNTIME_ERRORS, create_session, session_options
from edgeguard.runtime.loading import Signature, constants


@dataclass(frozen=True)
class WindowGraph:
    """One window model, batch of one, all shapes static.

    Attributes:
        model: as loaded; never changed.
        signature: of its one input and one output.
        window: samples of the input.
        shapes, types: of every tensor that depends on the input, by name.
        stored: value of every tensor that does not.
        readers: nodes that read a tensor.
        makers: node that makes a tensor.
    """

    model: ModelProto
    signature: Signature
    window: int
    shapes: Mapping[str, tuple[int, ...]]
    types: Mapping[str, np.dtype]
    stored: Mapping[str, np.ndarray]
    readers: Mapping[str, tuple[NodeProto, ...]]
    makers: Mapping[str, NodeProto]

    def depends(self, name: str) -> bool:
        """Whether a tensor changes with the ecg."""
        return name in self.shapes

    def opset(self) -> int:
        """Of the ONNX standard."""
        return next(entry.version for entry in self.model.opset_import if entry.domain in ("", "ai.onnx"))


def read_window_graph(model: ModelProto, signature: Signature, window: int) -> WindowGraph:
    """Run one silent window and note what every tensor is.

    Raises InputError for a fixed batch of several, and for a model that ONNX Runtime cannot run tensor by tensor.
    """
    if signature.batch not in (None, 1):
        raise InputError(f"its batch is fixed at {signature.batch}; export it with an open batch, or a batch of 1")
    graph = model.graph
    produced = [name for node in graph.node for name in node.output if name]
    values = _values(model, produced, {signature.input: np.zeros(signature.shape(1, window), signature.dtype)})
    dependent = _dependent(graph, signature.input)
    known = {name: numpy_helper.to_array(tensor) for name, tensor in constants(graph).items()}
    values[signature.input] = np.zeros(signature.shape(1, window), signature.dtype)
    return WindowGraph(
        model=model,
        signature=signature,
        window=window,
        shapes={name: values[name].shape for name in dependent},
        types={name: values[name].dtype for name in dependent},
        stored=known | {name: value for name, value in values.items() if name not in dependent},
        readers=_readers(graph),
        makers={name: node for node in graph.node for name in node.output if name},
    )


def node_name(node: NodeProto) -> str:
    """A node as errors call it."""
    return f"{node.op_type} {node.name or node.output[0]}"


def attributes(node: NodeProto) -> dict[str, Any]:
    """A node's attributes by name."""
    return {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}


def _values(model: ModelProto, names: list[str], feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What each tensor holds, run without any fusion, so that every tensor is there."""
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = session_options()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        found = create_session(probe.SerializeToString(), options).run(names, feed)
    except RUNTIME_ERRORS as error:
        raise InputError(f"ONNX Runtime cannot run it ({' '.join(str(error).split())[:160]}); mend the file") from error
    return dict(zip(names, found, strict=True))


def _dependent(graph: onnx.GraphProto, source: str) -> set[str]:
    """Tensors whose values change with the input; a shape does not, once it is static."""
    found = {source}
    for node in graph.node:
        if node.op_type not in ("Shape", "Size") and found.intersection(node.input):
            found.update(name for name in node.output if name)
    return found


def _readers(graph: onnx.GraphProto) -> dict[str, tuple[NodeProto, ...]]:
    found: dict[str, tuple[NodeProto, ...]] = {}
    for node in graph.node:
        for name, _ in Counter(filter(None, node.input)).items():
            found[name] = (*found.get(name, ()), node)
    return found
