"""Operators that move, select or join elements, of values or of codes, and arithmetic on shapes."""

import numpy as np
import torch
from onnx import numpy_helper
from torch import Tensor
from torch.nn import functional as F

from edgeguard.export.operators.registry import Compute, Node, operator, tensor


def _all_inputs(node: Node) -> list[Tensor | None]:
    """Stored inputs as tensors, None for those that are computed."""
    return [None if value is None else tensor(value) for value in node.constants]


@operator("Concat")
def concat(node: Node) -> Compute:
    """Tensors joined along an axis."""
    axis, stored = node.attributes["axis"], _all_inputs(node)

    def compute(*computed: Tensor) -> Tensor:
        given = iter(computed)
        parts = [next(given) if part is None else part.to(computed[0]) for part in stored]
        return torch.cat(parts, axis)

    return compute


@operator("Slice")
def slice_(node: Node) -> Compute:
    """A part along stored axes."""
    starts = node.constant(1, "starts").reshape(-1).tolist()
    ends = node.constant(2, "ends").reshape(-1).tolist()
    axes = node.constant(3, "axes").reshape(-1).tolist() if node.has(3) else list(range(len(starts)))
    steps = node.constant(4, "steps").reshape(-1).tolist() if node.has(4) else [1] * len(starts)

    def compute(x: Tensor) -> Tensor:
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            chosen = range(x.shape[axis])[slice(start, _end(end, step), step)]
            if step > 0:
                index = [slice(None)] * x.dim()
                index[axis] = slice(chosen.start, chosen.stop, step)
                x = x[tuple(index)]
            else:
                x = x.index_select(axis, torch.tensor(list(chosen), device=x.device))
        return x

    return compute


def _end(end: int, step: int) -> int | None:
    """ONNX writes "to the first element" of a backward slice as a number below every index."""
    return None if step < 0 and end < -(2**31) else end


@operator("Pad")
def pad(node: Node) -> Compute:
    """Constant padding, by a stored value; other modes copy what is inside."""
    mode = node.attributes.get("mode", b"constant")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    widths = node.constant(1, "pads").reshape(-1).tolist() if node.has(1) else node.attributes["pads"]
    if node.has(3):
        raise node.refused("it names axes")
    value = node.scalar(2, "value") if node.has(2) else node.attributes.get("value", 0.0)
    names = {"constant": "constant", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
    half = len(widths) // 2
    sides = [side for axis in reversed(range(half)) for side in (widths[axis], widths[half + axis])]
    if mode == "constant":
        return lambda x: F.pad(x, sides, value=value)
    if any(sides[2:]):
        raise node.refused(f"it pads several axes in mode {mode}")
    return lambda x: F.pad(x, sides[:2], mode=names[mode])


@operator("Reshape")
def reshape(node: Node) -> Compute:
    """Another shape: 0 stands for the input's own length, -1 for what is left."""
    keep_zeros = bool(node.attributes.get("allowzero", 0))

    def shaped(x: Tensor, target: list[int]) -> Tensor:
        return x.reshape([x.shape[i] if size == 0 and not keep_zeros else size for i, size in enumerate(target)])

    stored = node.optional(1)
    if stored is None:
        return lambda x, shape: shaped(x, shape.tolist())
    target = stored.reshape(-1).tolist()
    return lambda x: shaped(x, target)


@operator("Flatten")
def flatten(node: Node) -> Compute:
    """Two axes: those before `axis`, and the rest."""
    axis = node.attributes.get("axis", 1)
    return lambda x: x.reshape(int(np.prod(x.shape[: axis % max(x.dim(), 1)], dtype=np.int64)), -1)


@operator("Transpose")
def transpose(node: Node) -> Compute:
    """Axes in another order; reversed where none is given."""
    order = node.attributes.get("perm")
    return lambda x: x.permute(order if order is not None else tuple(reversed(range(x.dim()))))


@operator("Squeeze")
def squeeze(node: Node) -> Compute:
    """Without the named axes of length one; without all of them where none is named."""
    axes = _axes(node)
    return lambda x: x.squeeze() if axes is None else x.squeeze(tuple(axes))


@operator("Unsqueeze")
def unsqueeze(node: Node) -> Compute:
    """With new axes of length one."""
    axes = _axes(node)
    if axes is None:
        raise node.refused("it names no axes")

    def compute(x: Tensor) -> Tensor:
        rank = x.dim() + len(axes)
        for axis in sorted(axis % rank for axis in axes):
            x = x.unsqueeze(axis)
        return x

    return compute


def _axes(node: Node) -> list[int] | None:
    """From the second input (opset 13 on) or the attribute."""
    axes = node.constant(1, "axes").reshape(-1).tolist() if node.has(1) else node.attributes.get("axes")
    return None if axes is None else list(axes)


@operator("Shape")
def shape(node: Node) -> Compute:
    """Lengths of the axes."""
    start, end = node.attributes.get("start", 0), node.attributes.get("end")
    return lambda x: torch.tensor(x.shape[slice(start, end)])


@operator("Gather")
def gather(node: Node) -> Compute:
    """Elements at stored indices of an axis."""
    if node.optional(0) is not None:
        raise node.refused("it selects from a stored table")
    indices = tensor(node.constant(1, "indices"))
    axis = node.attributes.get("axis", 0)

    def compute(x: Tensor) -> Tensor:
        places = indices.to(x.device) % x.shape[axis]
        if places.dim() == 0:
            return x.select(axis, int(places))
        chosen = x.index_select(axis, places.reshape(-1))
        return chosen.reshape(*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]) if places.dim() > 1 else chosen

    return compute


