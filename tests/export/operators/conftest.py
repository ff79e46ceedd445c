"""One operator, computed by ONNX Runtime and by the twin."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from edgeguard.export.operators import Gradient, Node, operator_for
from edgeguard.runtime.session import load_session


@dataclass
class OneNode:
    """Computes one operator both ways.

    Attributes:
        given: the tensors that the twin's operator was last given; with `track` they have gradients.
    """

    given: list[torch.Tensor] = field(default_factory=list)

    def __call__(
        self,
        operator: str,
        inputs: list[Any],
        *,
        computed: tuple[int, ...] = (0,),
        version: int = 21,
        domain: str = "",
        estimator: str = "clipped",
        exact: bool = False,
        track: bool = False,
        **attributes: Any,
    ) -> tuple[np.ndarray, torch.Tensor]:
        """(ONNX Runtime's, the twin's) output.

        Args:
            inputs: an array or a tensor each, None for one left out.
            version: opset of the ONNX standard.
            computed: positions of those that a graph would compute; the others are stored.
            track: take gradients by the computed inputs.
        """
        arrays = [None if value is None else np.asarray(torch.as_tensor(value).detach()) for value in inputs]
        model = _model(operator, arrays, computed, version, domain, attributes)
        feeds = {f"i{at}": arrays[at] for at in computed}
        want = load_session(Path(operator), model).run(None, feeds)[0]
        node = Node(
            operator=operator,
            domain=domain,
            name="one",
            opset=1 if domain else version,
            attributes={key: value.encode() if isinstance(value, str) else value for key, value in attributes.items()},
            constants=tuple(None if at in computed else value for at, value in enumerate(arrays)),
            computed=computed,
            gradient=Gradient(estimator),
            exact=exact,
        )
        self.given = [_carried(inputs[at], track) for at in computed]
        return want, operator_for(node)(*self.given)


@pytest.fixture
def both() -> OneNode:
    """One operator, computed by ONNX Runtime and by the twin."""
    return OneNode()


def _model(
    operator: str,
    arrays: list[np.ndarray | None],
    computed: tuple[int, ...],
    version: int,
    domain: str,
    attributes: dict[str, Any],
) -> ModelProto:
    names = ["" if value is None else f"i{place}" for place, value in enumerate(arrays)]
    inputs, stored = [], []
    for at, value in enumerate(arrays):
        if value is None:
            continue
        if at in computed:
            inputs.append(
                helper.make_tensor_value_info(names[at], helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            )
        else:
            stored.append(numpy_helper.from_array(value, names[at]))
    node = helper.make_node(operator, names, ["y"], domain=domain, **attributes)
    graph = helper.make_graph([node], "one", inputs, [ValueInfoProto(name="y")], stored)
    opsets = [helper.make_opsetid("", version)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _carried(value: Any, track: bool) -> torch.Tensor:
    """As a twin carries it: codes in floats; indices and shapes stay integers."""
    tensor = torch.as_tensor(value)
    tensor = tensor if tensor.dtype in (torch.int64, torch.float32) else tensor.float()
    return tensor.requires_grad_(True) if track else tensor
