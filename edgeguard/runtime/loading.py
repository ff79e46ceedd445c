"""Reading a classifier file with care: what it is, where the ECG goes in, where the logits come out."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import external_data_helper, numpy_helper

from edgeguard.errors import InputError
from edgeguard.runtime.external_data import external_files
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.tensor_sizes import check_sizes

_INPUT_DTYPES: dict[int, type[np.generic]] = {
    onnx.TensorProto.FLOAT: np.float32,
    onnx.TensorProto.DOUBLE: np.float64,
    onnx.TensorProto.FLOAT16: np.float16,
    onnx.TensorProto.INT16: np.int16,
    onnx.TensorProto.INT32: np.int32,
    onnx.TensorProto.INT64: np.int64,
}
_LOGIT_TYPES = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16)


@dataclass(frozen=True)
class Signature:
    """Where a classifier takes its ECG and gives its logits.

    Attributes:
        input: name of the input.
        output: name of the output.
        dtype: of the input.
        leading: lengths of the axes between batch and time: (), (1,) or (1, 1).
        trailing: lengths of the axes after time: () or (1,).
        window: samples of the time axis, None where dynamic.
        batch: fixed batch size, None where dynamic.
        classes: length of the last output axis, 1 for an output of the shape [batch]; None where dynamic.
        flat: whether the output has the shape [batch], one number a record.
    """

    input: str
    output: str
    dtype: type[np.generic]
    leading: tuple[int, ...]
    trailing: tuple[int, ...]
    window: int | None
    batch: int | None
    classes: int | None = None
    flat: bool = False

    def shape(self, batch: int, window: int) -> tuple[int, ...]:
        """The shape that the file wants for `batch` windows."""
        return (batch, *self.leading, window, *self.trailing)


@dataclass(frozen=True, eq=False)
class ModelFile:
    """An ONNX file, read and checked once; what is derived from it is derived once.

    Attributes:
        path: of the file.
        proto: the model with all its weights; nobody changes it.
        sha256: hex digest of the file's bytes.
        external: names of the files beside it that hold weights, sorted; mostly none.
    """

    path: Path
    proto: onnx.ModelProto
    sha256: str
    external: tuple[str, ...] = ()

    @cached_property
    def stated(self) -> ModelMetadata:
        """What the file says of itself; InputError where that cannot be read."""
        try:
            return ModelMetadata.from_props({entry.key: entry.value for entry in self.proto.metadata_props})
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error

    @cached_property
    def signature(self) -> Signature:
        """Where the ECG goes in and the logits come out; InputError for a file that is no window classifier."""
        return read_signature(self.proto, self.path)

    @cached_property
    def is_quantised(self) -> bool:
        """Whether the graph computes on integer codes anywhere."""
        return is_quantised(self.proto)

    @cached_property
    def is_stream(self) -> bool:
        """Whether the file remembers a stream in states `past_*`."""
        return any(value.name.startswith("past_") for value in self.proto.graph.input)

    @cached_property
    def content_sha256(self) -> str:
        """Hex digest of the model with the weights that lie outside of its file."""
        return hashlib.sha256(self.proto.SerializeToString(deterministic=True)).hexdigest()


def load_onnx(path: Path) -> onnx.ModelProto:
    """The model of `read_model_file`."""
    return read_model_file(path).proto


def read_model_file(path: Path) -> ModelFile:
    """Read and check an ONNX file; its external data must lie in the file's own folder.

    Raises InputError for a missing file, one that is not ONNX, a damaged one, external data elsewhere, or tensors that
    are larger than `tensor_sizes` allows.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'not found'}; name an .onnx file")
    try:
        content = path.read_bytes()
        model = onnx.load_from_string(content)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
    except (DecodeError, ValueError) as error:
        raise InputError(f"{path}: is not an ONNX file; export the model to .onnx and name that file") from error
    if not model.graph.node:
        raise InputError(f"{path}: is not an ONNX file, or holds an empty graph; export the model anew")
    external = tuple(external_files(model))
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: external data missing, or outside the file's folder ({_one_line(error)}); "
            "put the weights beside the file or save it with the weights inside"
        ) from error
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise InputError(f"{path}: not valid ONNX ({_one_line(error)}); export the model anew") from error
    check_sizes(model, path)
    return ModelFile(path, model, hashlib.sha256(content).hexdigest(), external)


def is_quantised(model: onnx.ModelProto) -> bool:
    """Whether the graph computes on integer codes anywhere."""
    return any(
        node.op_type in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
        or node.op_type.startswith("QLinear")
        for node in model.graph.node
    )


