"""From records of another rate, length and list of classes to a stream on a watch, by the command line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

import edgeguard as eg
from edgeguard.ecg.synthetic import synthesise
from edgeguard.export.streaming.compiler import compile_stream

Call = Callable[..., Result]
Refused = Callable[[Result], str]
OnlyJson = Callable[[Result], dict[str, Any]]

QUICK = ("--calibration", "minmax", "--calibration-windows", 8)
LABELS = {"SR": "N", "AFIB": "A", "PVC": "O", "LBBB": "O", "VT": "O", "PAUSE": "~"}
"""Label of the hospital -> the synthetic rhythm that stands for it."""


def write_records(folder: Path, labels: list[str], *, rate: float, seconds: float, each: int = 10) -> Path:
    """CSV records in microvolts and their reference, `each` a label."""
    folder.mkdir()
    lines = []
    for number in range(each * len(labels)):
        label = labels[number % len(labels)]
        rng = np.random.default_rng(number)
        ecg = synthesise(LABELS[label], rng, duration=seconds, sampling_rate=rate)
        text = "\n".join(f"{sample:.0f}" for sample in ecg)
        (folder / f"P{number:03d}.csv").write_text(f"# sampling_rate: {rate:g}\n# unit: uV\necg\n{text}\n")
        lines.append(f"P{number:03d},{label}\n")
    (folder / "REFERENCE.csv").write_text("".join(lines))
    return folder


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty records of two classes, 10 s at 200 Hz; read only."""
    return write_records(tmp_path_factory.mktemp("data") / "ward", ["SR", "AFIB"], rate=200, seconds=10)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # The proof of a stream has 1,000 hops, the checks of an export have 64 windows; a test of the line needs few.
    monkeypatch.setattr("edgeguard.export.exporter.LADDER_WINDOWS", 4)
    monkeypatch.setitem(compile_stream.__kwdefaults__, "proof_hops", 20)
    return tmp_path


def test_the_whole_line_at_250_hertz(edgeguard: Call, only_json: OnlyJson, folder: Path) -> None:
    """10 s at 250 Hz, three classes by a label map, one left out; nothing said twice."""
    records = write_records(folder / "ward", ["SR", "AFIB", "PVC", "PAUSE"], rate=250, seconds=10)
    mapped = ("--label-map", "SR=N,AFIB=A,PVC=O", "--classes", "N,A,O")
    options = ("--arch", "edge-s", "--epochs", 1, "--batch", 16, "--device", "cpu", *mapped)
    run = only_json(edgeguard("train", "--data", records, *options, "--json"))
    assert (run["classes"], run["sampling_rate"], run["window"]) == (["N", "A", "O"], 250, 2500)
    assert any("PAUSE" in note and "10" in note for note in run["notes"])

    made = only_json(edgeguard("export", "--int8", "--streaming", *QUICK, "--json"))
    assert made["stream"]["hop"] == 240 and made["stream"]["equality"] == "equal"

    played = only_json(edgeguard("simulate", made["streaming"], "--record", "P000", "--data", records, "--json"))
    assert list(played["by_class"]) == ["N", "A", "O"]
    # The first window is full after 11 hops of 240 samples; 2,500 samples have 10.
    assert played["decisions"] == 0 and played["warming_up"] == 10

    found = only_json(edgeguard("evaluate", made["int8"], "--attack", "clean", "--no-checks", "--json"))
    assert found["classes"] == ["N", "A", "O"] and found["n"] == 3
    assert np.sum(found["attacks"][0]["confusion"]) == 3

    proven = edgeguard("verify", made["int8"], "--rows", 4, "--json")
    assert proven.exit_code == 0 and json.loads(proven.stdout)["holds"]


