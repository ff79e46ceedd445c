"""A simulation on a watch's face: its events, as they are logged, drawn in the terminal."""

from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np

from edgeguard.firmware_sim.decisions import softmax
from edgeguard.firmware_sim.events import Emit, Event
from edgeguard.firmware_sim.scorers import StreamModel, WindowModel
from edgeguard.report.live import Frame, LiveView

_SHOWN_SECONDS = 8.0


class LiveWatch:
    """Passes events on to the log, and shows the state after each decision.

    A context manager that gives the function to emit events with.
    """

    def __init__(
        self, stream: TextIO, model: WindowModel | StreamModel, log: Emit, bill: dict[str, Any] | None = None
    ) -> None:
        """`bill`: of the file (`edgeguard.firmware_sim.bill.Bill.to_json`)."""
        self._view = LiveView(stream)
        self._model = model
        self._log = log
        self._bill = [] if bill is None else bill_lines(bill)
        self._told: list[str] = []
        self._samples = np.full(round(_SHOWN_SECONDS * model.sampling_rate), np.nan, np.float32)

    def __enter__(self) -> Self:
        self._view.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._view.__exit__(kind, error, trace)

    def hear(self, samples: np.ndarray) -> None:
        """Samples for the model [n], microvolts; NaN where they were lost."""
        newest = samples[-len(self._samples) :]
        kept = self._samples[len(newest) :]
        self._samples = np.concatenate([kept, newest]).astype(np.float32)

    def __call__(self, event: Event) -> None:
        """Log an event; a decision draws a frame."""
        self._log(event)
        if (text := _text(event)) is not None:
            self._told.append(text)
        if event["event"] == "decision":
            self._view.show(self._frame(event))
            self._told = []

    def _frame(self, decision: Event) -> Frame:
        return Frame(
            seconds=decision["t"],
            samples=self._samples,
            sampling_rate=self._model.sampling_rate,
            status=str(decision["status"]),
            label=decision["label"],
            probabilities=self._probabilities(decision["logits"]),
            note=f"signal quality {decision['quality']:.2f}",
            events=tuple(self._told),
            bill=self._bill,
        )

    def _probabilities(self, logits: tuple[float, ...] | None) -> dict[str, float]:
        if logits is None:
            return {}
        return dict(zip(self._model.classes, softmax(np.array(logits)).tolist(), strict=True))


def bill_lines(bill: dict[str, Any]) -> list[str]:
    """The bill in a few lines, an estimate."""
    lines = [
        f"{bill['work']['macs'] / 1e6:.3g} MMAC a decision, {bill['flash']['model_bytes'] / 1024:.0f} KiB of flash, "
        f"{bill['ram']['total_bytes'] / 1024:.0f} KiB of memory (estimate)"
    ]
    for target in bill["targets"]:
        if (latency := target["latency_ms"]) is not None:
            lines.append(f"{target['name']}: {latency['low']:.3g} to {latency['high']:.3g} ms a decision")
    return lines


def _text(event: Event) -> str | None:
    """An event for people; None for those that are drawn otherwise."""
    kind = event["event"]
    if kind == "record":
        return f"{event['t']:.0f} s: {event['record']} begins"
    if kind == "gap":
        return f"{event['t']:.1f} s: the FIFO lost {event['lost']} samples"
    if kind == "signal":
        return f"{event['t']:.1f} s: {event['flag'].replace('_', ' ')} {'begins' if event['on'] else 'ends'}"
    if kind == "episode_start":
        return f"{event['t']:.0f} s: episode of {event['class']} since {event['start']:.0f} s"
    if kind == "episode_end":
        return f"{event['t']:.0f} s: episode of {event['class']} over ({event['reason']})"
    return None
