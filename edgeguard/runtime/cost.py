"""What a classifier file costs a small processor: multiply-accumulates, bytes of flash, bytes of memory.

Counted from the ONNX graph alone, for window and streaming files alike. The memory is that of an 8-bit runtime that
works channels last, as TensorFlow Lite Micro with CMSIS-NN does:

- A kernel writes its result as the codes that the following QuantizeLinear makes of it, activation included; a
  DequantizeLinear costs nothing, because the next kernel reads the codes.
- Reshaping, a crop in time, and a change between channels first and channels last are other views of the same bytes.
  Everything else makes a copy, joining a layer's past inputs with its new ones included; but the sums for a global pool
  are added up where they lie.
- A tensor's bytes are free again after its last reader. Of a chain of layers the peak is the largest pair of input and
  output, the two halves of a ping-pong buffer; of a branch, what waits for the other branch is added.
- Input and states are kept between calls, so they are counted apart; new states are written over the old ones.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeguard.errors import InputError
from edgeguard.runtime.loading import constants, read_signature

PAST, PRESENT = "past_", "present_"
"""How the names of a streaming file's states begin, as inputs and as outputs."""

REQUANTIZATION_BYTES = 8
"""An int32 multiplier and an int32 shift for each output channel (CMSIS-NN, `cmsis_nn_per_channel_quant_params`)."""

_VIEWS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
_RELAYOUTS = ([0, 2, 1], [0, 2, 3, 1], [0, 3, 1, 2])
"""Permutations between channels first and channels last."""

_FILTERS = {"AveragePool", "Conv", "ConvInteger", "ConvTranspose", "MaxPool", "QLinearConv"}
"""Operators whose results the graph has channels first, and a small runtime channels last."""

_LIKE_INPUT = {
    "Add",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "DequantizeLinear",
    "Identity",
    "Mul",
    "QuantizeLinear",
    "Relu",
    "Slice",
}
"""Operators whose results are laid out as their inputs are."""

_FUSED = {"BatchNormalization", "Clip", "QuantizeLinear", "Relu"}
"""Operators that the kernel before them does in passing."""

_QUANTIZATION_INPUTS = {
    "QuantizeLinear": (1, 2),
    "DequantizeLinear": (1, 2),
    "QLinearConv": (1, 2, 4, 5, 6, 7),
    "QLinearMatMul": (1, 2, 4, 5, 6, 7),
    "ConvInteger": (2, 3),
    "MatMulInteger": (2, 3),
}
"""Operator -> positions of scales and zero points, which a runtime turns into multipliers and shifts."""

_OPERANDS = {
    "Conv": (0, 1),
    "ConvInteger": (0, 1),
    "ConvTranspose": (0, 1),
    "GRU": (0, 1),
    "Gemm": (0, 1),
    "LSTM": (0, 1),
    "MatMul": (0, 1),
    "MatMulInteger": (0, 1),
    "QLinearConv": (0, 3),
    "QLinearMatMul": (0, 3),
    "RNN": (0, 1),
}
"""Operators that multiply and accumulate -> positions of activation and weight."""

_UNCOUNTED = {"Attention", "DeformConv", "Einsum", "If", "Loop", "Scan"}
"""Operators whose work or memory the rules above do not give."""

_BITS: dict[int, int] = {TensorProto.INT4: 4, TensorProto.UINT4: 4}


@dataclass(frozen=True)
class LayerCost:
    """Work of one node.

    Attributes:
        name: its output tensor.
        operator: ONNX type.
        macs: multiply-accumulates in one call.
        integer: whether both factors are 8-bit codes.
        channels: input channels of one group of a convolution; None of other layers.
    """

    name: str
    operator: str
    macs: int
    integer: bool
    channels: int | None


@dataclass(frozen=True)
class State:
    """One `past_*` input of a streaming file.

    Attributes:
        name: of the input.
        bytes: that it takes.
        ring: whether it holds sums for the global pool rather than a layer's past inputs.
    """

    name: str
    bytes: int
    ring: bool


