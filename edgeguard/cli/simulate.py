"""edgeguard simulate."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import data_options, file_data, model_options, open_file
from edgeguard.cli.output import emit, json_option, say


@click.command("simulate")
@click.argument("model", metavar="[FILE.onnx]", type=click.Path(path_type=Path), required=False)
@click.option("--record", metavar="R", help="One recording: a .csv, .hea or .mat file, or a name inside --data.")
@data_options
@click.option("--records", type=int, default=8, show_default=True, help="How many recordings of --data to play.")
@click.option("--join", is_flag=True, help="One stream over all recordings, so that short ones fill a window too.")
@click.option("--hop", type=float, default=1.0, show_default=True, help="Seconds between decisions.")
@click.option("--chunk", type=int, default=16, show_default=True, help="Samples at which the FIFO interrupts.")
@click.option("--fifo-depth", type=int, default=32, show_default=True, help="Samples that the FIFO holds.")
@click.option("--deadline-ms", type=float, help="Time allowed to a decision [default: the hop].")
@click.option(
    "--busy-ms",
    type=float,
    default=0.0,
    show_default=True,
    help="Signal time during which one inference blocks the FIFO.",
)
@click.option("--realtime", is_flag=True, help="Play at the pace of the signal; slow inference then blocks the FIFO.")
@model_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/simulate"),
    show_default=True,
    help="Folder of events.jsonl and summary.json.",
)
@json_option
def command(
    model: Path | None,
    record: str | None,
    data: str | None,
    labels: Path | None,
    records: int,
    deadline_ms: float | None,
    busy_ms: float,
    out: Path,
    as_json: bool,
    hop: float,
    chunk: int,
    fifo_depth: int,
    realtime: bool,
    join: bool,
    **file_facts: Any,
) -> None:
    """Stream recordings through an ONNX file as a watch would: FIFO, ring, a decision every hop."""
    from tqdm import tqdm

    from edgeguard.evaluation.intervals import rate
    from edgeguard.firmware_sim.events import event_log
    from edgeguard.firmware_sim.playlist import one_recording, recordings
    from edgeguard.firmware_sim.simulator import simulate
    from edgeguard.runtime.files import write_json

    opened = open_file(model, **file_facts)
    data, labels = file_data(opened.path, data, labels)
    if record:
        playlist = one_recording(record, data=data, labels=labels)
    else:
        playlist = recordings(records, opened.metadata, data=data, labels=labels)
    say(f"playing: {playlist.description}")
    events = out / "events.jsonl"
    with (
        tqdm(total=playlist.seconds, unit=" s", unit_scale=True, disable=None, leave=False) as bar,
        event_log(events) as log,
    ):
        result = simulate(
            opened,
            playlist.records,
            log,
            deadline=None if deadline_ms is None else deadline_ms / 1e3,
            busy=busy_ms / 1e3,
            progress=bar.update,
            hop=hop,
            chunk=chunk,
            fifo_depth=fifo_depth,
            realtime=realtime,
            join=join,
        )
    figures = {
        "model": str(opened.path),
        **result.to_json(),
        "agreement": rate(*result.agreement),
        "join": join,
        "events": str(events),
    }
    write_json(out / "summary.json", figures)
    emit("simulate", figures, partial(_table, figures), as_json=as_json)


def _table(figures: dict[str, Any]) -> str:
    latency, agreement, misses = figures["latency_ms"], figures["agreement"], figures["deadline_misses"]
    lines = ["class  decisions  records  agreeing"]
    for name, count in figures["by_class"].items():
        labelled = [r for r in figures["records"] if r["label"] == name and r["majority"] is not None]
        agreeing = sum(r["majority"] == name for r in labelled)
        lines.append(f"{name:<5}  {count:>9}  {len(labelled):>7}  {agreeing:>8}")
    lines += [
        "",
        f"decisions  {figures['decisions']}, after {figures['warming_up']} hops of warming up",
        f"agreement  {_rate(agreement)} of labelled records, by the majority of their decisions",
        f"signal     {figures['signal_seconds']:.1f} s, played in {figures['wall_seconds']:.2f} s",
        f"latency    p50 {latency['p50']:.2f}, p99 {latency['p99']:.2f}, max {latency['max']:.2f} ms",
        f"deadline   {figures['deadline_ms']:g} ms, missed {misses} times",
        f"processor  {100 * figures['processor_share']:.2g} % of one core at the signal's pace",
        f"FIFO       {figures['dropped_samples']} samples dropped in {figures['fifo_overflows']} overflows",
        f"memory     {figures['peak_rss_bytes'] / 2**20:.0f} MiB at its peak, Python included",
        f"events     {figures['events']}",
    ]
    if unscored := [r["name"] for r in figures["records"] if r["majority"] is None]:
        shown = ", ".join(unscored[:5]) + (", ..." if len(unscored) > 5 else "")
        mend = "" if figures["join"] else "; --join lets a window span recordings"
        lines.append(f"unscored   {len(unscored)} without a window of their own ({shown}){mend}")
    return "\n".join(lines)


def _rate(rate: dict[str, Any]) -> str:
    if not rate["n"]:
        return "none"
    return f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}], n {rate['n']},"
