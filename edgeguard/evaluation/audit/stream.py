"""The file as a watch runs it: compiled to a stream, proven, played, and what it costs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from edgeguard.ecg.record import ALARM
from edgeguard.ecg.stream import stream_day
from edgeguard.ecg.synthetic_day import SyntheticDay
from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import Check, Decision, Span, Stream
from edgeguard.evaluation.audit.thresholds import Thresholds
from edgeguard.evaluation.stream_score import score_stream
from edgeguard.export.streaming.compiler import Compiled, compile_stream
from edgeguard.firmware_sim.bill import bill
from edgeguard.firmware_sim.decisions import DecisionRules
from edgeguard.firmware_sim.engine import Status
from edgeguard.firmware_sim.scorers import StreamModel, WindowModel
from edgeguard.firmware_sim.simulator import WatchOptions, simulate
from edgeguard.runtime.cost import file_cost
from edgeguard.runtime.session import OnnxModel
from edgeguard.runtime.streaming import StreamModel as FileStream
from edgeguard.runtime.streaming import open_stream

SHOWN = 1_800
"""Decisions that are kept for the report: half an hour of them, one a second."""
_SHORTEST = 120.0
"""Seconds of the shortest episode: the usual rules announce none below 90 s."""
_STATUS = {Status.SCORING: "scored"}


@dataclass(frozen=True)
class Streamed:
    """The stream, and its bill.

    Attributes:
        file: name of the streaming file in the audit's folder; None where it cannot be compiled.
        failure: why playing it failed; None where it did not.
    """

    stream: Stream
    file: str | None
    bill: dict[str, Any] | None
    failure: str | None


def stream_file(file: OnnxModel, *, proof_hops: int, seconds: float, seed: int, out: Path) -> Streamed:
    """Compile, prove, play and bill; writes `NAME-stream.onnx` into `out` where it can be compiled.

    A file that cannot be compiled is played as a window file, which scores the newest window anew every second.
    """
    target = out / f"{file.path.stem}-stream.onnx"
    compiled: Compiled | None = None
    try:
        compiled = compile_stream(file, target, proof_hops=proof_hops)
    except InputError as error:
        message = str(error)
    else:
        proof = compiled.proof
        equal = "in every bit" if compiled.equality == "equal" else "within 1e-4, and of the same class,"
        message = f"equal to the window file {equal} at {_held(compiled)} of {proof.hops} hops"
    opened = open_stream(compiled.path) if compiled else None
    stream, failure = _played(opened or file, seconds=seconds, seed=seed)
    stream = replace(
        stream,
        compiled=compiled is not None,
        message=message,
        hops=compiled.proof.hops if compiled else 0,
        equal=_held(compiled) if compiled else 0,
        macs_per_hop=compiled.hop_macs if compiled else None,
        macs_per_window=compiled.window_macs if compiled else _window_macs(file),
    )
    return Streamed(stream, compiled.path.name if compiled else None, _bill(file, opened), failure)


def stream_checks(found: Streamed, demands: Thresholds) -> tuple[Check, ...]:
    """Whether the stream is the window file, and whether it can be played at all."""
    stream, checks = found.stream, []
    if found.failure:
        checks.append(Check("stream_played", "stream", False, None, None, f"stream: {found.failure}"))
    if not stream.compiled:
        bar = 1.0 if demands.stream_needed else None
        return *checks, Check("stream_equal", "stream", None, None, bar, f"no stream: {stream.message}")
    share = stream.equal / stream.hops
    bar = 1.0 if demands.stream_equal else None
    holds = share >= 1 if demands.stream_equal else None
    return *checks, Check("stream_equal", "stream", holds, share, bar, f"stream {stream.message}", None, "least")


def synthetic_day(seconds: float, *, sampling_rate: float, seed: int) -> SyntheticDay:
    """A day of that length with some episodes of fibrillation, none too short to be announced."""
    return SyntheticDay(
        seconds=seconds,
        seed=seed,
        sampling_rate=sampling_rate,
        gap=min(3600.0, seconds / 16),
        episode=(_SHORTEST, min(1200.0, max(seconds / 8, _SHORTEST))),
    )


def _played(model: WindowModel | StreamModel, *, seconds: float, seed: int) -> tuple[Stream, str | None]:
    """What a watch says of a synthetic day; what was heard before a failure stays."""
    decisions: list[Decision] = []

    def hear(event: dict[str, Any]) -> None:
        if event["event"] == "decision" and len(decisions) < SHOWN:
            logits = event["logits"]
            shares = () if logits is None else tuple(softmax(np.asarray(logits, np.float64)).tolist())
            decisions.append(Decision(event["t"], _STATUS.get(event["status"], str(event["status"])), shares))

    hop = None if isinstance(model, StreamModel) else _second(model.sampling_rate)
    options = WatchOptions(hop=hop, rules=_rules(model), seed=seed)
    silent = Stream(False, "", 0, 0, "nothing was played", (), (), (), (), {}, 0, None, 0)
    try:
        day = synthetic_day(seconds, sampling_rate=model.sampling_rate, seed=seed)
    except InputError as error:
        return replace(silent, signal=f"nothing was played: {error}"), None
    truth = day.time_line()
    try:
        result = simulate(model, [stream_day(day)], hear, options)
    except InputError as error:
        return replace(silent, decisions=tuple(decisions)), str(error)
    episodes = [one.to_json() for one in result.episodes]
    return (
        replace(
            silent,
            signal=f"{seconds:g} s of a synthetic heart, seed {seed}",
            decisions=tuple(decisions),
            truth=tuple(Span(span.label, span.start, span.end) for span in truth),
            episodes=tuple(Span(one["class"], one["start"], one["end"]) for one in episodes),
            scores=tuple(score_stream(result, options, truth)),
            latency_ms=result.latency_ms(),
            deadline_misses=result.deadline_misses,
        ),
        None,
    )


def _rules(model: WindowModel | StreamModel) -> DecisionRules | None:
    """As `edgeguard simulate` has them; none for a file without the class that a watch announces."""
    if ALARM not in model.classes:
        return None
    return DecisionRules(
        watch=(ALARM,),
        noise=tuple(name for name in DecisionRules().noise if name in model.classes),
        look_back=model.window / model.sampling_rate / 2,
    )


def _second(sampling_rate: float) -> float:
    """The whole number of samples nearest to a second, in seconds."""
    return max(round(sampling_rate), 1) / sampling_rate


def _held(compiled: Compiled) -> int:
    """Hops of the proof at which the stream is as equal as it should be."""
    return compiled.proof.equal if compiled.equality == "equal" else compiled.proof.decisions


def _window_macs(file: OnnxModel) -> int:
    try:
        return file_cost(file.proto, file.path, window=file.window).macs
    except InputError:
        return 0


def _bill(file: OnnxModel, stream: FileStream | None) -> dict[str, Any] | None:
    """Of what a watch would run, the stream where there is one; the window file's own lies in it as `window_file`."""
    try:
        hop = _second(file.sampling_rate)
        window = bill(file.file, hop=hop, sampling_rate=file.sampling_rate, window=file.window).to_json()
    except InputError:
        return None
    if stream is None:
        return window
    return {**bill(stream.file).to_json(), "window_file": window}
