"""Recurrent layers: GRU, LSTM and the plain RNN, forward, backward and both ways.

Source of the equations and of the order of gates: the ONNX operators of these names.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from edgeguard.export.operators.registry import Compute, Node, operator

Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
"""(x W^T of one instant [B, gates], state) to the next state; its first tensor is what the layer gives."""


def _activations(node: Node, expected: list[str], number: int) -> None:
    """Raises InputError for other activations than the usual ones, or a clip of the cell."""
    names = [name.decode() if isinstance(name, bytes) else name for name in node.attributes.get("activations", [])]
    if names and names != expected * number:
        raise node.refused(f"its activations are {', '.join(names)}; {', '.join(expected)} needed")
    if node.attributes.get("clip"):
        raise node.refused("it clips its cell")
    if node.attributes.get("layout"):
        raise node.refused("its layout is batch first")


def _directions(node: Node) -> list[bool]:
    """Whether each direction runs backwards."""
    kind = node.attributes.get("direction", b"forward")
    kind = kind.decode() if isinstance(kind, bytes) else kind
    return {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[kind]


def _layer(node: Node, states: int, make_step: Callable[[Tensor, Tensor, int], Step], gates: int) -> Compute:
    """A recurrent layer.

    Args:
        states: tensors of its state.
        make_step: (R [gates H, H], bias [2 gates H], H) to a step.
        gates: of the layer.
    """
    backwards, hidden = _directions(node), node.attributes["hidden_size"]
    if node.has(4) and len(node.constants) > 4:
        raise node.refused("it takes lengths of sequences")
    if states == 2 and node.has(7):
        raise node.refused("it has peepholes")

    def compute(*computed: Tensor) -> tuple[Tensor, ...]:
        x, weight, recurrence, bias, _, *initial = [*node.inputs(computed), *[None] * 7][:7]
        assert x is not None and weight is not None and recurrence is not None
        length, batch = x.shape[0], x.shape[1]
        rows, finals = [], []
        for place, backward in enumerate(backwards):
            both = x.new_zeros(2 * gates * hidden) if bias is None else bias[place]
            step = make_step(recurrence[place], both, hidden)
            state = tuple(x.new_zeros(batch, hidden) if first is None else first[place] for first in initial[:states])
            driven = x @ weight[place].T + both[: gates * hidden]
            made: list[Tensor] = []
            for instant in reversed(range(length)) if backward else range(length):
                state = step(driven[instant], state)
                made.append(state[0])
            rows.append(torch.stack(made[::-1] if backward else made))
            finals.append(state)
        last = tuple(torch.stack([state[i] for state in finals]) for i in range(states))
        return (torch.stack(rows, 1), *last)[: len(node.outputs)]

    return compute


@operator("GRU")
def gru(node: Node) -> Compute:
    """Gated recurrent unit; gates in the order update, reset, hidden."""
    _activations(node, ["Sigmoid", "Tanh"], len(_directions(node)))
    reset_after = bool(node.attributes.get("linear_before_reset", 0))

    def make_step(recurrence: Tensor, bias: Tensor, hidden: int) -> Step:
        own, hidden_bias = bias[3 * hidden :], bias[5 * hidden :]
        gated, candidate = recurrence[: 2 * hidden], recurrence[2 * hidden :]

        def step(driven: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            (h,) = state
            update, reset = torch.sigmoid(driven[:, : 2 * hidden] + h @ gated.T + own[: 2 * hidden]).chunk(2, 1)
            after, before = (reset, h) if reset_after else (torch.ones_like(reset), reset * h)
            inner = after * (before @ candidate.T + hidden_bias)
            new = torch.tanh(driven[:, 2 * hidden :] + inner)
            return ((1 - update) * new + update * h,)

        return step

    return _layer(node, 1, make_step, 3)


@operator("LSTM")
def lstm(node: Node) -> Compute:
    """Long short-term memory; gates in the order input, output, forget, cell."""
    _activations(node, ["Sigmoid", "Tanh", "Tanh"], len(_directions(node)))
    if node.attributes.get("input_forget"):
        raise node.refused("it couples its input and forget gates")

    def make_step(recurrence: Tensor, bias: Tensor, hidden: int) -> Step:
        own = bias[4 * hidden :]

        def step(driven: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            h, cell = state
            gates = driven + h @ recurrence.T + own
            into, out, forget, new = gates.chunk(4, 1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(new)
            return torch.sigmoid(out) * torch.tanh(cell), cell

        return step

    return _layer(node, 2, make_step, 4)


@operator("RNN")
def rnn(node: Node) -> Compute:
    """The plain recurrent layer, tanh or relu."""
    number = len(_directions(node))
    names = [name.decode() if isinstance(name, bytes) else name for name in node.attributes.get("activations", [])]
    relu = names == ["Relu"] * number
    if not relu:
        _activations(node, ["Tanh"], number)
    function = torch.relu if relu else torch.tanh

    def make_step(recurrence: Tensor, bias: Tensor, hidden: int) -> Step:
        own = bias[hidden:]
        return lambda driven, state: (function(driven + state[0] @ recurrence.T + own),)

    return _layer(node, 1, make_step, 1)
