import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click.testing
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from edgeguard.cli import main
from edgeguard.ecg.record import CLASSES
from edgeguard.firmware_sim.events import read_events
from edgeguard.runtime.metadata import ModelMetadata

ZOO = Path(__file__).parents[2] / "models" / "zoo"

GRAPH = """
<ir_version: 10, opset_import: ["" : 21]>
mean (float[batch,1,60] ecg) => (float[batch,4] logits)
<int64[1] time = {2}, float[1,4] weight = {-1, 1, 0, 0.25}, float[4] bias = {0, 0, 5, 1}> {
    mean = ReduceMean <keepdims = 0> (ecg, time)
    scaled = MatMul (mean, weight)
    logits = Add (scaled, bias)
}
"""
"""60 samples of mean m: logits -m, m, 5, m / 4 + 1."""


def write_model(path: Path, **facts: Any) -> Path:
    model = onnx.parser.parse_model(GRAPH)
    if facts:
        onnx.helper.set_model_props(model, ModelMetadata(**facts).to_props())
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


def write_csv(path: Path, ecg: np.ndarray, sampling_rate: float = 20.0) -> Path:
    samples = "\n".join(str(value) for value in ecg.tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# sampling_rate: {sampling_rate:g}\n# unit: uV\necg\n{samples}\n")
    return path


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEGUARD_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_model(tmp_path / "mean.onnx", classes=CLASSES, sampling_rate=20.0, window=60))


@pytest.fixture
def csv(tmp_path: Path) -> str:
    """5 s at -20 uV (N), then 5 s at 20 uV (A)."""
    return str(write_csv(tmp_path / "steps.csv", np.repeat([-20, 20], 100)))


def simulate(*arguments: str) -> click.testing.Result:
    return click.testing.CliRunner().invoke(main, ["simulate", *arguments])