@pytest.mark.parametrize("names", [("no", "yes"), ("a", "b", "c", "d", "e")])
def test_two_and_five_classes_of_arrays(names: tuple[str, ...], folder: Path) -> None:
    """By the Python API: trained, quantised, streamed, evaluated and proven, with their names all along."""
    rng = np.random.default_rng(0)
    ecg = np.rint(rng.normal(0, 200, (10 * len(names), 2500))).astype(np.float32)
    labels = [names[number % len(names)] for number in range(len(ecg))]
    arrays: dict[str, Any] = {"ecg": ecg, "labels": labels, "sampling_rate": 250}
    run = eg.train(**arrays, window=1921, defense="at", arch="edge-s", epochs=1, batch=16, device="cpu", classes=names)
    assert (run.classes, run.sampling_rate, run.window) == (names, 250, 1921)
    table = run.to_frame()
    assert table["epoch"].tolist() == [1] and table["accuracy"].tolist() == [run.validation.accuracy]
    made = eg.to_onnx(
        run.run, int8=True, streaming=True, ecg=ecg, labels=labels, calibration="minmax", calibration_windows=8
    )
    assert made.int8 and made.streaming and made.stream["hop"] == 240
    found = eg.evaluate(made.int8, ecg=ecg, labels=labels, attacks=("clean",), checks=False)
    assert found.classes == names and np.sum(found.attacks[0].confusion) == found.n > 0
    watch = eg.simulate(made.streaming, ecg=ecg.ravel())
    assert set(watch.result.by_class) == set(names) and watch.result.decisions > 0
    parts = eg.split(**arrays, window=1921)
    assert len(parts.test) == found.n


def test_defaults_are_those_of_the_data(edgeguard: Call, only_json: OnlyJson, folder: Path) -> None:
    """Classes, rate and the longest record; the run's data lead the export there again."""
    records = write_records(folder / "ward", ["SR", "AFIB"], rate=200, seconds=10, each=12)
    short = ("--defense", "none", "--arch", "edge-s", "--epochs", 1, "--batch", 8, "--device", "cpu")
    run = only_json(edgeguard("train", "--data", records, *short, "--json"))
    assert (run["classes"], run["sampling_rate"], run["window"], run["notes"]) == (["AFIB", "SR"], 200, 2000, [])
    resampled = only_json(edgeguard("train", "--data", records, *short, "--sampling-rate", 300, "--lead", 0, "--json"))
    assert (resampled["sampling_rate"], resampled["window"]) == (300, 3000)
    assert any("resampled from 200 to 300 Hz" in note for note in resampled["notes"])
    config = Path(resampled["run"], "config.json")
    options = json.loads(config.read_text())["options"]
    assert (options["sampling_rate"], options["lead"]) == (300, "0") and "window" not in options
    again = edgeguard(
        "train", "--config", Path(resampled["run"], "config.json"), "--out", "runs/again", "--device", "cpu"
    )
    assert again.exit_code == 0, again.output
    weights = [Path(run, "weights.safetensors").read_bytes() for run in (resampled["run"], "runs/again")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--window", 1000], "--window 1000: too short for edge-s, which needs at least 1860 samples"),
        (["--classes", "SR,AF"], "all records are of one class (SR)"),
        (["--classes", "SR"], "--classes SR: at least two"),
        (["--classes", "N,A"], "--label-map"),
        (["--label-map", "SR=N,AFIB=N"], "all records are of one class (N)"),
        (["--label-map", "SR:N"], "--label-map SR:N: give LABEL=CLASS pairs"),
        (["--sampling-rate", 0], "--sampling-rate 0"),
        (["--sampling-rate", "nan"], "--sampling-rate nan"),
        (["--window", -5], "--window -5"),
        (["--classes", "SR,AFIB,SR"], "--classes SR,AFIB,SR: at least two different"),
        (["--lead", "II"], "II"),
        (["--labels", "none"], "has no labels"),
    ],
)
def test_what_cannot_be_trained_on_is_one_line_before_training(
    edgeguard: Call, refused: Refused, folder: Path, ward: Path, options: list[object], message: str
) -> None:
    short = ("--defense", "none", "--arch", "edge-s", "--epochs", 1, "--device", "cpu")
    said = refused(edgeguard("train", "--data", ward, *short, *options))
    assert message in said
    assert not (folder / "runs").exists()