@dataclass(frozen=True)
class FileCost:
    """What one call of a file, one window or one hop, costs.

    Attributes:
        samples: of the input: the window, or a streaming file's hop.
        layers: the nodes that multiply and accumulate, in order.
        weight_bytes: quantised weights.
        bias_bytes: int32 biases.
        requantization_bytes: multiplier and shift for each channel of a quantised layer.
        float_bytes: floating-point constants: a float head, or all of a float network.
        input_bytes: the input as the firmware keeps it, in codes where the file quantises it first.
        activation_bytes: peak of the tensors that are alive at once.
        scratch_bytes: columns that the largest 8-bit convolution unrolls its input into.
        states: kept between the calls of a streaming file.
    """

    samples: int
    layers: tuple[LayerCost, ...]
    weight_bytes: int
    bias_bytes: int
    requantization_bytes: int
    float_bytes: int
    input_bytes: int
    activation_bytes: int
    scratch_bytes: int
    states: tuple[State, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers."""
        return sum(layer.macs for layer in self.layers)

    @property
    def integer_macs(self) -> int:
        """Those of two 8-bit factors."""
        return sum(layer.macs for layer in self.layers if layer.integer)

    @property
    def single_channel_macs(self) -> int:
        """Those of convolutions with one input channel a group: the first layer and depthwise ones."""
        return sum(layer.macs for layer in self.layers if layer.channels == 1)

    @property
    def flash_bytes(self) -> int:
        """All constants."""
        return self.weight_bytes + self.bias_bytes + self.requantization_bytes + self.float_bytes

    @property
    def streaming(self) -> bool:
        """Whether the file keeps states."""
        return bool(self.states)


def file_cost(model: onnx.ModelProto, where: Path, *, window: int | None = None) -> FileCost:
    """Count what one call of a classifier costs.

    Args:
        where: file to name in errors.
        window: samples of a window model's input; None: as the file says.

    Raises InputError for a model that is no classifier of one lead, has a dynamic shape left, or holds an operator
    whose work cannot be counted.
    """
    for node in model.graph.node:
        if node.op_type in _UNCOUNTED or node.domain not in ("", "ai.onnx"):
            raise InputError(f"{where}: work of operator {node.op_type} cannot be counted; export without it")
    ecg, samples, inferred = _infer(model, where, window)
    graph = _Graph(inferred, where)
    memory = _Memory(graph, ecg)
    layers = tuple(_layers(graph))
    return FileCost(
        samples=samples,
        layers=layers,
        **_flash(graph),
        input_bytes=memory.bytes_of(ecg),
        activation_bytes=memory.peak(),
        scratch_bytes=_scratch(graph, layers),
        states=tuple(graph.states.values()),
    )


def _infer(model: onnx.ModelProto, where: Path, window: int | None) -> tuple[str, int, onnx.ModelProto]:
    """(input that takes the ecg, its samples, a copy for one row with all shapes that can be inferred)."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    signals = [value for value in inputs if not value.name.startswith(PAST)]
    if len(signals) < len(inputs):
        if len(signals) != 1:
            raise InputError(f"{where}: one input beside the states needed; name a streaming file that EdgeGuard made")
        shape = [dim.dim_value for dim in signals[0].type.tensor_type.shape.dim]
        name, samples = signals[0].name, shape[-1] if shape else 0
    else:
        signature = read_signature(model, where)
        name, samples = signature.input, signature.window or window or 0
        shape = list(signature.shape(1, samples))
    if samples < 1:
        raise InputError(f"{where}: does not say the length of its window; add --window SAMPLES")
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        if value.name == name:
            for dim, length in zip(value.type.tensor_type.shape.dim, shape, strict=True):
                dim.dim_value = length
    try:
        inferred = onnx.shape_inference.infer_shapes(copy, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{where}: shapes do not fit together ({reason}); export the model anew") from error
    return name, samples, inferred


class _Graph:
    """Nodes, shapes and constants of a model for one row.

    Attributes:
        nodes: in the order of the file, without those that only serve constants.
        constants: name -> value.
        dequantized: name of a constant in float -> name of its codes.
        types: element type by tensor.
        readers: number of readers by tensor, outputs of the graph not counted.
        states: of a streaming file.
        views: output -> whether it is its first input in another shape, crop or layout.
    """

    def __init__(self, model: onnx.ModelProto, where: Path) -> None:
        graph = model.graph
        self.where = where
        self.constants = constants(graph)
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.types: dict[str, int] = {}
        for value in (*graph.input, *graph.value_info, *graph.output):
            tensor = value.type.tensor_type
            self.types[value.name] = tensor.elem_type
            dims = tensor.shape.dim
            if tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
                self.shapes[value.name] = tuple(dim.dim_value for dim in dims)
        for name, constant in self.constants.items():
            self.types[name], self.shapes[name] = constant.data_type, tuple(constant.dims)
        self.dequantized = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type == "DequantizeLinear" and node.input[0] in self.constants
        }
        idle = ("Constant", "DequantizeLinear")
        self.nodes = [n for n in graph.node if not (n.op_type in idle and self.is_constant(n.output[0]))]
        self.readers = Counter(name for node in self.nodes for name in dict.fromkeys(node.input) if name)
        weights = {tensor.name for tensor in graph.initializer}
        names = [v.name for v in graph.input if v.name.startswith(PAST) and v.name not in weights]
        self.states = {name: State(name, self.bytes_of(name), self._is_ring(name)) for name in names}
        swapped: set[str] = set()
        self.views = {node.output[0]: self._is_view(node, swapped) for node in self.nodes}

    def is_constant(self, name: str) -> bool:
        """Whether a tensor is known when the file is compiled."""
        return name in self.constants or name in self.dequantized

    def shape(self, name: str) -> tuple[int, ...]:
        """Axis lengths; InputError where they depend on the data."""
        shape = self.shapes.get(self.dequantized.get(name, name))
        if shape is None:
            raise InputError(f"{self.where}: tensor {name} has no fixed shape; export with fixed shapes")
        return shape

    def bytes_of(self, name: str) -> int:
        """Bytes of a tensor in its own type."""
        return stored_bytes(prod(self.shape(name)), self.types[name])

    def _is_ring(self, name: str) -> bool:
        """Whether a state holds sums: by its width, or of a float network by its name."""
        wide = (TensorProto.INT16, TensorProto.UINT16, TensorProto.INT32, TensorProto.UINT32, TensorProto.INT64)
        return self.types[name] in wide or any(word in name for word in ("pool", "sums"))

    def _is_view(self, node: onnx.NodeProto, swapped: set[str]) -> bool:
        """Whether a node's output is part of its first input's bytes.

        Args:
            swapped: tensors so far that the graph has channels first and memory channels last; outputs are added.
        """
        if node.op_type == "Transpose":
            permutation = next((list(a.ints) for a in node.attribute if a.name == "perm"), [])
            if permutation in _RELAYOUTS and node.input[0] not in swapped:
                swapped.add(node.output[0])
            return permutation in _RELAYOUTS
        like = node.op_type in _LIKE_INPUT and any(name in swapped for name in node.input)
        if node.op_type in _FILTERS or like:
            swapped.update(node.output)
        if node.op_type == "Slice":
            return self._is_contiguous(node, node.input[0] in swapped)
        return node.op_type in _VIEWS

    def _is_contiguous(self, node: onnx.NodeProto, swapped: bool) -> bool:
        """Whether a Slice crops the outermost axis, as memory has it, of more than one entry."""
        if len(node.input) < 4 or any(name and name not in self.constants for name in node.input[1:]):
            return False
        values = [numpy_helper.to_array(self.constants[name]).tolist() for name in node.input[3:] if name]
        axes, steps = values[0], values[1] if len(values) > 1 else [1]
        shape = self.shape(node.input[0])
        if len(axes) != 1 or steps != [1]:
            return False
        axis = axes[0] % len(shape)
        # Channels last: the graph's axis 1 is memory's innermost.
        return prod(shape[:axis]) == 1 if not swapped else axis > 1 and prod(shape[2:axis]) == 1


def stored_bytes(elements: int, kind: int) -> int:
    """Bytes of `elements` values of an ONNX element type, 4-bit ones two to a byte."""
    bits = _BITS.get(kind)
    return ceil(elements * bits / 8) if bits else elements * helper.tensor_dtype_to_np_dtype(kind).itemsize


def _layers(graph: _Graph) -> Iterator[LayerCost]:
    codes = {node.output[0]: node.input[0] for node in graph.nodes if node.op_type == "DequantizeLinear"}
    for node in graph.nodes:
        if node.op_type not in _OPERANDS:
            continue
        activation, weight = (node.input[position] for position in _OPERANDS[node.op_type])
        kinds = [graph.types.get(codes.get(name, graph.dequantized.get(name, name))) for name in (activation, weight)]
        integer = all(kind in (TensorProto.INT8, TensorProto.UINT8) for kind in kinds)
        channels = graph.shape(weight)[1] if node.op_type in ("Conv", "ConvInteger", "QLinearConv") else None
        name = next(filter(None, node.output))
        yield LayerCost(name, node.op_type, _macs(graph, node, activation, weight), integer, channels)


def _macs(graph: _Graph, node: onnx.NodeProto, activation: str, weight: str) -> int:
    kernel = graph.shape(weight)
    if node.op_type in ("Conv", "ConvInteger", "QLinearConv"):
        # A weight works once at every place of its output channel.
        return prod(kernel) * prod(graph.shape(node.output[0])) // kernel[0]
    if node.op_type == "ConvTranspose":
        return prod(kernel) * prod(graph.shape(activation)) // kernel[0]
    if node.op_type in ("GRU", "LSTM", "RNN"):
        steps, batch, _ = graph.shape(activation)
        return (prod(kernel) + prod(graph.shape(node.input[2]))) * steps * batch
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return prod(graph.shape(node.output[0])) * graph.shape(activation)[0 if transposed else -1]


def _flash(graph: _Graph) -> dict[str, int]:
    """The fields of `FileCost` that lie in flash; constants that only steer shapes are compiled into code."""
    total = dict.fromkeys(("weight_bytes", "bias_bytes", "requantization_bytes", "float_bytes"), 0)
    read = {graph.dequantized.get(name, name) for node in graph.nodes for name in _values(node)}
    for name in read & graph.constants.keys():
        kind = graph.types[name]
        if kind == TensorProto.INT32:
            total["bias_bytes"] += graph.bytes_of(name)
        elif kind in (TensorProto.INT8, TensorProto.UINT8, TensorProto.INT16, TensorProto.UINT16, *_BITS):
            total["weight_bytes"] += graph.bytes_of(name)
        elif kind in (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16):
            total["float_bytes"] += graph.bytes_of(name)
    for node in graph.nodes:
        if node.op_type in _OPERANDS:
            weight = node.input[_OPERANDS[node.op_type][1]]
            quantized = weight in graph.dequantized or node.op_type.startswith("QLinear")
            total["requantization_bytes"] += REQUANTIZATION_BYTES * _output_channels(graph, node) if quantized else 0
    return total


def _values(node: onnx.NodeProto) -> Iterator[str]:
    """Inputs of a node that are neither scales nor zero points."""
    parameters = _QUANTIZATION_INPUTS.get(node.op_type, ())
    return (name for position, name in enumerate(node.input) if position not in parameters)


def _output_channels(graph: _Graph, node: onnx.NodeProto) -> int:
    shape = graph.shape(node.output[0])
    return shape[1] if "Conv" in node.op_type else shape[-1]


def _scratch(graph: _Graph, layers: tuple[LayerCost, ...]) -> int:
    """Two unrolled columns of int16 (CMSIS-NN, `arm_convolve_s8_get_buffer_size`), of the largest convolution."""
    convolutions = {layer.name for layer in layers if layer.integer and layer.channels is not None}
    kernels = [
        graph.shape(node.input[_OPERANDS[node.op_type][1]]) for node in graph.nodes if node.output[0] in convolutions
    ]
    return max((2 * 2 * prod(kernel[1:]) for kernel in kernels), default=0)


@dataclass(eq=False)
class _Buffer:
    """Bytes that one or several tensors, views of each other, share.

    Attributes:
        size: bytes of the codes that are kept.
        quantization: scale and zero point of the codes, None where unknown or float.
        kept: whether it outlives the call, and so is not an activation.
    """

    size: int
    quantization: tuple[bytes, ...] | None = None
    kept: bool = False


class _Memory:
    """Where the tensors of one call lie."""

    def __init__(self, graph: _Graph, ecg: str) -> None:
        self._graph = graph
        self._of: dict[str, _Buffer] = {}
        self._steps: list[list[_Buffer]] = []
        for name in (ecg, *graph.states):
            self._of[name] = _Buffer(graph.bytes_of(name), kept=True)
        for node in _scheduled(graph):
            self._run(node)

    def bytes_of(self, name: str) -> int:
        """Bytes of the buffer that a tensor lies in."""
        return self._of[name].size

    def peak(self) -> int:
        """Largest sum of the buffers that are alive at one step."""
        last = {id(buffer): step for step, buffers in enumerate(self._steps) for buffer in buffers}
        first: dict[int, int] = {}
        change: Counter[int] = Counter()
        for step, buffers in enumerate(self._steps):
            for buffer in buffers:
                if not buffer.kept and id(buffer) not in first:
                    first[id(buffer)] = step
                    change[step] += buffer.size
                    change[last[id(buffer)] + 1] -= buffer.size
        return int(np.cumsum([change[step] for step in range(len(self._steps) + 1)]).max(initial=0))

    def _run(self, node: onnx.NodeProto) -> None:
        """Place the outputs of a node, and note what it touches."""
        graph = self._graph
        sources = [self._of[name] for name in node.input if name in self._of]
        shared = sources[0] if sources and node.input[0] in self._of and self._shares(node) else None
        outputs = [name for name in node.output if name]
        rings = [graph.states[name].bytes for name in node.input if name in graph.states and graph.states[name].ring]
        lying = sum(rings) if node.op_type == "Concat" else 0
        for name in outputs:
            self._of[name] = shared or _Buffer(graph.bytes_of(name) - lying, kept=name.startswith(PRESENT))
        made = self._of[outputs[0]]
        if made.quantization is None and node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            made.quantization = self._quantization(node)
            if node.op_type == "QuantizeLinear":
                made.size = graph.bytes_of(outputs[0])
        self._steps.append([*sources, *(self._of[name] for name in outputs)])

    def _shares(self, node: onnx.NodeProto) -> bool:
        """Whether the output lies where the first input does."""
        source = self._of[node.input[0]]
        if node.op_type == "DequantizeLinear" or self._graph.views[node.output[0]]:
            return True
        if node.op_type == "QuantizeLinear" and source.quantization is not None:
            return source.quantization == self._quantization(node)
        return node.op_type in _FUSED and self._graph.readers[node.input[0]] == 1

    def _quantization(self, node: onnx.NodeProto) -> tuple[bytes, ...]:
        known = self._graph.constants
        values = [numpy_helper.to_array(known[name]) for name in node.input[1:] if name in known]
        return tuple(value.tobytes() for value in values)


def _scheduled(graph: _Graph) -> Iterator[onnx.NodeProto]:
    """The nodes in the order of the file, but each view right after what it is a view of."""
    views: dict[str, list[onnx.NodeProto]] = {}
    later = set()
    for node in graph.nodes:
        if node.op_type == "DequantizeLinear" or graph.views[node.output[0]]:
            views.setdefault(node.input[0], []).append(node)
            later.add(id(node))

    def following(name: str) -> Iterator[onnx.NodeProto]:
        for view in views.pop(name, []):
            yield view
            yield from following(view.output[0])

    produced = {name for node in graph.nodes for name in node.output}
    for name in [name for name in views if name not in produced]:
        yield from following(name)
    for node in graph.nodes:
        if id(node) not in later:
            yield node
            for output in node.output:
                yield from following(output)
