"""The twin: a torch module that computes what ONNX Runtime computes from a file, bit for bit, and has gradients.

It interprets the graph that ONNX Runtime itself executes, fused and in its host form, so that nothing about fusion has
to be guessed. Integer arithmetic is exact in floating-point carriers; rounding follows the runtime's kernels; the way
back is a straight-through estimator. Attacks through it are attacks on the deployed file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor, nn

from edgeguard.errors import InputError
from edgeguard.export.executed_graph import executed_graph
from edgeguard.export.operators import Gradient, Node, operator_for
from edgeguard.export.operators.runtime import run_node
from edgeguard.export.straight_through import check_estimator, rounded
from edgeguard.runtime.host_form import host_form
from edgeguard.runtime.loading import Signature, constants, make_batch_symbolic, read_signature
from edgeguard.runtime.model_spec import LOGITS, MICROVOLTS, PROBABILITIES, SIGMOID, SINGLE_LOGIT, last_layer, read_head
from edgeguard.runtime.session import OnnxModel, open_model

_TINY = torch.finfo(torch.float32).tiny


@dataclass(frozen=True)
class _Step:
    """One operator: reads tensors by name, writes others, and names those that nobody reads afterwards."""

    compute: Callable[..., Tensor | tuple[Tensor, ...]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    spent: tuple[str, ...]


class Twin(nn.Module):
    """ecg [B, 1, T] in microvolts to logits [B, C], as a file computes them; made by `build_twin`.

    Of a file that ends in a softmax or a sigmoid the logits are what that last operator takes: its gradient vanishes
    where it saturates, and an attack would stop there. `outputs` are what the file itself gives.

    Attributes:
        gradient: the straight-through estimator, one of `straight_through.ESTIMATORS`; may be set at any time.
        operators: type of each operator, in the order of execution.
    """

    def __init__(
        self,
        steps: list[_Step],
        signature: Signature,
        unit: str,
        gradient: Gradient,
        operators: list[str],
        fixed_batch: int | None,
        *,
        before_head: str,
        head: str,
        threshold_logit: float,
    ) -> None:
        super().__init__()
        self._steps = steps
        self._fixed_batch = fixed_batch
        self._signature = signature
        self._per_microvolt = 1 / MICROVOLTS[unit]
        self._gradient = gradient
        self._before_head = before_head
        self._head = head
        self._threshold_logit = threshold_logit
        self.operators = operators

    @property
    def gradient(self) -> str:
        """The straight-through estimator in use."""
        return self._gradient.estimator

    @gradient.setter
    def gradient(self, estimator: str) -> None:
        self._gradient.estimator = check_estimator(estimator)

    def forward(self, ecg: Tensor) -> Tensor:
        """float32 [B, C] logits of float32 [B, 1, T] microvolts."""
        values = self._computed(ecg, self._before_head)
        if self._head == LOGITS:
            return values
        if self._head == PROBABILITIES:
            return values.clamp_min(_TINY).log()
        if self._head == SIGMOID:
            values = values.clamp_min(_TINY).log() - (1 - values).clamp_min(_TINY).log()
        return torch.cat([torch.zeros_like(values), values - self._threshold_logit], dim=1)

    def outputs(self, ecg: Tensor) -> Tensor:
        """float32 [B, outputs] that the file gives for float32 [B, 1, T] microvolts."""
        return self._computed(ecg, self._signature.output)

    def _computed(self, ecg: Tensor, tensor: str) -> Tensor:
        """float32 [B, values] of one of the graph's tensors."""
        with torch.autocast(ecg.device.type, enabled=False):
            if self._fixed_batch is None or len(ecg) == self._fixed_batch:
                return self._run(ecg, tensor)
            return torch.cat([self._filled(rows, tensor) for rows in ecg.split(self._fixed_batch)])

    def _filled(self, rows: Tensor, tensor: str) -> Tensor:
        """Values of at most as many rows as the graph takes at a time; silence takes the place of the others."""
        assert self._fixed_batch is not None
        silence = rows.new_zeros(self._fixed_batch - len(rows), *rows.shape[1:])
        return self._run(torch.cat([rows, silence]), tensor)[: len(rows)]

    def _run(self, ecg: Tensor, tensor: str) -> Tensor:
        tensors = {self._signature.input: self._samples(ecg.float())}
        for step in self._steps:
            if tensor in tensors:
                break
            made = step.compute(*(tensors[name] for name in step.inputs))
            values = made if isinstance(made, tuple) else (made,)
            tensors.update((name, value) for name, value in zip(step.outputs, values, strict=True) if name)
            for name in step.spent:
                if name != tensor:
                    del tensors[name]
        return tensors[tensor].float().flatten(1) if tensors[tensor].dim() > 1 else tensors[tensor].float()[:, None]

    def _samples(self, ecg: Tensor) -> Tensor:
        """The file's input: its unit, its shape, and for an integer input whole numbers of its range."""
        samples = ecg if self._per_microvolt == 1 else ecg * self._per_microvolt
        samples = samples.reshape(self._signature.shape(len(ecg), ecg.shape[-1]))
        if not np.issubdtype(self._signature.dtype, np.integer):
            return samples
        bounds = np.iinfo(np.dtype(self._signature.dtype))
        return rounded(samples, self.gradient).clamp(bounds.min, bounds.max)


