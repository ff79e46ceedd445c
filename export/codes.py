"""The integer codes inside a quantised graph: those its input becomes, and those its float tail starts from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeguard.runtime.loading import constants
from edgeguard.runtime.session import OnnxModel

_BEFORE_INPUT_CODES = {"Cast", "Div", "Flatten", "Identity", "Mul", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}


@dataclass(frozen=True)
class Codes:
    """A quantised tensor.

    Attributes:
        tensor: its name.
        scale, zero_point: value = (code - zero_point) * scale.
        dtype: of the codes.
    """

    tensor: str
    scale: float
    zero_point: int
    dtype: np.dtype


def input_codes(model: ModelProto, name: str) -> Codes | None:
    """The codes that the input `name` becomes at its QuantizeLinear; None where nothing quantises it at once."""
    known = constants(model.graph)
    reached = {name}
    for node in model.graph.node:
        if not reached & set(node.input):
            continue
        if node.op_type == "QuantizeLinear":
            return _codes(node, node.output[0], known)
        if node.op_type in _BEFORE_INPUT_CODES:
            reached.update(node.output)
    return None


def last_codes(model: ModelProto) -> Codes | None:
    """The last activation that the graph turns back from codes into float; `tensor` names that float tensor.

    None for a graph that has no codes, or other ones than one scale a tensor.
    """
    known = constants(model.graph)
    activations = [n for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] not in known]
    return _codes(activations[-1], activations[-1].output[0], known) if activations else None


def with_output(model: ModelProto, tensor: str, dtype: int = TensorProto.FLOAT) -> ModelProto:
    """A copy of a model that gives one of its inner tensors instead of its logits."""
    copy = ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_tensor_value_info(tensor, dtype, None))
    return copy


def each_row(
    run: Callable[[dict[str, np.ndarray]], np.ndarray], file: OnnxModel, ecg: np.ndarray, *, batch: int
) -> np.ndarray:
    """What an engine makes of windows [B, 1, T], one after another: [B, values], wherever the graph keeps its batch.

    Args:
        run: (input name -> samples) to the one output.
        file: whose input the engine takes.
        batch: that the graph insists on; a row is repeated to fill it.
    """
    made = (run(file.feed(np.repeat(row[None], batch, axis=0))) for row in ecg)
    return np.stack([(value if batch == 1 else value[0]).reshape(-1) for value in made])


def _codes(node: NodeProto, tensor: str, known: Mapping[str, TensorProto]) -> Codes | None:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear; None unless both are constant scalars."""
    scale = known.get(node.input[1])
    if scale is None or int(np.prod(scale.dims)) != 1:
        return None
    if len(node.input) < 3 or not node.input[2]:
        declared = next((a.i for a in node.attribute if a.name == "output_dtype" and a.i), TensorProto.UINT8)
        zero_point, dtype = 0, np.dtype(onnx.helper.tensor_dtype_to_np_dtype(declared))
    elif node.input[2] in known:
        value = numpy_helper.to_array(known[node.input[2]])
        zero_point, dtype = int(value.item()), value.dtype
    else:
        return None
    return Codes(tensor, float(numpy_helper.to_array(scale).item()), zero_point, dtype)