def test_one_object_for_machines(model: str, csv: str) -> None:
    """Windows end at 3, 4, ... 10 s; the mean is -20, -20, -20, -20/3, 20/3, 20, 20, 20 microvolts."""
    done = simulate(model, "--record", csv, "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["schema"] == "edgeguard.simulate/1"
    assert figures["decisions"] == 8 and figures["warming_up"] == 2
    assert figures["by_class"] == {"N": 4, "A": 4, "O": 0, "~": 0}
    assert figures["signal_seconds"] == 10
    assert figures["deadline_misses"] == figures["dropped_samples"] == 0
    assert 0 < figures["latency_ms"]["p50"] <= figures["latency_ms"]["p99"] <= figures["latency_ms"]["max"]
    assert figures["wall_seconds"] > 0 and figures["peak_rss_bytes"] > 2**20
    assert figures["agreement"] == {"value": None, "low": 0.0, "high": 1.0, "n": 0}
    events = read_events(Path(figures["events"]))
    labels = [e["label"] for e in events if e["event"] == "decision"]
    assert labels == [None, None, "N", "N", "N", "N", "A", "A", "A", "A"]
    assert events[0]["model"] is not None
    assert json.loads(Path("runs/simulate/summary.json").read_text())["decisions"] == 8


def test_memory_that_nobody_measures_is_null_and_said(model: str, csv: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.firmware_sim.simulator.peak_rss_bytes", lambda: None)
    assert json.loads(simulate(model, "--record", csv, "--json").stdout)["peak_rss_bytes"] is None
    assert "memory     not measured" in simulate(model, "--record", csv).stdout.splitlines()


def test_a_table_for_people(model: str, csv: str) -> None:
    done = simulate(model, "--record", csv, "--hop", "0.5", "--deadline-ms", "1e-9")
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[1:5] == [
        ["N", "7", "0", "0"],
        ["A", "7", "0", "0"],
        ["O", "1", "0", "0"],
        ["~", "0", "0", "0"],
    ]
    assert "missed 15 times" in done.stdout
    assert "steps" in done.stderr and "mean.onnx" in done.stderr


def test_labelled_records_agree_or_not(model: str, tmp_path: Path) -> None:
    for name, level in (("a", -20), ("b", -20), ("c", 20)):
        write_csv(tmp_path / "records" / f"{name}.csv", np.full(80, level))
    write_csv(tmp_path / "records" / "short.csv", np.full(59, 20))
    (tmp_path / "records" / "REFERENCE.csv").write_text("a,N\nb,A\nc,A\nshort,A\n")
    done = simulate(model, "--data", "records", "--json")
    assert done.exit_code == 0, done.output
    figures = json.loads(done.stdout)
    assert figures["records"] == [
        {"name": "a", "label": "N", "majority": "N", "decisions": {"N": 2}},
        {"name": "b", "label": "A", "majority": "N", "decisions": {"N": 2}},
        {"name": "c", "label": "A", "majority": "A", "decisions": {"A": 2}},
        {"name": "short", "label": "A", "majority": None, "decisions": {}},
    ]
    assert (figures["agreement"]["value"], figures["agreement"]["n"]) == (pytest.approx(2 / 3), 3)
    table = simulate(model, "--data", "records").stdout
    assert "1 without a window of their own (short)" in table
    assert ["A", "2", "2", "1"] in [line.split() for line in table.splitlines()]


def test_joined_short_records_are_scored(model: str, tmp_path: Path) -> None:
    for name in "abc":
        write_csv(tmp_path / "records" / f"{name}.csv", np.full(40, 20))
    apart = json.loads(simulate(model, "--data", "records", "--json").stdout)
    joined = json.loads(simulate(model, "--data", "records", "--join", "--json").stdout)
    assert (apart["decisions"], joined["decisions"]) == (0, 4)
    assert apart["latency_ms"] == {"p50": None, "p99": None, "max": None}


def test_the_newest_int8_file_is_taken(tmp_path: Path, csv: str) -> None:
    facts = {"classes": CLASSES, "sampling_rate": 20.0, "window": 60}
    for name, age in (("int8-old", 3), ("int8", 2), ("fp32", 1)):
        os.utime(write_model(tmp_path / "runs" / name / f"{name}.onnx", **facts), ns=(-age * 10**9 + 10**18,) * 2)
    done = simulate("--record", csv, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["model"] == "runs/int8/int8.onnx"
    assert "runs/int8/int8.onnx" in done.stderr


def test_a_foreign_file_needs_its_facts(tmp_path: Path, csv: str) -> None:
    foreign = str(write_model(tmp_path / "foreign.onnx"))
    refused = simulate(foreign, "--record", csv)
    assert refused.exit_code == 2 and "--sampling-rate" in refused.stderr
    facts = ("--sampling-rate", "20", "--unit", "mV", "--classes", "w,x,y,z", "--json")
    done = simulate(foreign, "--record", csv, *facts)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["by_class"] == {"w": 0, "x": 0, "y": 8, "z": 0}, "20 uV are 0.02 mV"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "runs: no .onnx file"),
        (("MODEL", "--record", "missing.csv"), "missing.csv"),
        (("MODEL", "--record", "nobody", "--data", "synthetic:4"), "nobody"),
        (("MODEL", "--data", "nowhere"), "nowhere"),
        (("MODEL", "--data", "synthetic:4", "--records", "0"), "--records"),
        (("MODEL", "--record", "CSV", "--chunk", "33"), "--fifo-depth"),
        (("MODEL", "--record", "CSV", "--hop", "0.01"), "--hop"),
        (("MODEL", "--record", "CSV", "--hop", "nan"), "--hop"),
        (("MODEL", "--record", "CSV", "--deadline-ms", "-1"), "--deadline-ms"),
        (("MODEL", "--record", "CSV", "--busy-ms", "-1"), "--busy-ms"),
        (("MODEL", "--record", "CSV", "--out", "CSV"), "steps.csv/events.jsonl: cannot be written"),
        (("CSV", "--record", "CSV"), "steps.csv"),
        (("MODEL", "--record", "CSV", "--front-end", "max30001"), "max30003"),
        (("MODEL", "--record", "CSV", "--fault", "mains:at=1,for=2"), "--front-end"),
        (("MODEL", "--record", "CSV", "--front-end", "ideal", "--fault", "rust"), "rust"),
        (("MODEL", "--record", "CSV", "--front-end", "ideal", "--fault", "mains:at=x"), "at=x"),
        (("MODEL", "--record", "CSV", "--front-end", "ideal", "--busy-ms", "5"), "--busy-ms"),
        (("MODEL", "--record", "CSV", "--watch", "X"), "--watch"),
        (("MODEL", "--record", "CSV", "--watch", "A", "--votes", "7"), "--votes"),
        (("MODEL", "--record", "CSV", "--watch", "A", "--votes", "3/9"), "--votes"),
        (("MODEL", "--record", "-"), "--rate"),
        (("MODEL", "--record", "day:long"), "day:3600"),
        (("MODEL", "--annotations", "a.atr"), "--record"),
        (("MODEL", "--record", "CSV", "--lead", "V5"), "no lead V5"),
        (("MODEL", "--record", "CSV", "--annotations", "a.atr"), "a.atr"),
    ],
)
def test_bad_input_gets_one_line_and_leaves_nothing(
    model: str, csv: str, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = simulate(*({"MODEL": model, "CSV": csv}.get(argument, argument) for argument in arguments))
    assert done.exit_code == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("edgeguard: ")]
    assert message in line and done.stderr.rstrip().endswith(line)
    assert not done.stdout
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]


