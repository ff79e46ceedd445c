"""Normalisation by the statistics of the record itself."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edgeguard.export.operators.registry import Compute, Node, operator
from edgeguard.export.operators.runtime import as_the_runtime


@operator("LayerNormalization")
def layer_normalization(node: Node) -> Compute:
    """Over all axes from one on, with a stored scale and shift."""
    if sum(node.outputs) != 1:
        raise node.refused("its mean or deviation is read")
    axis, epsilon = node.attributes.get("axis", -1), node.attributes.get("epsilon", 1e-5)
    node.constant(1, "scale")

    def compute(x: Tensor) -> Tensor:
        _, scale, shift = [*node.inputs((x,)), None][:3]
        shape = list(x.shape[axis % x.dim() :])
        assert scale is not None
        return F.layer_norm(x, shape, scale.expand(shape), None if shift is None else shift.expand(shape), epsilon)

    return as_the_runtime(node, compute)


@operator("RMSNormalization", "SimplifiedLayerNormalization")
def rms_normalization(node: Node) -> Compute:
    """By the root mean square over all axes from one on, with a stored scale."""
    axis, epsilon = node.attributes.get("axis", -1), node.attributes.get("epsilon", 1e-5)
    node.constant(1, "scale")

    def compute(x: Tensor) -> Tensor:
        scale = node.inputs((x,))[1]
        axes = tuple(range(axis % x.dim(), x.dim()))
        assert scale is not None
        return x * torch.rsqrt((x * x).mean(axes, keepdim=True) + epsilon) * scale

    return as_the_runtime(node, compute)


@operator("InstanceNormalization")
def instance_normalization(node: Node) -> Compute:
    """Each channel of each record by itself, with a stored scale and shift."""
    epsilon = node.attributes.get("epsilon", 1e-5)
    node.constant(1, "scale")
    node.constant(2, "shift")

    def compute(x: Tensor) -> Tensor:
        _, scale, shift = node.inputs((x,))
        return F.instance_norm(x, weight=scale, bias=shift, eps=epsilon)

    return as_the_runtime(node, compute)


@operator("GroupNormalization")
def group_normalization(node: Node) -> Compute:
    """Groups of channels of each record, with a scale and shift a channel (opset 21) or a group."""
    groups, epsilon = node.attributes["num_groups"], node.attributes.get("epsilon", 1e-5)
    node.constant(1, "scale")
    node.constant(2, "shift")

    def compute(x: Tensor) -> Tensor:
        _, scale, shift = node.inputs((x,))
        assert scale is not None and shift is not None
        repeats = x.shape[1] // len(scale)
        return F.group_norm(x, groups, scale.repeat_interleave(repeats), shift.repeat_interleave(repeats), epsilon)

    return as_the_runtime(node, compute)


@operator("LpNormalization")
def lp_normalization(node: Node) -> Compute:
    """By the L1 or L2 norm along an axis."""
    axis, power = node.attributes.get("axis", -1), node.attributes.get("p", 2)
    return as_the_runtime(node, lambda x: x / x.norm(p=power, dim=axis, keepdim=True).clamp_min(1e-12))
