"""ONNX Runtime as the authority on functions whose last bit is its library's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
import torch
from onnx import ValueInfoProto, helper, numpy_helper
from torch import Tensor

from edgeguard.export.operators.registry import Node
from edgeguard.export.straight_through import replaced
from edgeguard.runtime.flags import create_session, session_options


def run_node(node: Node, *computed: np.ndarray) -> np.ndarray:
    """What ONNX Runtime's kernel makes of the node's stored inputs and those given."""
    return _run(_session(node, *(value.dtype for value in computed)), *computed)


def as_the_runtime(node: Node, function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A float function with torch's gradient, and ONNX Runtime's values where the graph rounds anywhere.

    The last bit of an exponential or of a float sum depends on the library and on the processor, and a quantiser behind
    it makes whole steps of that.
    """
    if not node.exact:
        return function
    session = _session(node, np.dtype(np.float32))

    def compute(x: Tensor) -> Tensor:
        if x.dtype != torch.float32:
            return function(x)
        exact = torch.from_numpy(_run(session, x.detach().cpu().contiguous().numpy())).to(x.device)
        return replaced(function(x), exact, "pure") if x.requires_grad else exact

    return compute


def _run(session: onnxruntime.InferenceSession, *computed: np.ndarray) -> np.ndarray:
    names = [value.name for value in session.get_inputs()]
    result: np.ndarray = session.run(None, dict(zip(names, computed, strict=True)))[0]
    return result


def _session(node: Node, *types: np.dtype[Any]) -> onnxruntime.InferenceSession:
    """The node as a graph of its own.

    Args:
        types: of the computed inputs.
    """
    arrays = dict(enumerate(node.constants))
    names = [str(at) if at in node.computed or value is not None else "" for at, value in arrays.items()]
    inputs = [
        helper.make_tensor_value_info(str(at), helper.np_dtype_to_tensor_dtype(kind), None)
        for at, kind in zip(node.computed, types, strict=True)
    ]
    graph = helper.make_graph(
        [helper.make_node(node.operator, names, ["y"], domain=node.domain, **node.attributes)],
        node.operator,
        inputs,
        [ValueInfoProto(name="y")],
        [numpy_helper.from_array(value, str(at)) for at, value in arrays.items() if value is not None],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, node.opset)], ir_version=10)
    return create_session(model.SerializeToString(), session_options())