def read_signature(model: onnx.ModelProto, where: Path) -> Signature:
    """The one ECG input and the one logits output of a model.

    Raises InputError for other counts of inputs or outputs, other ranks, several leads, or unusable types.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    outputs = list(model.graph.output)
    if any(value.name.startswith("past_") for value in inputs):
        raise InputError(f"{where}: is a streaming file with states; name the window model that it was made from")
    if len(inputs) != 1 or len(outputs) != 1:
        names = f"inputs {_names(inputs)}, outputs {_names(outputs)}"
        raise InputError(f"{where}: one ECG input and one logits output needed, found {names}; cut the graph to them")
    return _signature(inputs[0], outputs[0], where)


def _signature(ecg: onnx.ValueInfoProto, logits: onnx.ValueInfoProto, where: Path) -> Signature:
    for value in (ecg, logits):
        if value.type.WhichOneof("value") != "tensor_type":
            raise InputError(f"{where}: {value.name} is not a tensor; export a model from one tensor to one tensor")
    if (kind := ecg.type.tensor_type.elem_type) not in _INPUT_DTYPES:
        raise InputError(
            f"{where}: input {ecg.name} is {_type_name(kind)}; float or int16, int32, int64 samples needed"
        )
    if (kind := logits.type.tensor_type.elem_type) not in _LOGIT_TYPES:
        raise InputError(f"{where}: output {logits.name} is {_type_name(kind)}; export float logits [batch, classes]")
    dims = _dims(logits)
    if dims is not None and len(dims) not in (1, 2):
        raise InputError(f"{where}: output {logits.name} has shape {_shape(dims)}; logits [batch, classes] needed")
    batch, leading, window, trailing = _layout(_dims(ecg), f"{where}: input {ecg.name}")
    dtype = _INPUT_DTYPES[ecg.type.tensor_type.elem_type]
    flat = dims is not None and len(dims) == 1
    classes = 1 if flat else dims[1] if dims else None
    return Signature(ecg.name, logits.name, dtype, leading, trailing, window, batch, classes, flat)


def _layout(
    dims: list[int | None] | None, where: str
) -> tuple[int | None, tuple[int, ...], int | None, tuple[int, ...]]:
    """(batch, leading axes, window, trailing axes) of an input shape; None stands for a dynamic axis."""
    match dims:
        case [batch, window]:
            return batch, (), window, ()
        case [batch, 1, window]:
            return batch, (1,), window, ()
        case [batch, window, 1]:
            return batch, (), window, (1,)
        case [batch, 1, 1, window]:
            return batch, (1, 1), window, ()
    shape = "no shape" if dims is None else f"shape {_shape(dims)}"
    raise InputError(f"{where} has {shape}; [B,T], [B,1,T], [B,T,1] or [B,1,1,T] of a single lead needed")


def make_batch_symbolic(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model exported with batch 1, with the batch axis left open where the graph allows it.

    Leading ones of Reshape targets become "as in the input". Whether the copy still computes the same is for
    the caller to try.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = copy.graph
    for value in (*graph.input, *graph.output):
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = "batch"
    del graph.value_info[:]
    stored = constants(graph)
    for node in graph.node:
        if node.op_type == "Reshape" and node.input[1] in stored:
            _keep_batch(node, stored[node.input[1]])
    return copy


def _keep_batch(node: onnx.NodeProto, target: onnx.TensorProto) -> None:
    """Let a Reshape take the length of its first axis from its input, where its stored target says one."""
    shape = numpy_helper.to_array(target)
    # With `allowzero`, which torch's exporter sets on every Reshape, a zero would be the length zero.
    literal = [attribute for attribute in node.attribute if attribute.name == "allowzero" and attribute.i]
    # A target that another Reshape shares has its zero already.
    if shape.ndim != 1 or len(shape) < 2 or shape[0] not in (0, 1) or (literal and 0 in shape[1:]):
        return
    for attribute in literal:
        node.attribute.remove(attribute)
    target.CopyFrom(numpy_helper.from_array(np.array([0, *shape[1:]], shape.dtype), target.name))


def constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """Initializers and the values of Constant nodes, by tensor name."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
    return found


def largest_activation(model: onnx.ModelProto, signature: Signature, window: int) -> int:
    """Elements of the largest tensor that one window makes; 0 where shapes cannot be inferred."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for value in probe.graph.input:
        if value.name == signature.input:
            for dim, length in zip(value.type.tensor_type.shape.dim, signature.shape(1, window), strict=True):
                dim.dim_value = length
    try:
        inferred = onnx.shape_inference.infer_shapes(probe)
    except (onnx.shape_inference.InferenceError, ValueError):
        return 0
    return max((_elements(value) for value in inferred.graph.value_info), default=0)


def _elements(value: onnx.ValueInfoProto) -> int:
    dims = _dims(value)
    return 0 if dims is None else int(np.prod([dim or 1 for dim in dims], dtype=np.int64))


def _dims(value: onnx.ValueInfoProto) -> list[int | None] | None:
    """Axis lengths, None for a dynamic axis; None in all for a tensor without a shape."""
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in tensor.shape.dim]


def _shape(dims: list[int | None]) -> str:
    return "[" + ",".join("?" if dim is None else str(dim) for dim in dims) + "]"


def _names(values: list[onnx.ValueInfoProto]) -> str:
    return ", ".join(_iterate_names(values)) or "none"


def _iterate_names(values: list[onnx.ValueInfoProto]) -> Iterator[str]:
    shown = 4
    yield from (value.name for value in values[:shown])
    if len(values) > shown:
        yield f"and {len(values) - shown} more"


def _type_name(kind: int) -> str:
    return str(onnx.TensorProto.DataType.Name(kind)).lower()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]
