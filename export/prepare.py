"""A float ONNX file of any exporter prepared for quantisation: folded, static in time, any batch where it can be."""

from pathlib import Path

import onnx
import onnx.inliner
import onnx.version_converter
import onnxruntime
from onnx import ModelProto, TensorProto, helper

from edgeguard.errors import InputError
from edgeguard.export.graph_passes import (
    batch_norm_as_conv,
    fold_batch_norm,
    fold_batch_norm_forwards,
    fold_input_scale,
    remove_unused,
    use_global_average_pool,
)
from edgeguard.export.selection import source_path
from edgeguard.runtime.census import optimized_model
from edgeguard.runtime.flags import RUNTIME_ERRORS
from edgeguard.runtime.loading import Signature, make_batch_symbolic

_OLDEST_OPSET = 13
"""The first opset whose quantisers take one scale a channel."""
_STANDARD = ("", "ai.onnx")


def prepare(
    model: ModelProto,
    signature: Signature,
    where: Path,
    *,
    window: int,
    open_batch: bool,
    opset: int | None = None,
) -> ModelProto:
    """The same network as one plain float graph, weights inside, without metadata.

    Constants are folded, Identity and Dropout are gone, BatchNormalization is folded into convolutions or is one, and a
    mean over time is GlobalAveragePool. Names of input and output stay.

    Args:
        model: with its external data loaded; not changed.
        where: its file, to name in errors.
        window: samples of the input.
        open_batch: let the graph take any batch; the caller has tried that it can.
        opset: that the graph must have at least.

    Raises InputError for a network that does not compute in float32 alone, and for one that cannot be rewritten.
    """
    _check_floats(model, where)
    try:
        prepared = onnx.inliner.inline_local_functions(model) if model.functions else _copy(model)
        least = max(opset or 0, _OLDEST_OPSET)
        if _opset(prepared) < least:
            prepared = onnx.version_converter.convert_version(prepared, least)
        prepared = make_batch_symbolic(prepared) if open_batch else prepared
        _fix_window(prepared, signature, window)
        prepared = _bare(_simplified(prepared))
        fold_batch_norm(prepared)
        fold_batch_norm_forwards(prepared)
        batch_norm_as_conv(prepared)
        for name in list(source_path(prepared, signature.input)):
            fold_input_scale(prepared, name)
        use_global_average_pool(prepared)
        remove_unused(prepared)
        for node in prepared.graph.node:
            node.name = f"{node.op_type}_{next(filter(None, node.output))}"
        onnx.checker.check_model(prepared, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, *RUNTIME_ERRORS, RuntimeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{where}: cannot be prepared for quantisation ({reason}); export the model anew") from error
    return prepared


def _check_floats(model: ModelProto, where: Path) -> None:
    """Refuse weights of another width than float32."""
    names = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16", TensorProto.DOUBLE: "float64"}
    found = {names[tensor.data_type] for tensor in model.graph.initializer if tensor.data_type in names and tensor.dims}
    if found:
        raise InputError(
            f"{where}: has weights in {', '.join(sorted(found))}; export the network in float32 to quantise it"
        )


def _simplified(model: ModelProto) -> ModelProto:
    """By ONNX Runtime's own rewrites of the first level, where they keep to the standard's operators."""
    simple = optimized_model(model, level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC)
    return simple if all(node.domain in _STANDARD for node in simple.graph.node) else model


def _fix_window(model: ModelProto, signature: Signature, window: int) -> None:
    """Give the time axis of the input its length."""
    for value in model.graph.input:
        if value.name == signature.input:
            value.type.tensor_type.shape.dim[len(signature.leading) + 1].dim_value = window


def _bare(model: ModelProto) -> ModelProto:
    """Only the graph: an exporter's notes hold paths of the machine it ran on."""
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        made = helper.make_node(node.op_type, node.input, node.output, domain=node.domain)
        made.attribute.extend(node.attribute)
        nodes.append(made)
    bare = helper.make_model(
        helper.make_graph(
            nodes,
            "edgeguard",
            [_value(value) for value in graph.input if value.name not in weights],
            [_value(value) for value in graph.output],
            graph.initializer,
        ),
        opset_imports=[entry for entry in model.opset_import if entry.domain in _STANDARD],
        producer_name="edgeguard",
    )
    bare.ir_version = max(model.ir_version, 8)
    return bare


def _value(value: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    shape = [dim.dim_param or dim.dim_value or None for dim in value.type.tensor_type.shape.dim]
    return helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape)


def _opset(model: ModelProto) -> int:
    return next((entry.version for entry in model.opset_import if entry.domain in _STANDARD), 1)


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy
