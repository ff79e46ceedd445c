"""The whole watch: pieces and restarts change no event, gaps void decisions, and the log says why."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.ecg.front_end import find_front_end
from edgeguard.ecg.record import Record
from edgeguard.ecg.stream import Stream
from edgeguard.errors import InputError
from edgeguard.firmware_sim.decisions import DecisionRules
from edgeguard.firmware_sim.events import Event, without_timing
from edgeguard.firmware_sim.faults import parse_fault
from edgeguard.firmware_sim.result import SimulationResult
from edgeguard.firmware_sim.saved_state import load_state, save_state
from edgeguard.firmware_sim.simulator import WatchOptions, simulate

RULES = DecisionRules(
    watch=("A",), votes=2, of=3, min_duration=2.0, refractory=2.0, min_quality=0.0, min_confidence=0.0, look_back=1.5
)
SENSOR = find_front_end("ad8233-12bit")


class SumStream:
    """A streaming model: the logits are sums of the newest 60 samples, remembered hop by hop, 20 samples each."""

    classes = ("N", "A", "O", "~")
    window, hop, sampling_rate, sha256 = 60, 20, 20.0, "0" * 64

    def __init__(self) -> None:
        self.reset()

    def step(self, samples: np.ndarray) -> np.ndarray | None:
        assert samples.shape == (20,)
        self.sums = np.append(self.sums[1:], samples.astype(np.float64).sum())
        self.hops += 1
        mean = np.float32(self.sums.sum() / 60)
        return np.array([-mean, mean, 5, 0.25 * mean + 1], np.float32) if self.hops >= 3 else None

    def reset(self) -> None:
        self.sums, self.hops = np.zeros(3), 0

    def state(self) -> dict[str, np.ndarray]:
        return {"sums": self.sums.copy(), "hops": np.array(self.hops)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.sums, self.hops = state["sums"].copy(), int(state["hops"])


def run(model: Any, signals: list[Any], watch: WatchOptions, **more: Any) -> tuple[SimulationResult, list[Event]]:
    events: list[Event] = []
    result = simulate(model, signals, events.append, watch, **more)
    return result, [without_timing(event) for event in events]


def pieces(ecg: np.ndarray, size: int, rate: float = 20.0, name: str = "r") -> Stream:
    chunks = (ecg[i : i + size] for i in range(0, len(ecg), size))
    return Stream(name, rate, chunks, None, len(ecg) / rate)


@pytest.fixture
def model(request: pytest.FixtureRequest, make_model: Any) -> Any:
    return SumStream() if request.param == "stream" else make_model()


@pytest.fixture
def long_ecg() -> np.ndarray:
    """100 s at 20 Hz: waves of 12 s whose mean crosses the border between A and O."""
    rng = np.random.default_rng(1)
    return (12 * np.sin(np.arange(2000) / 40) + rng.normal(0, 3, 2000)).astype(np.float32)


both = pytest.mark.parametrize("model", ["window", "stream"], indirect=True)


@both
@pytest.mark.parametrize("size", [1, 7, 16, 32, 300, 2000])
def test_the_pieces_of_a_stream_change_no_event(model: Any, long_ecg: np.ndarray, size: int) -> None:
    watch = WatchOptions(rules=RULES)
    _, whole = run(model, [Record("r", long_ecg, 20.0)], watch)
    model = type(model)()
    _, parts = run(model, [pieces(long_ecg, size)], watch)
    assert parts == whole
    assert {"episode_start", "episode_end"} <= {event["event"] for event in whole}


@pytest.mark.parametrize("size", [1, 7, 16, 32, 300, 2000])
def test_the_pieces_of_a_stream_change_no_event_behind_a_sensor(
    make_model: Any, long_ecg: np.ndarray, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those that the signal comes in nor those that the sensor is given; with faults, in the order of time."""
    faults = tuple(
        map(parse_fault, ("lost-packets:at=30,for=2", "lead-off:at=61,for=5", "brown-out:at=80,for=1,save=7"))
    )
    watch = WatchOptions(rules=RULES, front_end=SENSOR, faults=faults, seed=1)
    ecg = np.repeat(long_ecg, 5)
    _, whole = run(make_model(), [Record("r", ecg, 100.0)], watch)
    monkeypatch.setattr("edgeguard.firmware_sim.simulator._PIECE", size / 100)
    _, parts = run(make_model(), [pieces(ecg, size, 100.0)], watch)
    assert parts == whole
    assert {e["flag"] for e in whole if e["event"] == "signal"} >= {"lost", "lead_off", "brown_out"}
    times = [e["t"] for e in whole if e["event"] in ("signal", "decision")]
    assert times == sorted(times)


@both
@pytest.mark.parametrize("chunk", [1, 7, 16, 32, 300])
def test_the_fifo_s_threshold_changes_no_event(model: Any, long_ecg: np.ndarray, chunk: int) -> None:
    _, whole = run(model, [Record("r", long_ecg, 20.0)], WatchOptions(rules=RULES))
    _, parts = run(type(model)(), [Record("r", long_ecg, 20.0)], WatchOptions(rules=RULES, chunk=chunk, fifo_depth=300))
    assert parts == whole


