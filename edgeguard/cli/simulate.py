"""edgeguard simulate."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import OneOf, adapter_options, data_options, listed, model_options
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.sections import sectioned
from edgeguard.report.rate_text import rate_text


@click.command(
    "simulate",
    cls=sectioned(
        {
            "What is played": ("record", "data", "labels", "label_map", "lead", "records", "join", "annotations"),
            "Watch": ("hop", "chunk", "fifo_depth", "deadline_ms", "busy_ms", "realtime", "front_end", "faults"),
            "Episodes": ("watch", "enter", "leave", "votes", "min_duration", "refractory"),
            "Raw samples of --record -": ("rate", "raw_format", "step"),
            "Output": ("state", "live", "billed", "out"),
        }
    ),
)
@click.argument("model", metavar="[FILE.onnx]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--record",
    metavar="R",
    help="One recording: a .csv, .hea, .mat or .atc file, an Apple Watch export, a name inside --data, day:SECONDS "
    "(synthetic, with episodes), or - (raw samples from a pipe).",
)
@data_options
@adapter_options
@click.option("--records", type=int, default=8, show_default=True, help="Number of recordings of --data to play.")
@click.option("--join", is_flag=True, help="Play all recordings as one stream, so that short ones fill a window too.")
@click.option("--hop", type=float, help="Seconds between two decisions [default: 1, or what a streaming file has].")
@click.option(
    "--chunk",
    type=int,
    default=16,
    show_default=True,
    help="Number of samples at which the sensor's FIFO wakes the processor.",
)
@click.option("--fifo-depth", type=int, default=32, show_default=True, help="Number of samples that the FIFO holds.")
@click.option("--deadline-ms", type=float, help="Time allowed to a decision, milliseconds [default: the hop].")
@click.option(
    "--busy-ms",
    type=float,
    default=0.0,
    show_default=True,
    help="Signal time during which one inference blocks the FIFO, milliseconds.",
)
@click.option("--realtime", is_flag=True, help="Play at the pace of the signal; slow inference then blocks the FIFO.")
@click.option(
    "--front-end",
    metavar="NAME",
    help="Front end that digitises the recordings, taken as voltages at the electrode: ideal, max30003, ads1292 or "
    "ad8233-12bit [default: none, the model gets the recordings as they are].",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    metavar="NAME[:KEY=VALUE,...]",
    help="Fault of the front end: lost-packets, fifo-overflow, lead-off, saturation, motion, mains, clock-drift, "
    "duplicated, late or brown-out; may be given more than once.",
)
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    metavar="FILE.atr",
    help="WFDB rhythm annotations of --record, to score episodes by; a day: has its own, joined recordings have their "
    "labels.",
)
@click.option("--watch", help="Classes whose episodes are announced, such as A,O [default: A, where the model has it].")
@click.option("--enter", type=float, help="Probability from which a hop votes for a class [default: 0.6].")
@click.option("--leave", type=float, help="Probability below which a hop votes against it [default: 0.4].")
@click.option("--votes", metavar="K/N", help="Number of the latest N hops that must agree [default: 25/30].")
@click.option(
    "--min-duration",
    type=float,
    metavar="SECONDS",
    help="Time that an episode lasts before it is announced [default: 60].",
)
@click.option(
    "--refractory",
    type=float,
    metavar="SECONDS",
    help="Time between two announcements of a class, at least [default: 60].",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    help="File that the watch's state is restored from, if it exists, and saved to in the end.",
)
@click.option("--live", is_flag=True, help="Show signal, state and resource estimate in the terminal.")
@click.option("--bill", "billed", is_flag=True, help="Estimate flash, memory, time and energy on microcontrollers.")
@click.option("--rate", type=float, metavar="HZ", help="Sampling rate of the samples of --record -.")
@click.option(
    "--format",
    "raw_format",
    type=OneOf("int16", "float32", "text"),
    default="int16",
    show_default=True,
    help="Format of the samples of --record -.",
)
@click.option(
    "--step", type=float, default=1.0, show_default=True, help="Microvolts of one unit in the samples of --record -."
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of noise, faults and synthetic days."
)
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
    live: bool,
    billed: bool,
    watch: str | None,
    classes: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Stream recordings through an ONNX file as a watch would: sensor, FIFO, a decision every hop, episodes."""
    from edgeguard.evaluation.run_simulation import simulate_watch
    from edgeguard.report.live_watch import LiveWatch

    found = simulate_watch(
        model,
        watch=listed(watch),
        classes=listed(classes) or None,
        bill=billed or live,
        view=partial(LiveWatch, sys.stderr) if live else None,
        say=say,
        **options,
    )
    emit("simulate", found.to_json(), partial(_table, found.figures()), as_json=as_json)


