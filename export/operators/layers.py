"""Float layers: convolutions, products, pools, normalisation."""

import torch
from torch import Tensor

from edgeguard.export.operators.convolution import Geometry, convolution
from edgeguard.export.operators.registry import Compute, Node, operator, tensor
from edgeguard.export.operators.runtime import as_the_runtime


@operator("Conv")
def conv(node: Node) -> Compute:
    """Convolution with stored weights; where they are dequantised in the graph, with those."""
    if 1 in node.computed:
        raise node.refused("its weight is computed, not stored")
    weight = tensor(node.constant(1, "weight"))
    bias = node.optional(2)
    convolve = convolution(weight, None if bias is None else tensor(bias), Geometry.of(node, weight.shape[2:]))
    return as_the_runtime(node, convolve)


@operator("Gemm")
def gemm(node: Node) -> Compute:
    """`alpha A B + beta C` with a stored B."""
    weight = tensor(node.constant(1, "weight"))
    weight = weight.T if node.attributes.get("transB") else weight
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    bias = node.optional(2)
    offset = None if bias is None else tensor(bias) * beta
    transposed = bool(node.attributes.get("transA"))

    def compute(a: Tensor) -> Tensor:
        value = (a.T if transposed else a) @ weight.to(a.device)
        value = value if alpha == 1 else value * alpha
        return value if offset is None else value + offset.to(a.device)

    return as_the_runtime(node, compute)


@operator("MatMul")
def matmul(node: Node) -> Compute:
    """Product with a stored side, or of two computed tensors."""
    left, right = node.optional(0), node.optional(1)
    if right is not None:
        second = tensor(right)
        return as_the_runtime(node, lambda a: a @ second.to(a.device))
    if left is not None:
        first = tensor(left)
        return as_the_runtime(node, lambda b: first.to(b.device) @ b)
    return torch.matmul


@operator("GlobalAveragePool")
def global_average_pool(node: Node) -> Compute:
    """Mean over all samples."""
    return as_the_runtime(node, lambda x: x.mean(tuple(range(2, x.dim())), keepdim=True))


@operator("GlobalMaxPool")
def global_max_pool(node: Node) -> Compute:
    """Maximum over all samples."""
    return lambda x: x.amax(tuple(range(2, x.dim())), keepdim=True)


@operator("AveragePool")
def average_pool(node: Node) -> Compute:
    """Means over windows."""
    geometry = Geometry.of(node, node.attributes["kernel_shape"])
    counted = bool(node.attributes.get("count_include_pad", 0))
    return as_the_runtime(node, lambda x: geometry.average(x, count_padding=counted))


@operator("MaxPool")
def max_pool(node: Node) -> Compute:
    """Maxima over windows, of values or of codes."""
    return Geometry.of(node, node.attributes["kernel_shape"]).highest


@operator("BatchNormalization")
def batch_normalization(node: Node) -> Compute:
    """`(x - mean) / sqrt(variance + epsilon) * scale + shift` with stored statistics."""
    if node.attributes.get("training_mode"):
        raise node.refused("it is in training mode")
    names = ("scale", "shift", "mean", "variance")
    scale, shift, mean, variance = (tensor(node.constant(at + 1, what)) for at, what in enumerate(names))
    factor = scale / torch.sqrt(variance + node.attributes.get("epsilon", 1e-5))
    offset = shift - mean * factor

    def compute(x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.dim() - 2))
        return x * factor.to(x.device).view(shape) + offset.to(x.device).view(shape)

    return as_the_runtime(node, compute)
