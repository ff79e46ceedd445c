"""Which operators the twin knows, and what a node tells the function that builds one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.errors import InputError

Compute = Callable[..., Tensor] | Callable[..., tuple[Tensor, ...]]
"""The node's computed inputs, in their order, to its output; to all of its outputs where it has several."""


@dataclass
class Gradient:
    """The straight-through estimator of a twin, one of `straight_through.ESTIMATORS`; shared by its operators."""

    estimator: str = "clipped"


@dataclass(frozen=True)
class Node:
    """One node of the graph that ONNX Runtime executes.

    Attributes:
        operator: type, without domain.
        domain: empty for the ONNX standard.
        name: of the node, or of its output where it has none.
        opset: of the operator's domain.
        attributes: by name.
        constants: array of each input that is a constant, None for one that is computed or absent.
        computed: positions of the inputs that are computed.
        gradient: estimator of the twin that the node is part of.
        outputs: whether each output is wanted by name.
        exact: whether the graph rounds anywhere, so that the last bit of a float may decide a code.
    """

    operator: str
    domain: str
    name: str
    opset: int
    attributes: dict[str, Any]
    constants: tuple[np.ndarray | None, ...]
    computed: tuple[int, ...]
    gradient: Gradient
    exact: bool = True
    outputs: tuple[bool, ...] = (True,)

    def inputs(self, computed: Sequence[Tensor]) -> list[Tensor | None]:
        """All inputs in their order, those that are computed as given, None for one that is absent."""
        given = dict(zip(self.computed, computed, strict=True))
        device = computed[0].device if computed else None
        return [given.get(at) if value is None else tensor(value).to(device) for at, value in enumerate(self.constants)]

    def constant(self, position: int, what: str) -> np.ndarray:
        """An input that has to be a constant.

        Raises InputError where it is computed or absent.
        """
        value = self.optional(position)
        if value is None:
            raise self.refused(f"its {what} is computed, not stored")
        return value

    def optional(self, position: int) -> np.ndarray | None:
        """A constant input, None where it is absent or computed."""
        return self.constants[position] if position < len(self.constants) else None

    def has(self, position: int) -> bool:
        """Whether the input is there at all."""
        return self.optional(position) is not None or position in self.computed

    def scalar(self, position: int, what: str) -> float:
        """A constant of one element, as float32 has it."""
        value = self.constant(position, what)
        if value.size != 1:
            raise self.refused(f"its {what} has {value.size} values, one needed")
        return float(value.reshape(()))

    def refused(self, why: str) -> InputError:
        """The error for a node that cannot be reproduced."""
        return InputError(f"operator {self.operator} (node {self.name}, opset {self.opset}): {why}; {_MEND}")


_MEND = "export the model without it, or attack the file by labels alone (edgeguard attack-onnx)"
_REGISTERED: dict[str, Callable[[Node], Compute]] = {}


def operator(*names: str) -> Callable[[Callable[[Node], Compute]], Callable[[Node], Compute]]:
    """Register a function as the builder of the operators named."""

    def register(build: Callable[[Node], Compute]) -> Callable[[Node], Compute]:
        for name in names:
            if name in _REGISTERED:
                raise ValueError(f"operator {name} is registered twice")
            _REGISTERED[name] = build
        return build

    return register


def operator_for(node: Node) -> Compute:
    """What computes a node.

    Raises InputError, naming operator, node and opset, where none is registered or the node is one that cannot be
    reproduced.
    """
    if node.operator not in _REGISTERED:
        raise node.refused("the twin lacks it")
    return _REGISTERED[node.operator](node)


def supported() -> list[str]:
    """Names of all operators."""
    return sorted(_REGISTERED)


def tensor(array: np.ndarray) -> Tensor:
    """A constant as the twin carries it: floats in float32, or in float64 where they are that; integers as int64."""
    array = np.asarray(array, order="C")
    if array.dtype == np.float64:
        return torch.from_numpy(array)
    if np.issubdtype(array.dtype, np.floating):
        return torch.from_numpy(array.astype(np.float32))
    return torch.from_numpy(array.astype(np.int64))
