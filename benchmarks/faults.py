"""Claim: after every fault the stream is soon what it would have been without it.

Each fault is injected once, after 300 s of a synthetic heart, into a front end before the int8 file of `edge-m`.
What is told: decisions that are void, or of another class than in the undisturbed run; and the last decision whose
logits differ in any bit, in seconds after the fault's end. For the network alone, without sensor filters, that is one
window.

    python benchmarks/faults.py [FILE.onnx]
"""

from pathlib import Path

import click

from edgeguard.ecg.front_end import find_front_end
from edgeguard.ecg.stream import stream_day
from edgeguard.ecg.synthetic_day import SyntheticDay
from edgeguard.firmware_sim.events import Event
from edgeguard.firmware_sim.faults import parse_fault
from edgeguard.firmware_sim.simulator import WatchOptions, simulate
from edgeguard.runtime.session import OnnxModel, open_model

ZOO = Path(__file__).parent.parent / "models" / "zoo"
AT = 300.0
SECONDS = 480.0
FAULTS = {
    "lost-packets:at=300,for=2": 2.0,
    "fifo-overflow:at=300": 0.0,
    "lead-off:at=300,for=10": 10.0,
    "saturation:at=300,for=3": 3.0,
    "motion:at=300,for=10": 10.0,
    "mains:at=300,for=10": 10.0,
    "clock-drift:ppm=200": SECONDS - AT,
    "duplicated:at=300,for=2": 2.0,
    "late:at=300,for=2": 2.0,
    "brown-out:at=300,for=5": 5.0,
}


@click.command()
@click.argument("file", type=click.Path(path_type=Path), default=ZOO / "adt-edge-m" / "adt-edge-m-int8.onnx")
def main(file: Path) -> None:
    """Print the table."""
    model = open_model(file)
    print(
        f"{'fault':<30}{'front end':<12}{'void':>6}{'other class':>13}{'other logits':>14}{'equal again after, s':>22}"
    )
    for front_end in ("max30003", "ideal"):
        whole = decisions(model, front_end)
        for text, length in FAULTS.items():
            print(line(text, front_end, whole, decisions(model, front_end, text), AT + length))


def decisions(model: OnnxModel, front_end: str, fault: str | None = None) -> dict[float, Event]:
    """Second -> decision."""
    events: list[Event] = []
    faults = () if fault is None else (parse_fault(fault),)
    day = stream_day(SyntheticDay(seconds=SECONDS, sampling_rate=model.sampling_rate))
    simulate(model, [day], events.append, WatchOptions(front_end=find_front_end(front_end), faults=faults))
    return {event["t"]: event for event in events if event["event"] == "decision"}


def line(text: str, front_end: str, whole: dict[float, Event], disturbed: dict[float, Event], end: float) -> str:
    """One row."""
    pairs = [(t, whole[t], disturbed[t]) for t in whole if t in disturbed]
    void = sum(now["status"] != was["status"] for _, was, now in pairs)
    other = sum(now["label"] not in (was["label"], None) for _, was, now in pairs)
    apart = [t for t, was, now in pairs if now["logits"] != was["logits"]]
    last = f"{max(apart) - end:.0f}" if apart else "never apart"
    if apart and max(apart) == max(whole):
        last = "not within the recording"
    return f"{text:<30}{front_end:<12}{void:>6}{other:>13}{len(apart):>14}{last:>22}"


if __name__ == "__main__":
    main()
