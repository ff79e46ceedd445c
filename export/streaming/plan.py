"""Which tensors a stream remembers, and how many frames it computes of each.

A tensor of which a hop needs more frames than it brings is either remembered (its last frames are a state) or its
older frames are computed again from what lies before it. Remembering saves arithmetic, computing again saves a state
and the operators that carry it; `plan_stream` weighs them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from edgeguard.errors import InputError
from edgeguard.export.streaming.layers import Layer, Timeline
from edgeguard.export.streaming.window_graph import WindowGraph

OPERATOR_MACS = 100_000
OPERATOR_SHARE = 1 / 10
"""What an operator less is worth: about what a host computes in the time that one takes to begin, but never more than
this share of the least arithmetic of a hop, which is what a microcontroller pays for."""


@dataclass(frozen=True)
class Plan:
    """One way to compute a hop.

    Attributes:
        hop: samples.
        fresh: frames that a hop brings, by tensor.
        made: last frames that a hop computes, by tensor.
        held: last frames at hand, those remembered included, by tensor.
        states: tensors that are remembered, in the order in which they are made.
        macs: multiply-accumulates a hop in layers that keep time.
        slices: cuts in time beside those of the window graph.
    """

    hop: int
    fresh: Mapping[str, int]
    made: Mapping[str, int]
    held: Mapping[str, int]
    states: tuple[str, ...]
    macs: int
    slices: int

    def remembered(self, name: str) -> int:
        """Frames of a state."""
        return self.held[name] - self.made[name]


def plan_stream(graph: WindowGraph, timeline: Timeline, hop: int) -> Plan:
    """The cheapest plan found by leaving out one state after another.

    Args:
        hop: samples, a multiple of the total stride.
    """
    states = _may_be_states(graph, timeline)
    worth = min(OPERATOR_MACS, OPERATOR_SHARE * _plan(graph, timeline, hop, states, worth=0).macs)

    def cost(plan: Plan) -> tuple[float, int]:
        """Arithmetic with operators counted in, then bytes of state."""
        size = sum(_bytes(graph, timeline, plan, name) for name in plan.states)
        return plan.macs + worth * (len(plan.states) + plan.slices), size

    best = _plan(graph, timeline, hop, states, worth=worth)
    while True:
        trials = {name: _plan(graph, timeline, hop, states - {name}, worth=worth) for name in best.states}
        left_out = min(trials, key=lambda name: cost(trials[name]), default=None)
        if left_out is None or cost(trials[left_out]) >= cost(best):
            return best
        best, states = trials[left_out], states - {left_out}


def receptive_field(graph: WindowGraph, timeline: Timeline) -> tuple[int, int]:
    """(samples that one pooled feature sees, samples at the window's end that none does)."""
    source = graph.signature.input
    unseen = {pool.features: 0 for pool in timeline.pools}
    for layer in reversed(timeline.layers):
        ends = [unseen[name] for name in layer.outputs if name in unseen]
        for name in layer.inputs if ends else ():
            end = min(ends) * layer.stride + layer.rest
            unseen[name] = min(end, unseen.get(name, end))
    reach = _demand(timeline, {}, set(), {pool.features: 1 for pool in timeline.pools}, align=False)[source]
    return reach - unseen[source], unseen[source]


def window_macs(timeline: Timeline) -> int:
    """Multiply-accumulates of one window in layers that keep time."""
    return sum(layer.macs * timeline.lengths[layer.outputs[0]] for layer in timeline.layers)


def choose_hop(timeline: Timeline, *, hop: float | None, sampling_rate: float, window: int) -> int:
    """Samples of a hop of `hop` seconds; None: of the multiple of the total stride that is nearest to one second.

    Raises InputError for a hop that is no multiple of the total stride, or longer than the window; it names the
    nearest hops.
    """
    stride, most = timeline.total_stride, max(window // timeline.total_stride, 1)
    if hop is None:
        return min(max(round(sampling_rate / stride), 1), most) * stride
    exact = hop * sampling_rate
    samples = round(exact) if 0 < exact < np.inf else 0
    if samples < 1 or samples % stride or abs(samples - exact) > 1e-6 * samples or samples > window:
        below = min(max(int(samples // stride), 1), most)
        nearest = " or ".join(f"{n * stride / sampling_rate:.8g}" for n in (below, below + 1) if n <= most)
        raise InputError(
            f"hop: {hop:g} s is {exact:g} samples at {sampling_rate:g} Hz; give a multiple of {stride} samples "
            f"({stride / sampling_rate:g} s), at most the window of {window}, with --hop (nearest: {nearest})"
        )
    return samples


def _may_be_states(graph: WindowGraph, timeline: Timeline) -> set[str]:
    """Integer codes that are dequantised, and floats that no quantiser made; never floats that a fusion hides."""
    found = {graph.signature.input}
    for layer in timeline.layers:
        for name in layer.outputs:
            spanned = any(node.op_type in _SPANNING for node in graph.readers.get(name, ()))
            if np.issubdtype(graph.types[name], np.integer) or (spanned and layer.node.op_type != "DequantizeLinear"):
                found.add(name)
    return found


_SPANNING = ("AveragePool", "Conv", "MaxPool", "Slice")


def _demand(
    timeline: Timeline, fresh: Mapping[str, int], states: set[str], pooled: Mapping[str, int], *, align: bool = True
) -> dict[str, int]:
    """Last frames that are needed of each tensor when each of `states` is remembered.

    Args:
        pooled: what is needed of the tensors that are pooled.
        align: ask for a few more where a tensor need not be cut then.
    """
    demand = dict(pooled)
    readers: dict[str, list[Layer]] = {}
    for layer in reversed(timeline.layers):
        made = [name for name in layer.outputs if name in demand]
        for name in made if align else ():
            demand[name] = _aligned(demand[name], readers.get(name, []))
        wanted = [min(demand[name], fresh[name]) if name in states else demand[name] for name in made]
        for name in layer.inputs if wanted else ():
            demand[name] = max(demand.get(name, 0), layer.needs(max(wanted)))
            readers.setdefault(name, []).append(layer)
    return demand


def _aligned(frames: int, readers: list[Layer]) -> int:
    """The least number from `frames` on that every reader takes as it is, so that it need not be cut for any."""
    strides = [layer for layer in readers if not layer.crops]
    if len(readers) < 2:
        return frames
    span = int(np.lcm.reduce([layer.stride for layer in strides])) if strides else 1
    fitting = (n for n in range(frames, frames + span) if all(layer.needs(layer.makes(n)) == n for layer in strides))
    return next(fitting, frames)


def _plan(graph: WindowGraph, timeline: Timeline, hop: int, may: set[str], *, worth: float) -> Plan:
    source = graph.signature.input
    fresh = {name: hop // stride for name, stride in timeline.stride.items()}
    pooled = {pool.features: min(fresh[pool.features], pool.frames) for pool in timeline.pools}
    demand = _demand(timeline, fresh, may, pooled)
    made, held = {source: hop}, {source: max(hop, demand[source])}
    states = [source] if demand[source] > hop else []
    macs = slices = 0
    for layer in timeline.layers:
        needed = [name for name in layer.outputs if name in demand]
        if not needed:
            continue
        wanted = max(min(demand[name], fresh[name]) if name in may else demand[name] for name in needed)
        frames = _frames(layer, wanted, [held[name] for name in layer.inputs], worth=worth)
        slices += 0 if layer.crops else sum(held[name] != layer.needs(frames) for name in layer.inputs)
        macs += layer.macs * frames
        for name in layer.outputs:
            made[name] = frames
            held[name] = max(frames, demand.get(name, 0))
            if held[name] > frames:
                states.append(name)
    return Plan(hop, fresh, made, held, tuple(states), macs, slices)


def _frames(layer: Layer, wanted: int, held: list[int], *, worth: float) -> int:
    """Frames to make: more than wanted where that is cheaper than to cut the input first."""
    most = layer.makes(min(held))
    if layer.crops or layer.needs(most) != min(held):
        return wanted
    return most if (most - wanted) * layer.macs < worth else wanted


def _bytes(graph: WindowGraph, timeline: Timeline, plan: Plan, name: str) -> int:
    shape = list(graph.shapes[name])
    shape[timeline.axis[name]] = plan.remembered(name)
    return prod(shape) * graph.types[name].itemsize
