"""Claim: a day of signal passes the whole watch in a minute and a half on one core, in the memory of its first hour.

24 hours at 512 Hz through the MAX30003 front end, the streaming file of `edge-m`, the rules, and the event log on disk.
The signal is an hour of a synthetic heart, made beforehand and played 24 times: making it is no part of the claim.

    python benchmarks/watch_day.py [WINDOW.onnx] [--hours 24]
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, process_time

import click
import numpy as np

from edgeguard.ecg.front_end import find_front_end
from edgeguard.ecg.stream import Stream
from edgeguard.ecg.synthetic_day import SyntheticDay
from edgeguard.export.streaming.compiler import compile_stream
from edgeguard.firmware_sim.decisions import DecisionRules
from edgeguard.firmware_sim.events import event_log
from edgeguard.firmware_sim.faults import parse_fault
from edgeguard.firmware_sim.simulator import WatchOptions, simulate
from edgeguard.runtime.streaming import open_stream
from edgeguard.runtime.system import peak_rss_bytes

ZOO = Path(__file__).parent.parent / "models" / "zoo"
RATE, HOUR = 512.0, 3600.0


@click.command()
@click.argument("window", type=click.Path(path_type=Path), default=ZOO / "adt-edge-m" / "adt-edge-m-int8.onnx")
@click.option("--hours", type=int, default=24, show_default=True)
def main(window: Path, hours: int) -> None:
    """Play the day and print what it took."""
    hour = np.concatenate(list(SyntheticDay(seconds=HOUR, sampling_rate=RATE).blocks()))
    marks: list[int] = []

    def chunks() -> Iterator[np.ndarray]:
        for _ in range(hours):
            yield from np.array_split(hour, 360)
            marks.append(peak_rss_bytes() or 0)

    faults = (parse_fault("lost-packets:share=0.0001"), parse_fault("motion:every=1800,for=10"))
    with tempfile.TemporaryDirectory() as folder:
        stream = Path(folder) / "stream.onnx"
        compile_stream(window, stream, hop=1.0)
        watch = WatchOptions(front_end=find_front_end("max30003"), faults=faults, rules=DecisionRules())
        with event_log(Path(folder) / "events.jsonl") as log:
            wall, processor = perf_counter(), process_time()
            signal = Stream("day", RATE, chunks(), seconds=hours * HOUR)
            result = simulate(open_stream(stream), [signal], log, watch)
            wall, processor = perf_counter() - wall, process_time() - processor
    grown = (marks[-1] - marks[0]) / 2**20
    print(f"{hours} h of signal at {RATE:g} Hz: {wall:.1f} s, {processor:.1f} s of processor time")
    print(f"{result.decisions} decisions, {result.invalid} void for a gap, {len(result.episodes)} episodes")
    print(f"peak memory {marks[0] / 2**20:.1f} MiB after the first hour, {marks[-1] / 2**20:.1f} MiB at the end")
    print(f"{'holds' if wall <= 90 * hours / 24 else 'does not hold'}: at most 90 s for 24 h")
    print(f"{'holds' if grown <= 5 else 'does not hold'}: grows by {grown:.1f} MiB, at most 5")


if __name__ == "__main__":
    main()
