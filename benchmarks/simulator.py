"""Claim: the simulator plays a signal hundreds of times faster than it lasts, even read sample by sample.

Side by side, on the same samples: the model alone on every window, sliced offline, and the simulator
at several FIFO thresholds; the difference is the price of FIFO, ring and event log. Both must give the
same logits.

    python benchmarks/simulator.py [FILE.onnx]
"""

import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

from edgeguard.ecg.record import Record
from edgeguard.firmware_sim.events import Event
from edgeguard.firmware_sim.simulator import WatchOptions, simulate
from edgeguard.runtime.session import open_model

SECONDS = 600


def main(path: str) -> None:
    """Print microseconds of computing a second of signal."""
    model = open_model(path)
    rate = round(model.sampling_rate)
    ecg = np.random.default_rng(0).normal(0, 200, SECONDS * rate).astype(np.float32)
    ends = range(model.window, len(ecg) + 1, rate)
    begin = perf_counter()
    offline = [tuple(model.logits(ecg[None, None, end - model.window : end])[0].tolist()) for end in ends]
    alone = (perf_counter() - begin) / SECONDS * 1e6
    print(f"{path}: {len(ends)} decisions in {SECONDS} s of signal, {os.cpu_count()} cores, one thread\n")
    print("path                 us a second of signal    own cost    times real time")
    print(f"model alone          {alone:>21.0f}")
    for threshold in (1, 16, 32):
        events: list[Event] = []
        record = Record("noise", ecg, model.sampling_rate)
        result = simulate(model, [record], events.append, WatchOptions(chunk=threshold))
        if [e["logits"] for e in events if e.get("logits")] != offline:
            sys.exit("the stream's logits are not those of the windows")
        streamed = result.wall_seconds / SECONDS * 1e6
        own, speed = streamed - alone, 1e6 / streamed
        print(f"simulator, reads {threshold:>2}  {streamed:>21.0f}  {own:>10.0f}  {speed:>17.0f}")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    elif len(sys.argv) == 1:
        from helpers.briefly_trained import briefly_trained

        with tempfile.TemporaryDirectory() as folder:
            main(str(briefly_trained("edge-s", Path(folder) / "edge-s").int8))
    else:
        sys.exit(__doc__)
