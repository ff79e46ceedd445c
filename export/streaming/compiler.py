"""The streaming compiler: a window model's file to a file that takes one hop and remembers the rest."""

import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import onnx
from onnx import ModelProto

import edgeguard
from edgeguard.errors import InputError
from edgeguard.export.rung import Rung
from edgeguard.export.streaming.emit import write_stream
from edgeguard.export.streaming.layers import Timeline, read_timeline
from edgeguard.export.streaming.padding import without_padding
from edgeguard.export.streaming.plan import choose_hop, plan_stream, receptive_field, window_macs
from edgeguard.export.streaming.proof import (
    CLOSE,
    EQUAL,
    SYNTHETIC,
    TOLERANCE,
    Cost,
    Proof,
    Records,
    measure_cost,
    proof_signal,
    run_proof,
)
from edgeguard.export.streaming.window_graph import WindowGraph, read_window_graph
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.loading import ModelFile
from edgeguard.runtime.metadata import ModelMetadata
from edgeguard.runtime.model_spec import StatedFacts, stated_facts
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.streaming import open_stream

PROOF_HOPS = 1_000
_SEED = 0


@dataclass(frozen=True)
class Compiled:
    """A streaming file that was written, and what is known of it.

    Attributes:
        path: of the file.
        hop: samples.
        equality: `equal` or `close`.
        proof: the run that showed it; of a window model that pads, of the stream and that model without its padding.
        cost: what the frames that padding reaches were worth; None for a window model that does not pad.
        window_macs, hop_macs: multiply-accumulates of a decision of the window model and of the stream, in layers that
            keep time.
        states: name of each state -> its shape.
    """

    path: Path
    hop: int
    equality: str
    proof: Proof
    window_macs: int
    hop_macs: int
    states: dict[str, tuple[int, ...]]
    cost: Cost | None = None

    def rung(self) -> Rung:
        """The proof as one check of an export."""
        work = f"{self.hop_macs:,} multiply-accumulates a hop, {self.window_macs:,} a window"
        if self.cost is None:
            meaning = (
                f"largest relative logit difference on {self.proof.hops} hops, stream and window ({self.equality})"
            )
            return Rung("stream", True, self.proof.difference, meaning, work)
        meaning = (
            f"share of {self.cost.hops} hops of {self.cost.source} with another class than the window file (close)"
        )
        note = f"logits differ by up to {self.cost.difference:.3g} of the largest; {work}"
        return Rung("stream", True, self.cost.share, meaning, note)


