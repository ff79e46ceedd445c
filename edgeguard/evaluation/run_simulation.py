"""One simulation of a watch, from what was named to figures and files."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edgeguard.ecg.origin import Named
from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import Rate
from edgeguard.evaluation.frames import frame
from edgeguard.evaluation.intervals import rate as share
from edgeguard.evaluation.plausibility import decision_warnings
from edgeguard.evaluation.stream_score import score_stream
from edgeguard.evaluation.watch_setup import Model, open_watch_file, playlist, watch_bill, watch_options
from edgeguard.evaluation.zoo.located import located
from edgeguard.firmware_sim.events import Emit, Event, event_log
from edgeguard.firmware_sim.result import SimulationResult
from edgeguard.firmware_sim.saved_state import load_state, save_state
from edgeguard.firmware_sim.simulator import simulate
from edgeguard.runtime.files import write_json
from edgeguard.runtime.model_spec import StatedFacts
from edgeguard.runtime.telling import Say, log, no_bars
from edgeguard.runtime.typed_json import to_json

SCHEMA = "edgeguard.simulate/1"

View = Callable[[Model, Emit, dict[str, Any] | None], AbstractContextManager[Any]]
"""(model, log, bill) to a block that takes events in the log's stead, and hears the samples."""


@dataclass(frozen=True)
class Simulation:
    """A stream of recordings through a file as a watch would have it.

    Attributes:
        model: path of the file.
        result: the figures of the simulation.
        agreement: of labelled recordings, the share whose most frequent decision is their label.
        join: whether the recordings were one stream.
        episode_scores: by class, where the signal's rhythms are known.
        bill: estimate of flash, memory, time and energy; None where it was not asked for.
        log: file of the events; None where they were not written, and are in `events`.
        events: what happened, in the order of the signal (`edgeguard.firmware_sim.events`).
    """

    model: str
    result: SimulationResult
    agreement: Rate
    join: bool
    episode_scores: tuple[dict[str, Any], ...]
    bill: dict[str, Any] | None = None
    log: str | None = None
    events: tuple[Event, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is implausible: nearly every decision for one class, whatever the records are labelled."""
        classes = list(self.result.by_class)
        decided = np.repeat(np.arange(len(classes)), list(self.result.by_class.values()))
        labels = [record.label for record in self.result.records if record.label in classes]
        if len(set(labels)) < 2:
            return ()
        share = np.repeat([classes.index(str(label)) for label in labels], -(-len(decided) // len(labels)))
        return tuple(decision_warnings(decided, share[: len(decided)], classes)[:1]) if len(decided) else ()

    def figures(self) -> dict[str, Any]:
        """The fields by name, those of the result among them; what nothing is known of is NaN."""
        return {
            "schema": SCHEMA,
            "model": self.model,
            **self.result.to_json(),
            "agreement": asdict(self.agreement),
            "join": self.join,
            "events": self.log,
            "episode_scores": self.episode_scores,
            **({} if self.bill is None else {"bill": self.bill}),
            **({"warnings": self.warnings} if self.warnings else {}),
        }

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard simulate --json` prints."""
        made: dict[str, Any] = to_json(self.figures())
        return made

    def to_frame(self) -> Any:
        """A pandas DataFrame of the events, a row an event; InputError where pandas is not installed.

        Empty where the events were written to a file.
        """
        return frame(self.events)

    def __repr__(self) -> str:
        said = ", ".join(f"{name} {count}" for name, count in self.result.by_class.items())
        return (
            f"Simulation({self.model}: {self.result.signal_seconds:g} s of signal, {self.result.decisions} decisions "
            f"({said}), {self.result.deadline_misses} deadline misses)"
        )


def simulate_watch(
    model: str | Path | None = None,
    *,
    record: str | None = None,
    ecg: np.ndarray | None = None,
    data: str | Path | None = None,
    labels: str | Path | None = None,
    records: int = 8,
    join: bool = False,
    hop: float | None = None,
    chunk: int = 16,
    fifo_depth: int = 32,
    deadline_ms: float | None = None,
    busy_ms: float = 0.0,
    realtime: bool = False,
    front_end: str | None = None,
    faults: Sequence[str] = (),
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
    annotations: str | Path | None = None,
    watch: Sequence[str] | None = None,
    enter: float | None = None,
    leave: float | None = None,
    votes: str | None = None,
    min_duration: float | None = None,
    refractory: float | None = None,
    state: str | Path | None = None,
    bill: bool = False,
    rate: float | None = None,
    raw_format: str = "int16",
    step: float = 1.0,
    seed: int = 0,
    threads: int = 1,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    window: int | None = None,
    unit: str | None = None,
    threshold: float | None = None,
    out: str | Path | None = None,
    view: View | None = None,
    say: Say = log,
) -> Simulation:
    """Stream recordings through an ONNX file as a watch would: sensor, FIFO, a decision every hop, episodes; no torch.

    Args:
        model: a window file or a streaming file; None: the newest one under `runs/`.
        record: one recording: a .csv, .hea, .mat or .atc file, an Apple Watch export, a name inside `data`,
            `day:SECONDS` (synthetic, with episodes), or `-` (raw samples from standard input).
        ecg: one recording instead, microvolts [n]; `sampling_rate` is then its own (by default the model's).
        data, labels, records: how many recordings to play of which source; by default of what the file was trained on.
        join: one stream over all recordings.
        hop: seconds between decisions; None: 1, or what a streaming file has.
        chunk, fifo_depth: samples at which the FIFO interrupts, and that it holds.
        deadline_ms: milliseconds allowed to a decision; None: the hop.
        busy_ms: milliseconds of signal during which one inference blocks the FIFO.
        realtime: play at the pace of the signal.
        front_end: take recordings as voltages at the electrode: ideal, max30003, ads1292 or ad8233-12bit.
        faults: that befall the front end, each `NAME` or `NAME:KEY=VALUE,...`.
        label_map: label of the data -> class of the model.
        lead: name or number of the signal to take of records that have several.
        annotations: of a WFDB `record`: its rhythms, to score episodes by.
        watch: classes whose episodes are announced; None: A, where the model has it.
        enter, leave, votes, min_duration, refractory: when an episode begins and ends (probabilities, `K/N`, seconds).
        state: file to go on from, if it is there, and to end in.
        bill: whether to estimate flash, memory, time and energy.
        rate, raw_format, step: of raw samples: hertz, int16, float32 or text, and microvolts of one unit. For `ecg`,
            `rate` is an old name of `sampling_rate`.
        seed: of noise, faults and days.
        threads: of ONNX Runtime.
        classes, sampling_rate, window, unit: of a file that does not say; hertz, samples, `uV`, `mV` or `V`.
        threshold: probability from which a file's single output means the second class.
        out: folder of events.jsonl and summary.json; None: nothing is written.
        view: shows what happens.
        say: receives a line now and then.

    Raises InputError for anything that cannot be.
    """
    if ecg is not None and (record is not None or data is not None):
        raise InputError("ecg: give it without record and data")
    if ecg is not None and rate is not None:
        warnings.warn("simulate(ecg=..., rate=...): give sampling_rate= instead", DeprecationWarning, stacklevel=2)
        sampling_rate = rate
    # The rate of arrays is theirs; a file that says its own has them resampled.
    facts = StatedFacts(classes=classes, window=window, unit=unit, threshold=threshold)
    assumed = StatedFacts(sampling_rate=sampling_rate)
    if ecg is None:
        facts, assumed = StatedFacts(**facts, **assumed), StatedFacts()
    path = None if model is None else located(model)
    opened = open_watch_file(path, threads=threads, say=say, assumed=assumed, **facts)
    options = watch_options(
        opened,
        front_end=front_end,
        faults=faults,
        hop=hop,
        chunk=chunk,
        fifo_depth=fifo_depth,
        busy_ms=busy_ms,
        realtime=realtime,
        join=join,
        seed=seed,
        watch=watch,
        enter=enter,
        leave=leave,
        votes=votes,
        min_duration=min_duration,
        refractory=refractory,
    )
    played = playlist(
        opened,
        record=record,
        ecg=ecg,
        named=Named(None if data is None else str(data), None if labels is None else Path(labels), label_map, lead),
        records=records,
        rate=rate if ecg is None else sampling_rate,
        raw_format=raw_format,
        step=step,
        seed=seed,
        annotations=None if annotations is None else Path(annotations),
    )
    say(f"playing: {played.description}")
    billed = watch_bill(options, opened) if bill else None
    kept = None if state is None else Path(state)
    earlier = None if kept is None else load_state(kept, opened, options)
    folder = None if out is None else Path(out)
    happened: list[Event] = []
    with ExitStack() as stack:
        emit = happened.append if folder is None else stack.enter_context(event_log(folder / "events.jsonl"))
        hear = None
        if view is not None:
            emit = shown = stack.enter_context(view(opened, emit, billed))
            hear = shown.hear
        bar = stack.enter_context(
            tqdm(total=played.seconds, unit=" s", unit_scale=True, disable=True if view else no_bars(), leave=False)
        )
        found = simulate(
            opened,
            played.records,
            emit,
            options,
            deadline=None if deadline_ms is None else deadline_ms / 1e3,
            state=earlier,
            progress=bar.update,
            hear=hear,
        )
    if kept is not None:
        save_state(kept, found.state, opened, options)
    made = Simulation(
        model=str(opened.path),
        result=found,
        agreement=Rate(**share(*found.agreement)),
        join=join,
        episode_scores=tuple(score_stream(found, options, played.reference)),
        bill=billed,
        log=None if folder is None else str(folder / "events.jsonl"),
        events=tuple(happened),
    )
    for warning in made.warnings:
        say(f"warning: {warning}")
    if folder is not None:
        write_json(folder / "summary.json", made.to_json())
    return made