@both
@pytest.mark.parametrize("front_end", [None, SENSOR])
@pytest.mark.parametrize("cut", [1, 250, 999, 1501])
def test_a_restart_from_saved_state_changes_no_event(
    model: Any, long_ecg: np.ndarray, tmp_path: Path, front_end: Any, cut: int
) -> None:
    faults = () if front_end is None else (parse_fault("lost-packets:at=30,for=2"), parse_fault("mains:at=10,for=9"))
    rate = 20.0 if front_end is None else 100.0
    if front_end is not None:
        long_ecg = np.repeat(long_ecg, 5)
        cut *= 5
    watch = WatchOptions(rules=RULES, front_end=front_end, faults=faults, join=True, seed=3)
    kinds = ("record", "header")
    _, whole = run(model, [Record("r", long_ecg, rate)], watch)
    first, before = run(type(model)(), [Record("r", long_ecg[:cut], rate)], watch)
    save_state(tmp_path / "state.npz", first.state, model, watch)
    again = type(model)()
    state = load_state(tmp_path / "state.npz", again, watch)
    _, after = run(again, [Record("r", long_ecg[cut:], rate)], watch, state=state)
    # What ends the first run's stream ends there only: it is on its way when the state is taken.
    before = [event for event in before if event.get("reason") != "stream_ended"]
    assert [e for e in before + after if e["event"] not in kinds] == [e for e in whole if e["event"] not in kinds]


@both
def test_lost_packets_keep_the_clock_and_void_each_window_that_holds_one(model: Any, long_ecg: np.ndarray) -> None:
    sensor = find_front_end("ideal")
    faults = (parse_fault("lost-packets:at=40,for=2"),)
    result, events = run(model, [Record("r", long_ecg, 20.0)], WatchOptions(front_end=sensor, faults=faults))
    decisions = [event for event in events if event["event"] == "decision"]
    assert [d["t"] for d in decisions] == list(range(1, 101))
    void = [d["t"] for d in decisions if d["status"] == "invalid"]
    begin, end = (next(e["t"] for e in events if e["event"] == "signal" and e["on"] is on) for on in (True, False))
    assert begin <= 40.0 and end >= 42.0
    assert void == [t for t in range(1, 101) if t > begin and t - 3 < end]
    assert result.invalid == len(void) and result.dropped_samples == round((end - begin) * 20)
    assert all(d["label"] is None and d["logits"] is None for d in decisions if d["status"] != "scoring")


def test_a_brown_out_forgets_what_was_not_saved(make_model: Any, long_ecg: np.ndarray) -> None:
    """An episode that began after the last save is not known after the restart: no end is told of it."""
    always = np.full(2000, 12, np.float32)
    sensor = find_front_end("ideal")

    def told(save: int) -> list[tuple[str, float]]:
        faults = (parse_fault(f"brown-out:at=50,for=2,save={save}"),)
        watch = WatchOptions(front_end=sensor, faults=faults, rules=RULES)
        _, events = run(make_model(), [Record("r", always, 20.0)], watch)
        return [(e["event"], e["t"]) for e in events if e["event"].startswith("episode") and e["class"] == "A"]

    # Saved every second: the watch wakes with its episode, and goes on with it to the end of the stream.
    kept = told(1)
    assert [event for event, _ in kept] == ["episode_start", "episode_end"] and kept[-1][1] == 100
    # Saved never since the start: it announces the same episode once more.
    forgot = told(1000)
    assert [event for event, _ in forgot] == ["episode_start", "episode_start", "episode_end"]
    assert forgot[0] == kept[0] and forgot[1][1] > 52


def test_another_rate_is_resampled_by_a_front_end_or_before(make_model: Any, long_ecg: np.ndarray) -> None:
    bare, _ = run(make_model(), [Record("r", long_ecg, 50.0)], WatchOptions())
    assert bare.decisions + bare.warming_up == 40
    result, _ = run(make_model(), [Record("r", long_ecg, 50.0)], WatchOptions(front_end=find_front_end("ideal")))
    assert result.decisions + result.warming_up == 40


@pytest.mark.parametrize("change", ["model", "rules", "damage", "other"])
def test_a_state_of_something_else_is_refused(tmp_path: Path, long_ecg: np.ndarray, change: str) -> None:
    watch, model, path = WatchOptions(rules=RULES), SumStream(), tmp_path / "state.npz"
    result, _ = run(model, [Record("r", long_ecg, 20.0)], watch)
    save_state(path, result.state, model, watch)
    if change == "model":
        model.sha256 = "1" * 64
    elif change == "rules":
        watch = WatchOptions()
    elif change == "damage":
        path.write_bytes(path.read_bytes()[:-40])
    else:
        np.savez(path, schema="another")
    kept = path.read_bytes()
    with pytest.raises(InputError, match=r"state\.npz"):
        load_state(path, model, watch)
    assert path.read_bytes() == kept
    assert load_state(tmp_path / "none.npz", model, watch) is None


def test_settings_that_contradict_each_other_are_refused() -> None:
    for options in ({"faults": (parse_fault("mains:at=1,for=2"),)}, {"front_end": SENSOR, "busy": 1.0}):
        with pytest.raises(InputError, match="front-end"):
            WatchOptions(**options)


def test_a_streaming_file_has_its_own_hop() -> None:
    with pytest.raises(InputError, match="compiled for 1 s"):
        run(SumStream(), [], WatchOptions(hop=0.5))