def compile_stream(
    source: OnnxModel | Path | str,
    out: Path | str,
    *,
    hop: float | None = None,
    signal: np.ndarray | None = None,
    proof_hops: int = PROOF_HOPS,
    close: bool = False,
    records: Records | None = None,
    **facts: Unpack[StatedFacts],
) -> Compiled:
    """Compile a window model's file, prove the stream equal to it, and write the stream.

    Every layer is computed on the new frames of a hop and on the past frames that it needs, which are remembered as
    codes; the mean over the window comes from integer sums over hops. Nothing else of the graph changes.

    Args:
        source: any single-lead ONNX classifier, or one that is open already.
        out: of the stream; stands there only when the proof held.
        hop: seconds, a multiple of the network's total stride; None: the multiple nearest to 1 s.
        signal: float32 [n] microvolts to prove it on; by default synthetic, of `proof_hops` decisions.
        close: of a model that pads, make a stream of the frames that no padding reaches (`padding.without_padding`),
            and state what that costs; of a quantised model whose mean is a float sum, take one that is equal but for
            its rounding.
        records: to measure that cost on; None: `signal`.
        facts: what the file does not say of itself.

    Raises InputError for a layer that no stream can repeat, naming it and the mend; for a hop that no alignment
    allows; and when the proof fails.
    """
    opened = source if isinstance(source, OnnxModel) else open_model(source, **facts)
    path, out = opened.path, Path(out)
    try:
        window = _unpadded(opened) if close else opened
        graph = read_window_graph(window.proto, window.signature, window.window)
        timeline = _timeline(graph)
        samples = choose_hop(timeline, hop=hop, sampling_rate=opened.sampling_rate, window=opened.window)
        plan = plan_stream(graph, timeline, samples)
        stream, initial = write_stream(graph, timeline, plan)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    equality = _due_equality(graph)
    field, lag = receptive_field(graph, timeline)
    metadata = replace(
        opened.metadata,
        hop=samples,
        receptive_field=field,
        lag=lag,
        initial_state=initial,
        window_sha256=opened.sha256,
        equality=equality,
        tool_version=edgeguard.__version__,
    )
    if signal is None:
        signal = proof_signal(opened.window, samples, opened.sampling_rate, hops=proof_hops, seed=_SEED)
    proof = _prove(window, stream, metadata, signal)
    if close and not proof.holds(equality):
        equality, metadata = CLOSE, replace(metadata, equality=CLOSE)
    if not proof.holds(equality):
        raise InputError(
            f"{path}: its stream is not {equality}: {proof.equal} of {proof.hops} hops equal, logits apart by "
            f"{proof.difference:.3g}; nothing was written; "
            "quantise every layer up to the mean over time, and that mean as GlobalAveragePool; "
            f"or, where logits are at most {TOLERANCE:g} apart, ask for a close stream with --close"
        )
    shown: dict[str, Any] = {"hops": proof.hops, "difference": proof.difference}
    cost = None
    if window is not opened:
        cost = measure_cost(opened, window, records or Records(SYNTHETIC, [signal]), hop=samples)
        metadata = replace(metadata, equality=CLOSE)
        shown = asdict(cost)
    write_bytes(out, _stamped(stream, replace(metadata, proof=shown)))
    states = {v.name: tuple(d.dim_value for d in v.type.tensor_type.shape.dim) for v in stream.graph.input[1:]}
    return Compiled(out, samples, metadata.equality or CLOSE, proof, window_macs(timeline), plan.macs, states, cost)


def summary(compiled: Compiled) -> dict[str, Any]:
    """What a compiled stream adds to the JSON of `edgeguard export`."""
    return {
        "hop": compiled.hop,
        "equality": compiled.equality,
        "macs": {"window": compiled.window_macs, "hop": compiled.hop_macs},
        "states": {name: list(shape) for name, shape in compiled.states.items()},
        **({} if compiled.cost is None else {"cost": {**asdict(compiled.cost), "share": compiled.cost.share}}),
    }


def _timeline(graph: WindowGraph) -> Timeline:
    """The graph's timeline; of a graph that pads and cannot be streamed without its padding either, that reason."""
    try:
        return read_timeline(graph)
    except InputError:
        read_timeline(graph, padded=True)
        raise


def _unpadded(window: OnnxModel) -> OnnxModel:
    """A window model without its padding; the very model where it has none."""
    graph = read_window_graph(window.proto, window.signature, window.window)
    timeline = read_timeline(graph, padded=True)
    if not any(any(layer.pads) for layer in timeline.layers):
        return window
    cropped = ModelFile(window.path, without_padding(graph, timeline), window.sha256)
    return open_model(cropped, **stated_facts(window.spec))


def _due_equality(graph: WindowGraph) -> str:
    """`equal` of a quantised model; a float one sums in another order."""
    operators = {node.op_type for node in graph.model.graph.node}
    return EQUAL if any(name.startswith(("QuantizeLinear", "QLinear")) for name in operators) else CLOSE


def _prove(window: OnnxModel, stream: ModelProto, metadata: ModelMetadata, signal: np.ndarray) -> Proof:
    with tempfile.TemporaryDirectory() as folder:
        trial = Path(folder) / "stream.onnx"
        trial.write_bytes(_stamped(stream, metadata))
        return run_proof(window, open_stream(trial), signal)


def _stamped(stream: ModelProto, metadata: ModelMetadata) -> bytes:
    stamped = ModelProto()
    stamped.CopyFrom(stream)
    onnx.helper.set_model_props(stamped, metadata.to_props())
    return stamped.SerializeToString()
