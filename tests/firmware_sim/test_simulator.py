from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.ecg.record import Record
from edgeguard.errors import InputError
from edgeguard.firmware_sim.events import Event, event_log, read_events, without_timing
from edgeguard.firmware_sim.result import SimulationResult
from edgeguard.firmware_sim.simulator import WatchOptions, simulate
from edgeguard.runtime.session import open_model


def run(model: Any, *records: Record, **settings: Any) -> tuple[SimulationResult, list[Event]]:
    events: list[Event] = []
    own = {name: settings.pop(name) for name in ("deadline", "state", "progress") if name in settings}
    watch = WatchOptions(**settings)
    return simulate(model, records, events.append, watch, **own), [without_timing(e) for e in events]


def record(ecg: np.ndarray, name: str = "r", label: str | None = "N") -> Record:
    return Record(name, ecg, 20.0, label)


def of(events: list[Event], kind: str) -> list[Event]:
    return [event for event in events if event["event"] == kind]


def test_one_window_decides_as_the_model_does_offline(mean_file: Path, ecg: np.ndarray) -> None:
    model = open_model(mean_file)
    for start in range(0, 440, 40):
        window = ecg[start : start + 60]
        result, events = run(model, record(window))
        offline = model.logits(window[None, None])[0]
        (decision,) = [e for e in of(events, "decision") if e["status"] == "scoring"]
        assert decision["label"] == model.classes[int(offline.argmax())]
        assert decision["logits"] == tuple(offline.tolist())
        assert decision["t"] == 3.0
        assert result.decisions == 1


def test_the_whole_log_of_a_short_stream(make_model: Any) -> None:
    _, events = run(make_model(), record(np.full(85, -2, np.float32), "a", "A"), hop=2.0, chunk=10)
    logits = (2.0, -2.0, 5.0, 0.5)
    assert events == [
        {
            "event": "header",
            "schema": "edgeguard.events/1",
            "model": None,
            "classes": ["N", "A", "O", "~"],
            "sampling_rate": 20.0,
            "window": 60,
            "hop": 40,
            "front_end": None,
            "deadline_ms": 2000.0,
        },
        {"event": "record", "t": 0.0, "record": "a", "label": "A", "samples": 85},
        {
            "event": "decision",
            "t": 1.0,
            "record": "a",
            "status": "warming_up",
            "label": None,
            "logits": None,
            "quality": 0.0,
        },
        {"event": "state", "t": 3.0, "record": "a", "status": "scoring"},
        {
            "event": "decision",
            "t": 3.0,
            "record": "a",
            "status": "scoring",
            "label": "O",
            "logits": logits,
            "quality": 0.0,
        },
    ]


@pytest.mark.parametrize("chunk", [1, 7, 16, 32])
def test_events_do_not_depend_on_the_interrupt_threshold(make_model: Any, ecg: np.ndarray, chunk: int) -> None:
    _, events = run(make_model(), record(ecg), chunk=chunk)
    _, others = run(make_model(), record(ecg), chunk=500, fifo_depth=500)
    assert events == others


def test_each_recording_is_its_own_stream(make_model: Any, ecg: np.ndarray) -> None:
    _, both = run(make_model(), record(ecg[:130], "a"), record(ecg[130:], "b"))
    _, alone = run(make_model(), record(ecg[130:], "b"))
    assert [e for e in both if e.get("record") == "b"] == alone[1:]


def test_a_recording_shorter_than_a_window_is_never_scored(make_model: Any) -> None:
    result, events = run(make_model(), record(np.zeros(59, np.float32), "short"))
    assert result.decisions == 0 and result.unscored == ("short",) and result.warming_up == 2
    assert all(np.isnan(figure) for figure in result.latency_ms().values())
    assert not of(events, "state")


def test_joined_recordings_are_one_stream(make_model: Any, ecg: np.ndarray) -> None:
    parts = [record(ecg[i : i + 50], f"r{i}") for i in range(0, 500, 50)]
    joined, events = run(make_model(), *parts, join=True)
    whole, expected = run(make_model(), record(ecg))
    scores = [(e["t"], e["label"], e["logits"]) for e in of(events, "decision")]
    assert scores == [(e["t"], e["label"], e["logits"]) for e in of(expected, "decision")]
    assert joined.decisions == whole.decisions and joined.by_class == whole.by_class
    assert len(joined.unscored) == 10, "no window of 60 lies in a recording of 50"


