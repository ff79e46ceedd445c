"""The event log of a simulation: JSON Lines, one object a line, in the order of the signal.

Every line has `event`. All but the first have `t`, seconds since the stream's start, and `record`, the
recording being played.

| event | further keys |
| --- | --- |
| `header` | `schema`, `model` (sha256), `classes`, `sampling_rate`, `window`, `hop`, `front_end`, `deadline_ms` |
| `record` | a recording begins: `label` (its reference or null), `samples` |
| `state` | the status changed: `status` |
| `gap` | the FIFO overflowed: `lost` (samples, from `t` on) |
| `signal` | a fault begins or ends at `t`: `flag` (`lost`, `lead_off`, `saturated`, `brown_out`), `on` |
| `decision` | a hop ended at `t`: `status`, `quality`; `label`, `logits`, `latency_ms` (null unless scoring) |
| `episode_start`, `episode_end` | an announcement: the fields of `edgeguard.firmware_sim.decisions.EpisodeEvent` |

`status` is `warming_up`, `invalid` (the window holds a gap) or `scoring`; `window`, `hop`, `samples` and `lost` count
samples. `latency_ms` is measured; all else is the same in every run on the same samples and settings, unless the pace
is real time and the FIFO overflows.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeguard.runtime.files import atomic_writer

SCHEMA = "edgeguard.events/1"

Event = dict[str, Any]
Emit = Callable[[Event], None]


@contextmanager
def event_log(path: Path) -> Iterator[Emit]:
    """A function that appends an event to the log, which appears under `path` when the block ends well.

    Raises InputError when the file cannot be written.
    """
    with atomic_writer(path) as file:

        def emit(event: Event) -> None:
            file.write((json.dumps(event, ensure_ascii=False) + "\n").encode())

        yield emit


def read_events(path: Path, *, timing: bool = True) -> list[Event]:
    """The events of a log; without `timing` only what every run on the same samples has in common."""
    events: list[Event] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return events if timing else [without_timing(event) for event in events]


def without_timing(event: Event) -> Event:
    """The event without its measured part."""
    return {key: value for key, value in event.items() if key != "latency_ms"}