def test_torch_is_never_imported(model: str, csv: str) -> None:
    program = (
        "import sys, edgeguard.firmware_sim.playlist, edgeguard.firmware_sim.simulator\n"
        "from edgeguard.cli import main\n"
        f"main(['simulate', {model!r}, '--record', {csv!r}, '--json'], standalone_mode=False)\n"
        "print('torch' in sys.modules, 'onnxruntime' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False True"


@pytest.fixture(scope="module")
def stream_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A window file of the zoo, and the streaming file compiled from it."""
    window = tmp_path_factory.mktemp("stream") / "adt-int8.onnx"
    window.write_bytes((ZOO / "adt-edge-m" / "adt-edge-m-int8.onnx").read_bytes())
    done = CliRunner().invoke(main, ["export", str(window), "--streaming", "--json"])
    assert done.exit_code == 0, done.output
    return window, Path(json.loads(done.stdout)["streaming"])


def logged(out: Path) -> list[dict]:
    lines = (out / "events.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k not in ("latency_ms", "model")} for line in lines]


def test_the_streaming_file_makes_the_events_of_its_window_file(stream_file: tuple[Path, Path], tmp_path: Path) -> None:
    """Through a sensor, with lost packets: the same decisions, logits and episodes, bit for bit."""
    faults = ("--front-end", "max30003", "--fault", "lost-packets:at=100,for=1", "--fault", "lead-off:at=160,for=5")
    for file, name in zip(stream_file, ("window", "stream"), strict=True):
        done = simulate(str(file), "--record", "day:240", *faults, "--out", str(tmp_path / name), "--json")
        assert done.exit_code == 0, done.output
        result = json.loads(done.stdout)
        assert result["decisions"] > 150 and result["invalid"] > 29
    assert logged(tmp_path / "window") == logged(tmp_path / "stream")


def test_a_stream_goes_on_from_its_state(stream_file: tuple[Path, Path], tmp_path: Path) -> None:
    """Raw samples of a pipe in two runs are one stream; the state of another file is refused and kept."""
    window, stream = stream_file
    samples = np.rint(200 * np.sin(np.arange(300 * 90) / 30)).astype("<i2")
    options = ["simulate", str(stream), "--record", "-", "--rate", "300", "--join", "--json"]

    def play(part: np.ndarray, out: str, *more: str, file: Path = stream) -> Result:
        arguments = [options[0], str(file), *options[2:], "--out", str(tmp_path / out), *more]
        return CliRunner().invoke(main, arguments, input=part.tobytes())

    state = tmp_path / "watch.npz"
    assert play(samples, "whole").exit_code == 0
    assert play(samples[:12_345], "first", "--state", str(state)).exit_code == 0
    assert play(samples[12_345:], "second", "--state", str(state)).exit_code == 0
    kinds = ("header", "record")
    parts = [event for out in ("first", "second") for event in logged(tmp_path / out) if event["event"] not in kinds]
    whole = [event for event in logged(tmp_path / "whole") if event["event"] not in kinds]
    assert [e for e in parts if e.get("reason") != "stream_ended"] == [
        e for e in whole if e.get("reason") != "stream_ended"
    ]
    kept = state.read_bytes()
    refused = play(samples, "other", "--state", str(state), file=window)
    assert refused.exit_code == 2 and "watch.npz" in refused.stderr and state.read_bytes() == kept


def test_the_bill_is_an_estimate_for_people_and_machines(model: str, csv: str) -> None:
    done = simulate(model, "--record", csv, "--bill")
    assert done.exit_code == 0, done.output
    assert "estimate" in done.stdout and "STM32L4R5" in done.stdout
    bill = json.loads(simulate(model, "--record", csv, "--bill", "--json").stdout)["bill"]
    assert bill["estimate"] is True and bill["targets"]


def test_the_live_view_tells_lines_where_there_is_no_terminal(model: str, csv: str) -> None:
    done = simulate(model, "--record", csv, "--live", "--json")
    assert done.exit_code == 0, done.output
    assert "scoring" in done.stderr and json.loads(done.stdout)["decisions"]


def test_a_day_is_scored_by_its_own_time_line(stream_file: tuple[Path, Path]) -> None:
    done = simulate(str(stream_file[1]), "--record", "day:400", "--json")
    (score,) = json.loads(done.stdout)["episode_scores"]
    assert score["class"] == "A" and score["scored_s"] == pytest.approx(400)


def test_a_csv_of_text_is_refused(model: str, tmp_path: Path) -> None:
    (tmp_path / "poem.csv").write_text("the heart\nis a lonely\nhunter\n")
    done = simulate(model, "--record", str(tmp_path / "poem.csv"))
    assert done.exit_code == 2 and "poem.csv" in done.stderr and not done.stdout


def test_a_lead_of_a_wfdb_record_is_played_with_its_rhythms(model: str, tmp_path: Path) -> None:
    """Two signals, 30 s of N then 30 s of A on the second; the time line comes from its annotations."""
    wfdb = pytest.importorskip("wfdb")
    second = np.repeat([-20.0, 20.0], 600) / 1000
    signals = np.stack([np.zeros(1200), second], axis=1)
    options = {"fs": 20, "units": ["mV", "mV"], "sig_name": ["I", "II"], "fmt": ["16", "16"]}
    wfdb.wrsamp("two", p_signal=signals, adc_gain=[1000.0] * 2, baseline=[0] * 2, write_dir=str(tmp_path), **options)
    notes = ["(N", "(AFIB"]
    wfdb.wrann("two", "atr", np.array([0, 600]), ["+", "+"], aux_note=notes, fs=20, write_dir=str(tmp_path))
    header, rhythms = str(tmp_path / "two.hea"), str(tmp_path / "two.atr")
    refused = simulate(model, "--record", header)
    assert refused.exit_code == 2 and "2 signals (I, II); name one with --lead" in refused.stderr
    rules = ("--watch", "A", "--votes", "2/3", "--min-duration", "2", "--refractory", "1")
    done = simulate(model, "--record", header, "--lead", "II", "--annotations", rhythms, *rules, "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["by_class"]["N"] > 20 and result["by_class"]["A"] > 20
    (score,) = result["episode_scores"]
    assert score["scored_s"] == pytest.approx(60)
