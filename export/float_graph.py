"""torch to float ONNX: one clean graph, scale and batch normalisation folded, static in time, any batch."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator

import numpy as np
import onnx
import torch
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor, nn

from edgeguard.errors import InputError

OPSET = 21
INPUT, OUTPUT = "ecg", "logits"


class _Mean(nn.Module):
    """Global average over time as a mean: the exporter turns it into one node."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(-1, keepdim=True)


def export_float(model: nn.Module, *, window: int) -> ModelProto:
    """The network as an ONNX graph from ecg [batch, 1, window] in microvolts to logits [batch, C].

    Raises InputError for a network that the exporter cannot trace.
    """
    module = _with_means(copy.deepcopy(model).cpu().eval())
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    # An example batch of one would be taken for a constant.
    example = torch.zeros(2, 1, window)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch},),
                verbose=False,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise InputError(
            f"the network cannot be traced to ONNX ({str(error).splitlines()[0]}); avoid data-dependent control flow"
        ) from error
    assert program is not None
    graph = _bare(program.model_proto)
    fold_batch_norm(graph)
    fold_input_scale(graph)
    use_global_average_pool(graph)
    remove_unused(graph)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def fold_batch_norm(model: ModelProto) -> None:
    """Fold each BatchNormalization into the Conv before it, in place, where nothing else reads the Conv."""
    constants = initializers(model)
    producers = {output: node for node in model.graph.node for output in node.output}
    readers = consumers(model)
    for norm in [n for n in model.graph.node if n.op_type == "BatchNormalization"]:
        conv = producers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or len(readers[conv.output[0]]) > 1 or conv.input[1] not in constants:
            continue
        weight = constants[conv.input[1]].astype(np.float64)
        bias = constants[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
        gamma, beta, mean, variance = (constants[name].astype(np.float64) for name in norm.input[1:5])
        epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
        factor = gamma / np.sqrt(variance + epsilon)
        _set_conv(model, conv, weight * factor[:, None, None], (bias - mean) * factor + beta)
        conv.output[0] = norm.output[0]
        model.graph.node.remove(norm)


def fold_input_scale(model: ModelProto) -> None:
    """Fold a constant factor on the input into the convolution behind it, in place, so that `ecg` feeds it directly."""
    constants = initializers(model)
    readers = consumers(model)
    first = readers.get(INPUT, [])
    if len(first) != 1 or first[0].op_type not in ("Mul", "Div"):
        return
    scaling = first[0]
    place = list(scaling.input).index(INPUT)
    constant = constants.get(scaling.input[1 - place])
    inverse = scaling.op_type == "Div"
    if constant is None or constant.size != 1 or (inverse and place == 1):
        return
    following = readers.get(scaling.output[0], [])
    if not following or not all(node.op_type == "Conv" and node.input[1] in constants for node in following):
        return
    factor = 1 / float(constant.reshape(())) if inverse else float(constant.reshape(()))
    for conv in following:
        bias = constants[conv.input[2]] if len(conv.input) > 2 else None
        _set_conv(model, conv, constants[conv.input[1]].astype(np.float64) * factor, bias)
        conv.input[0] = INPUT
    model.graph.node.remove(scaling)


def use_global_average_pool(model: ModelProto) -> None:
    """Replace a mean over the last of three axes by GlobalAveragePool, which has an integer kernel; in place."""
    constants = initializers(model)
    for node in [n for n in model.graph.node if n.op_type == "ReduceMean" and len(n.input) == 2]:
        axes = constants.get(node.input[1])
        keep = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
        if axes is None or axes.tolist() not in ([2], [-1]) or not keep:
            continue
        node.op_type = "GlobalAveragePool"
        del node.input[1:], node.attribute[:]


def remove_unused(model: ModelProto) -> None:
    """Drop initializers that no node reads, in place."""
    used = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def initializers(model: ModelProto) -> dict[str, np.ndarray]:
    """Constant tensors of the graph by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def consumers(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Tensor name to the nodes that read it."""
    readers: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    return readers


def _set_conv(model: ModelProto, conv: NodeProto, weight: np.ndarray, bias: np.ndarray | float | None) -> None:
    """Give a convolution weights and bias of its own."""
    name = conv.output[0]
    model.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), f"{name}.weight"))
    inputs = [conv.input[0], f"{name}.weight"]
    if bias is not None:
        row = np.broadcast_to(np.asarray(bias, np.float32), weight.shape[:1]).copy()
        model.graph.initializer.append(numpy_helper.from_array(row, f"{name}.bias"))
        inputs.append(f"{name}.bias")
    del conv.input[:]
    conv.input.extend(inputs)


def _with_means(module: nn.Module) -> nn.Module:
    """The module with every AdaptiveAvgPool1d(1) as a mean, which the exporter keeps in one node."""
    for name, child in module.named_children():
        if isinstance(child, nn.AdaptiveAvgPool1d) and child.output_size in (1, (1,)):
            setattr(module, name, _Mean())
        else:
            _with_means(child)
    return module


def _bare(model: ModelProto) -> ModelProto:
    """Only the graph: tracing notes hold paths and names of the machine that exported."""
    graph = helper.make_graph(
        [helper.make_node(n.op_type, n.input, n.output, domain=n.domain) for n in model.graph.node],
        "edgeguard",
        [helper.make_tensor_value_info(i.name, i.type.tensor_type.elem_type, _shape(i)) for i in model.graph.input],
        [helper.make_tensor_value_info(o.name, o.type.tensor_type.elem_type, _shape(o)) for o in model.graph.output],
        [numpy_helper.from_array(numpy_helper.to_array(t), t.name) for t in model.graph.initializer],
    )
    for made, original in zip(graph.node, model.graph.node, strict=True):
        made.name = f"{original.op_type}_{original.output[0]}"
        made.attribute.extend(original.attribute)
    bare = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="edgeguard")
    bare.ir_version = 10
    return bare


def _shape(value: onnx.ValueInfoProto) -> list[int | str]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks on stdout, through warnings and through logging."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