@operator("Split")
def split(node: Node) -> Compute:
    """Parts along an axis, of stored lengths or as equal as can be."""
    axis, number = node.attributes.get("axis", 0), len(node.outputs)
    lengths = node.constant(1, "lengths").tolist() if node.has(1) else node.attributes.get("split")

    def compute(x: Tensor) -> tuple[Tensor, ...]:
        each = -(-x.shape[axis] // number)
        return tuple(x.split(list(lengths) if lengths is not None else each, axis))

    return compute


@operator("Expand")
def expand(node: Node) -> Compute:
    """A tensor repeated along axes of length one, to a shape that is stored or computed."""

    def compute(*computed: Tensor) -> Tensor:
        x, target = node.inputs(computed)
        assert x is not None and target is not None
        return x.expand(torch.broadcast_shapes(x.shape, tuple(target.tolist())))

    return compute


@operator("Tile")
def tile(node: Node) -> Compute:
    """A tensor repeated so many times along each axis."""
    times = node.constant(1, "repeats").tolist()
    return lambda x: x.repeat(times)


@operator("ConstantOfShape")
def constant_of_shape(node: Node) -> Compute:
    """One value in a shape that is computed."""
    value = node.attributes.get("value")
    filling = np.zeros(1, np.float32) if value is None else numpy_helper.to_array(value)
    one = tensor(filling)
    return lambda shape: one.expand(tuple(shape.tolist())).clone()


@operator("Range")
def range_(node: Node) -> Compute:
    """Numbers from a start to a limit by a step, any of them computed."""

    def compute(*computed: Tensor) -> Tensor:
        start, limit, step = (value.item() for value in node.inputs(computed) if value is not None)
        return torch.arange(start, limit, step)

    return compute


@operator("GatherND")
def gather_nd(node: Node) -> Compute:
    """Elements at stored places of several axes at once."""
    if node.attributes.get("batch_dims"):
        raise node.refused("it has batch axes")
    places = tensor(node.constant(1, "indices"))
    return lambda x: x[tuple(places[..., axis] % x.shape[axis] for axis in range(places.shape[-1]))]


@operator("GatherElements")
def gather_elements(node: Node) -> Compute:
    """Elements at stored places of one axis."""
    places, axis = tensor(node.constant(1, "indices")), node.attributes.get("axis", 0)
    return lambda x: torch.gather(x, axis, places.to(x.device) % x.shape[axis])


@operator("CumSum")
def cumulative_sum(node: Node) -> Compute:
    """Sums up to each element of a stored axis."""
    if node.attributes.get("exclusive") or node.attributes.get("reverse"):
        raise node.refused("it is exclusive or reversed")
    axis = int(node.scalar(1, "axis"))
    return lambda x: x.cumsum(axis)
