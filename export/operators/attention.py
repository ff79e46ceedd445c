"""Products of several computed tensors: attention and Einstein sums."""

import math

import torch
from torch import Tensor

from edgeguard.export.operators.registry import Compute, Node, operator


@operator("Attention")
def attention(node: Node) -> Compute:
    """Scaled dot products of queries and keys choose among values (ONNX opset 23), heads as an axis of their own."""
    if node.domain not in ("", "ai.onnx"):
        raise node.refused("ONNX Runtime's own form of it is not reproduced")
    if sum(node.outputs) != 1 or any(node.has(at) for at in (4, 5, 6)):
        raise node.refused("it keeps past keys and values")
    for name in ("softcap", "qk_matmul_output_mode"):
        if node.attributes.get(name):
            raise node.refused(f"it sets {name}")
    heads = node.attributes.get("q_num_heads"), node.attributes.get("kv_num_heads")
    causal, scale = bool(node.attributes.get("is_causal", 0)), node.attributes.get("scale")

    def split(x: Tensor, number: int | None) -> Tensor:
        if x.dim() == 4 or number is None:
            return x
        return x.view(x.shape[0], x.shape[1], number, -1).transpose(1, 2)

    def compute(*computed: Tensor) -> Tensor:
        first, second, third, mask = [*node.inputs(computed), None, None][:4]
        assert first is not None and second is not None and third is not None
        queries, keys, values = split(first, heads[0]), split(second, heads[1]), split(third, heads[1])
        scores = queries @ keys.transpose(-1, -2) * (scale or 1 / math.sqrt(queries.shape[-1]))
        if causal:
            above = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
            scores = scores.masked_fill(above, -torch.inf)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else scores + mask
        made = torch.softmax(scores, -1) @ values
        return made.transpose(1, 2).flatten(2) if first.dim() == 3 else made

    return compute


@operator("Einsum")
def einsum(node: Node) -> Compute:
    """The Einstein sum of its equation."""
    equation = node.attributes["equation"]
    equation = equation.decode() if isinstance(equation, bytes) else equation
    return lambda *computed: torch.einsum(equation, *(x for x in node.inputs(computed) if x is not None))
