"""Rewrites of a float graph that change no value: normalisation folded, means as pools, nothing unused."""

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

INPUT = "ecg"
"""Name of the input in graphs that EdgeGuard exports itself."""


def fold_batch_norm(model: ModelProto) -> None:
    """Fold each BatchNormalization into the Conv before it, in place, where nothing else reads the Conv."""
    constants = initializers(model)
    producers = {output: node for node in model.graph.node for output in node.output}
    readers = consumers(model)
    for norm in _batch_norms(model):
        conv = producers.get(norm.input[0])
        if conv is None or conv.op_type != "Conv" or len(readers[conv.output[0]]) > 1 or conv.input[1] not in constants:
            continue
        weight = constants[conv.input[1]].astype(np.float64)
        bias = constants[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
        factor, shift = _affine(norm, constants)
        _set_conv(model, conv, weight * _along_first(factor, weight.ndim), bias * factor + shift)
        conv.output[0] = norm.output[0]
        model.graph.node.remove(norm)


def fold_batch_norm_forwards(model: ModelProto) -> None:
    """Fold each BatchNormalization into the Conv behind it, in place, where that pads nothing and it alone reads it.

    A convolution that pads sees zeros where the normalisation would have put its shift.
    """
    constants = initializers(model)
    readers = consumers(model)
    for norm in _batch_norms(model):
        following = readers.get(norm.output[0], [])
        if len(following) != 1 or following[0].op_type != "Conv" or following[0].input[1] not in constants:
            continue
        conv = following[0]
        about = {entry.name: helper.get_attribute_value(entry) for entry in conv.attribute}
        if any(about.get("pads", ())) or about.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
            continue
        weight = constants[conv.input[1]].astype(np.float64)
        bias = constants[conv.input[2]].astype(np.float64) if len(conv.input) > 2 else 0.0
        factor, shift = (
            np.repeat(_by_group(part, about.get("group", 1)), len(weight) // about.get("group", 1), axis=0)
            for part in _affine(norm, constants)
        )
        spread = (slice(None), slice(None), *[None] * (weight.ndim - 2))
        moved = (weight * shift[spread]).reshape(len(weight), -1).sum(axis=1)
        _set_conv(model, conv, weight * factor[spread], bias + moved)
        conv.input[0] = norm.input[0]
        model.graph.node.remove(norm)


def batch_norm_as_conv(model: ModelProto) -> None:
    """Replace each other BatchNormalization over channels and time by a Conv of one tap a channel; in place.

    The same numbers, by an operator that has an integer kernel.
    """
    constants = initializers(model)
    shapes = _shapes(model)
    for norm in _batch_norms(model):
        rank = len(shapes.get(norm.input[0], ()))
        if rank < 3:
            continue
        factor, shift = _affine(norm, constants)
        conv = helper.make_node("Conv", [norm.input[0]], list(norm.output), norm.name, group=len(factor))
        model.graph.node.insert(list(model.graph.node).index(norm), conv)
        model.graph.node.remove(norm)
        placed = next(node for node in model.graph.node if node.output[0] == norm.output[0])
        _set_conv(model, placed, factor.reshape(-1, *[1] * (rank - 1)), shift)


def fold_input_scale(model: ModelProto, source: str = INPUT) -> None:
    """Fold a constant factor on the input into the convolution behind it, in place, so that `source` feeds it directly.

    Args:
        source: the input, or a tensor that is the input in another shape.
    """
    constants = initializers(model)
    readers = consumers(model)
    first = readers.get(source, [])
    if len(first) != 1 or first[0].op_type not in ("Mul", "Div"):
        return
    scaling = first[0]
    place = list(scaling.input).index(source)
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
        conv.input[0] = source
    model.graph.node.remove(scaling)


def use_global_average_pool(model: ModelProto) -> None:
    """Replace a mean over all axes behind the channels by GlobalAveragePool, which has an integer kernel; in place."""
    constants = initializers(model)
    shapes = _shapes(model)
    for node in [n for n in model.graph.node if n.op_type == "ReduceMean"]:
        rank = len(shapes.get(node.input[0], ()))
        about = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        axes = constants.get(node.input[1]) if len(node.input) == 2 else np.asarray(about.get("axes", ()), np.int64)
        if rank < 3 or axes is None or {int(axis) % rank for axis in axes} != set(range(2, rank)):
            continue
        if not about.get("keepdims", 1):
            _squeeze_after(model, node, rank)
        node.op_type = "GlobalAveragePool"
        del node.input[1:], node.attribute[:]
    _pool_without_detour(model)


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


def _batch_norms(model: ModelProto) -> list[NodeProto]:
    """The normalisations whose constants are stored."""
    stored = {tensor.name for tensor in model.graph.initializer}
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    return [node for node in norms if stored.issuperset(node.input[1:5])]


def _affine(norm: NodeProto, constants: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(factor, shift) float64 [C]: what a BatchNormalization multiplies by and then adds."""
    gamma, beta, mean, variance = (constants[name].astype(np.float64) for name in norm.input[1:5])
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    factor = gamma / np.sqrt(variance + epsilon)
    return factor, beta - mean * factor


def _along_first(values: np.ndarray, rank: int) -> np.ndarray:
    return values.reshape(-1, *[1] * (rank - 1))


def _by_group(values: np.ndarray, groups: int) -> np.ndarray:
    """[C] as [groups, C / groups]."""
    return values.reshape(groups, -1)


def _squeeze_after(model: ModelProto, node: NodeProto, rank: int) -> None:
    """Let a node keep its axes of length one, and take them away behind it."""
    output, kept = node.output[0], f"{node.output[0]}_kept"
    node.output[0] = kept
    axes = f"{kept}_axes"
    model.graph.initializer.append(numpy_helper.from_array(np.arange(2, rank), axes))
    squeeze = helper.make_node("Squeeze", [kept, axes], [output], f"Squeeze_{output}")
    model.graph.node.insert(list(model.graph.node).index(node) + 1, squeeze)


def _pool_without_detour(model: ModelProto) -> None:
    """Take away an axis of length one that is put before a GlobalAveragePool and removed behind it; torch does that."""
    constants, readers = initializers(model), consumers(model)
    producers = {output: node for node in model.graph.node for output in node.output}
    for pool in [node for node in model.graph.node if node.op_type == "GlobalAveragePool"]:
        before, after = producers.get(pool.input[0]), readers.get(pool.output[0], [])
        if before is None or before.op_type != "Unsqueeze" or len(after) != 1 or after[0].op_type != "Squeeze":
            continue
        put, taken = (list(_axes(node, constants, 4)) for node in (before, after[0]))
        if len(readers[pool.input[0]]) > 1 or put != [2] or taken != [2]:
            continue
        pool.input[0], pool.output[0] = before.input[0], after[0].output[0]
        model.graph.node.remove(before)
        model.graph.node.remove(after[0])


def _axes(node: NodeProto, constants: dict[str, np.ndarray], rank: int) -> Iterator[int]:
    """Axes of a Squeeze or Unsqueeze, none of them negative."""
    given = constants.get(node.input[1]) if len(node.input) > 1 else None
    if given is None:
        given = np.asarray(next((list(a.ints) for a in node.attribute if a.name == "axes"), []))
    return (int(axis) % rank for axis in given)


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Axis lengths of tensors, 0 for an open one; a tensor whose rank cannot be inferred is missing."""
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.input, *inferred.graph.value_info, *inferred.graph.output)
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _set_conv(model: ModelProto, conv: NodeProto, weight: np.ndarray, bias: np.ndarray | float | None) -> None:
    """Give a convolution weights and bias of its own."""
    name = conv.output[0]
    # A convolution may be given new weights more than once.
    while any(tensor.name in (f"{name}.weight", f"{name}.bias") for tensor in model.graph.initializer):
        name = f"{name}_"
    model.graph.initializer.append(numpy_helper.from_array(weight.astype(np.float32), f"{name}.weight"))
    inputs = [conv.input[0], f"{name}.weight"]
    if bias is not None:
        row = np.broadcast_to(np.asarray(bias, np.float32), weight.shape[:1]).copy()
        model.graph.initializer.append(numpy_helper.from_array(row, f"{name}.bias"))
        inputs.append(f"{name}.bias")
    del conv.input[:]
    conv.input.extend(inputs)
