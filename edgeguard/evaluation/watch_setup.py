"""What a simulation is told, as objects: the file, the watch, the signal, the bill."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from edgeguard.ecg.front_end import find_front_end
from edgeguard.ecg.origin import Named, file_data
from edgeguard.ecg.record import Record
from edgeguard.ecg.rhythm_annotations import read_rhythms
from edgeguard.errors import InputError
from edgeguard.firmware_sim.bill import bill
from edgeguard.firmware_sim.decisions import DecisionRules
from edgeguard.firmware_sim.faults import parse_fault
from edgeguard.firmware_sim.playlist import Playlist, day, from_pipe, one_recording, recordings
from edgeguard.firmware_sim.simulator import WatchOptions
from edgeguard.runtime.loading import read_model_file
from edgeguard.runtime.model_spec import StatedFacts
from edgeguard.runtime.newest import newest_model
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.streaming import StreamModel, open_stream
from edgeguard.runtime.telling import Say

Model = OnnxModel | StreamModel

ALARM = "A"
"""Class that a watch announces unless told otherwise."""


def open_watch_file(
    path: Path | None, *, threads: int, say: Say, assumed: StatedFacts | None = None, **facts: Unpack[StatedFacts]
) -> Model:
    """A window file or a streaming file, or the newest under runs/; says which.

    Args:
        threads: of ONNX Runtime.
        assumed, facts: as `open_model` takes them; a streaming file says all of them itself.
    """
    file = read_model_file(path or newest_model())
    if not file.is_stream:
        opened = open_model(file, threads=threads, assumed=assumed or StatedFacts(), **facts)
        say(f"model: {opened.path}")
        return opened
    stream = open_stream(file, threads=threads)
    say(f"model: {stream.path} (streaming, a hop of {stream.hop / stream.sampling_rate:g} s)")
    found = stream.metadata.proof or {}
    if found.keys() >= {"changed", "hops", "source"}:
        cost = f"{found['changed']} of {found['hops']} decisions on {found['source']} differ"
        say(f"close to its window file, not equal: {cost}")
    return stream


def watch_options(
    model: Model,
    *,
    front_end: str | None,
    faults: Sequence[str],
    hop: float | None,
    chunk: int,
    fifo_depth: int,
    busy_ms: float,
    realtime: bool,
    join: bool,
    seed: int,
    **rules: Any,
) -> WatchOptions:
    """The settings of the simulated watch."""
    sensor = (
        None if front_end is None else replace(find_front_end(front_end), fifo_depth=fifo_depth, fifo_threshold=chunk)
    )
    return WatchOptions(
        hop=hop,
        chunk=chunk,
        fifo_depth=fifo_depth,
        busy=busy_ms / 1e3,
        realtime=realtime,
        join=join,
        front_end=sensor,
        faults=tuple(parse_fault(text) for text in faults),
        rules=_rules(model, **rules),
        seed=seed,
    )


def _rules(
    model: Model,
    *,
    watch: Sequence[str] | None,
    enter: float | None,
    leave: float | None,
    votes: str | None,
    min_duration: float | None,
    refractory: float | None,
    **_: Any,
) -> DecisionRules | None:
    """None where no class is named and the model has none that a watch would announce."""
    if watch is None and ALARM not in model.classes:
        return None
    given: dict[str, Any] = {"enter": enter, "leave": leave, "min_duration": min_duration, "refractory": refractory}
    if votes is not None:
        agreeing, slash, among = votes.partition("/")
        if not (slash and agreeing.isdecimal() and among.isdecimal()):
            raise InputError(f"--votes {votes}: give two whole numbers, such as 25/30")
        given |= {"votes": int(agreeing), "of": int(among)}
    return DecisionRules(
        watch=tuple(watch or (ALARM,)),
        noise=tuple(name for name in DecisionRules().noise if name in model.classes),
        look_back=model.window / model.sampling_rate / 2,
        **{name: value for name, value in given.items() if value is not None},
    )


def playlist(
    model: Model,
    *,
    record: str | None,
    named: Named,
    records: int,
    rate: float | None,
    raw_format: str,
    step: float,
    seed: int,
    annotations: Path | None,
    ecg: np.ndarray | None,
) -> Playlist:
    """The signals to play."""
    if annotations is not None and record is None:
        raise InputError("--annotations: of which recording? add --record")
    if ecg is not None:
        array = Record("array", np.asarray(ecg, np.float32), rate or model.sampling_rate)
        return Playlist(iter([array]), f"{len(ecg)} samples of an array", len(ecg) / array.sampling_rate)
    if record == "-":
        if rate is None:
            raise InputError("--record -: raw samples do not say their sampling rate; add --rate HZ")
        return from_pipe(sys.stdin.buffer, raw_format, rate, step=step)
    if record is not None and record.startswith("day:"):
        return day(record.removeprefix("day:"), sampling_rate=model.sampling_rate, seed=seed)
    named = file_data(model.path, named)
    if record is not None:
        played = one_recording(record, named)
        return played if annotations is None else replace(played, reference=tuple(read_rhythms(annotations)))
    return recordings(records, model, named)


def watch_bill(watch: WatchOptions, model: Model) -> dict[str, Any]:
    """The estimate for the file in this watch, JSON-ready."""
    sensor = watch.front_end
    known = {} if sensor is None or sensor.name == "ideal" else {"front_end": sensor.name}
    made = bill(
        model.file,
        hop=watch.hop,
        sampling_rate=model.sampling_rate,
        window=model.window,
        sensor_rate=None if sensor is None else sensor.rate(model.sampling_rate),
        fifo_depth=watch.fifo_depth,
        fifo_threshold=watch.chunk,
        **known,  # type: ignore[arg-type]
    )
    return made.to_json()