def _table(figures: dict[str, Any]) -> str:
    latency, agreement, misses = figures["latency_ms"], figures["agreement"], figures["deadline_misses"]
    lines = ["class  decisions  records  agreeing"]
    for name, count in figures["by_class"].items():
        labelled = [r for r in figures["records"] if r["label"] == name and r["majority"] is not None]
        agreeing = sum(r["majority"] == name for r in labelled)
        lines.append(f"{name:<5}  {count:>9}  {len(labelled):>7}  {agreeing:>8}")
    invalid = f", {figures['invalid']} void for a gap" if figures["invalid"] else ""
    lines += [
        "",
        f"decisions  {figures['decisions']}, after {figures['warming_up']} hops of warming up{invalid}",
        f"agreement  {_rate(agreement)} of labelled records, by the majority of their decisions",
        f"signal     {figures['signal_seconds']:.1f} s, played in {figures['wall_seconds']:.2f} s",
        f"latency    p50 {latency['p50']:.2f}, p99 {latency['p99']:.2f}, max {latency['max']:.2f} ms",
        f"deadline   {figures['deadline_ms']:g} ms, missed {misses} times",
        f"processor  {100 * figures['processor_share']:.2g} % of one core at the signal's pace",
        f"FIFO       {figures['dropped_samples']} samples dropped in {figures['fifo_overflows']} overflows",
        f"memory     {_memory(figures['peak_rss_bytes'])}",
        *_episode_lines(figures["episodes"]),
        *(_score_line(score) for score in figures["episode_scores"]),
        f"events     {figures['events']}",
    ]
    if unscored := [r["name"] for r in figures["records"] if r["majority"] is None]:
        shown = ", ".join(unscored[:5]) + (", ..." if len(unscored) > 5 else "")
        mend = "" if figures["join"] else "; --join lets a window span recordings"
        lines.append(f"unscored   {len(unscored)} without a window of their own ({shown}){mend}")
    if "bill" in figures:
        from edgeguard.report.bill_table import bill_table

        lines += ["", bill_table(figures["bill"])]
    return "\n".join(lines)


def _episode_lines(episodes: list[dict[str, Any]]) -> list[str]:
    """The announced episodes, the first few of them."""
    shown = 8
    lines = [
        f"episode    {episode['class']} {episode['start']:.0f} to {episode['end']:.0f} s, announced at "
        f"{episode['announced']:.0f} s, confidence {episode['confidence']:.2f}, quality {episode['quality']:.2f}"
        for episode in episodes[:shown]
    ]
    return [*lines, f"           and {len(episodes) - shown} more in the log"] if len(episodes) > shown else lines


def _score_line(score: dict[str, Any]) -> str:
    alarms, delay = score["false_alarms_per_day"], score["delay_s"]["median"]
    return (
        f"score      {score['class']}: sensitivity {_rate(score['sensitivity'])} {alarms['value']:.1f} "
        f"[{alarms['low']:.1f}, {alarms['high']:.1f}] false alarms a day, median delay "
        f"{'none' if delay is None else f'{delay:.0f} s'}, {score['scored_s'] / 3600:.1f} h"
    )


def _memory(peak: int | None) -> str:
    return "not measured" if peak is None else f"{peak / 2**20:.0f} MiB at its peak, Python included"


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate_text(rate)}, n {rate['n']}," if rate["n"] else "none"
