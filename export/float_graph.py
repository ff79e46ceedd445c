"""torch to float ONNX: one clean graph, scale and batch normalisation folded, static in time, any batch."""

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from onnx import ModelProto, helper, numpy_helper
from torch import Tensor, nn

from edgeguard.errors import InputError
from edgeguard.export.graph_passes import (
    INPUT,
    fold_batch_norm,
    fold_input_scale,
    remove_unused,
    use_global_average_pool,
)

OPSET = 21
OUTPUT = "logits"


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