def test_joined_decisions_count_for_a_recording_that_holds_the_window(make_model: Any) -> None:
    low, high = np.full(90, -20, np.float32), np.full(100, 20, np.float32)
    result, _ = run(make_model(), record(low, "low", "N"), record(high, "high", "N"), join=True)
    assert [(r.name, r.decisions) for r in result.records] == [("low", {"N": 2}), ("high", {"A": 2})]
    assert result.decisions == 7 and result.agreement == (1, 2)


def test_inference_that_outlasts_the_fifo_loses_it_whole(make_model: Any) -> None:
    """At 20 Hz an inference of 2 s lets 40 samples into a FIFO of 32: all are lost.

    The read at 64 holds the decision at 60, which blocks until 104. The ring is full again from 164 on;
    the next decision is due at 180, and the recording ends before it can do harm.
    """
    result, events = run(make_model(), record(np.zeros(200, np.float32)), busy=2.0)
    assert [(e["t"], e["lost"]) for e in of(events, "gap")] == [(3.2, 40)]
    assert [e["t"] for e in of(events, "decision") if e["status"] == "scoring"] == [3.0, 9.0, 10.0]
    assert [(e["t"], e["status"]) for e in of(events, "state")] == [
        (3.0, "scoring"),
        (4.0, "invalid"),
        (9.0, "scoring"),
    ]
    assert [e["t"] for e in of(events, "decision")] == list(range(1, 11))
    assert result.dropped_samples == 40 and result.overflows == 1


def test_inference_that_fits_the_fifo_changes_nothing(make_model: Any, ecg: np.ndarray) -> None:
    slow, events = run(make_model(), record(ecg), hop=2.0, busy=1.6)
    assert events == run(make_model(), record(ecg), hop=2.0)[1]
    assert slow.dropped_samples == 0
    assert run(make_model(), record(ecg), hop=2.0, busy=1.65)[0].dropped_samples > 0


def test_real_time_gives_the_same_events(make_model: Any, ecg: np.ndarray) -> None:
    model, other = make_model(sampling_rate=2000.0), make_model(sampling_rate=2000.0)
    fast = Record("r", ecg, 2000.0)
    result, events = run(model, fast, hop=0.01, fifo_depth=500, realtime=True)
    assert events == run(other, fast, hop=0.01, fifo_depth=500)[1]
    assert result.wall_seconds >= result.signal_seconds == 0.25


def test_deadlines(make_model: Any, ecg: np.ndarray) -> None:
    assert run(make_model(), record(ecg), deadline=float("inf"))[0].deadline_misses == 0
    missed = run(make_model(), record(ecg), deadline=1e-12)[0]
    assert missed.deadline_misses == missed.decisions == 23
    assert run(make_model(), record(ecg), hop=0.5)[0].deadline == 0.5


def test_progress_adds_up_to_the_signal(make_model: Any, ecg: np.ndarray) -> None:
    played: list[float] = []
    run(make_model(), record(ecg), progress=played.append)
    assert sum(played) == pytest.approx(25.0)


def test_the_log_on_disk_is_the_same_in_every_run_but_for_its_timing(mean_file: Path, ecg: np.ndarray) -> None:
    model, paths = open_model(mean_file), [mean_file.with_name(f"{i}.jsonl") for i in (1, 2)]
    for path in paths:
        with event_log(path) as log:
            simulate(model, [record(ecg)], log)
    first, second = (read_events(path, timing=False) for path in paths)
    assert first == second and len(of(first, "decision")) == 25
    timed = of(read_events(paths[0]), "decision")
    assert [e["latency_ms"] is None for e in timed] == [e["status"] == "warming_up" for e in timed]


def test_a_log_appears_whole_or_not_at_all(make_model: Any, ecg: np.ndarray, tmp_path: Path) -> None:
    bad = record(np.array([1, np.nan], np.float32), "bad")
    with (
        pytest.raises(InputError, match="bad: sample 1 is not a number"),
        event_log(tmp_path / "events.jsonl") as log,
    ):
        simulate(make_model(), [record(ecg), bad], log)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"deadline": 0.0}, "deadline"),
        ({"deadline": float("nan")}, "deadline"),
        ({"busy": -0.1}, "busy"),
        ({"busy": float("inf")}, "busy"),
        ({"chunk": 33}, "chunk"),
        ({"chunk": 0}, "chunk"),
        ({"hop": 0.01}, "hop"),
    ],
)
def test_bad_settings_are_refused(make_model: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(make_model(), **settings)


def test_a_recording_of_another_rate_is_resampled(make_model: Any) -> None:
    slow = np.full(400, 50, np.float32)
    at_model, elsewhere = (run(make_model(), Record("x", np.repeat(slow, n), 20.0 * n))[0] for n in (1, 5))
    assert elsewhere.decisions == at_model.decisions and elsewhere.by_class == at_model.by_class