def build_twin(source: OnnxModel | ModelProto | Path | str, *, gradient: str = "clipped") -> Twin:
    """The twin of a classifier file, whoever made it.

    Args:
        source: an opened model, whose options (unit, ...) hold for the twin too; or a file, or a model in memory.
        gradient: the straight-through estimator, `clipped`, `pure` or `none`.

    Raises InputError for an operator that the twin lacks, naming operator, node and opset, and for a file that is no
    single-lead classifier.
    """
    where, unit, threshold_logit = Path("model in memory"), "uV", 0.0
    opened = source if isinstance(source, ModelProto | OnnxModel) else open_model(source)
    if isinstance(opened, ModelProto):
        model = opened
        signature = read_signature(model, where)
    else:
        where, unit, threshold_logit = opened.path, opened.spec.unit, opened.spec.threshold_logit
        model, signature = opened.proto, opened.signature
    # Of a model in memory nobody has tried whether a batch of one can be left open.
    in_memory = None if signature.batch == 1 else signature.batch
    fixed_batch = opened.fixed_batch if isinstance(opened, OnnxModel) else in_memory
    estimator = Gradient(check_estimator(gradient))
    try:
        opens = fixed_batch is None and signature.batch is not None
        graph = executed_graph(make_batch_symbolic(host_form(model)) if opens else host_form(model))
        steps = list(_steps(graph, signature, estimator))
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    before_head, head = _before_head(graph, model, signature)
    return Twin(
        steps,
        signature,
        unit,
        estimator,
        [node.op_type for node in graph.graph.node],
        fixed_batch,
        before_head=before_head,
        head=head,
        threshold_logit=threshold_logit,
    )


def _before_head(executed: ModelProto, stored: ModelProto, signature: Signature) -> tuple[str, str]:
    """(tensor that attacks take, what its values are): the input of the last softmax or sigmoid, else the output.

    Args:
        executed: the graph of the twin, where that last operator may be fused into another.
        stored: the graph of the file.
    """
    output, single = signature.output, signature.classes == 1
    node = last_layer(executed.graph, output)
    if node is not None and read_head(executed.graph, output, single=single) in (PROBABILITIES, SIGMOID):
        return node.input[0], SINGLE_LOGIT if single else LOGITS
    return output, read_head(stored.graph, output, single=single)


def _steps(model: ModelProto, signature: Signature, gradient: Gradient) -> Iterator[_Step]:
    """The graph's operators in order; what is stored is taken in when they are built."""
    stored = {name: numpy_helper.to_array(tensor) for name, tensor in constants(model.graph).items()}
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    nodes = [node for node in model.graph.node if node.op_type != "Constant"]
    exact = any(node.op_type == "QuantizeLinear" for node in nodes)
    last_reader = {name: place for place, node in enumerate(nodes) for name in node.input}
    for place, proto in enumerate(nodes):
        node = _node(proto, stored, opsets, gradient, exact)
        if not node.computed:
            if sum(bool(name) for name in proto.output) != 1:
                raise node.refused("it has several outputs, and nothing computed goes in")
            stored[proto.output[0]] = run_node(node)
            continue
        compute, inputs = operator_for(node), tuple(proto.input[at] for at in node.computed)
        spent = [name for name in dict.fromkeys(inputs) if last_reader[name] == place and name != signature.output]
        yield _Step(compute, inputs, tuple(proto.output), tuple(spent))


def _node(
    proto: NodeProto, stored: dict[str, np.ndarray], opsets: dict[str, int], gradient: Gradient, exact: bool
) -> Node:
    return Node(
        operator=proto.op_type,
        domain=proto.domain,
        name=proto.name or proto.output[0],
        opset=opsets.get(proto.domain, 1),
        attributes={attribute.name: helper.get_attribute_value(attribute) for attribute in proto.attribute},
        constants=tuple(stored.get(name) for name in proto.input),
        computed=tuple(place for place, name in enumerate(proto.input) if name and name not in stored),
        gradient=gradient,
        exact=exact,
        outputs=tuple(bool(name) for name in proto.output),
    )
