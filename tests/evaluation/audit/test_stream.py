"""The file as a stream: compiled where it can be, played anyway, never blamed for what is not its fault."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
from wave_run import FACTS, float_file

from edgeguard.evaluation.audit.stream import (
    SHOWN,
    Streamed,
    stream_checks,
    stream_file,
    synthetic_day,
)
from edgeguard.evaluation.audit.thresholds import load_thresholds
from edgeguard.runtime.session import open_model

STRIDED = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[batch,1,{window}] ecg) => (float[batch,4] logits)
<float[4,1,7] weight = {{{weights}}}> {{
    frames = Conv <strides = [7]{padding}> (ecg, weight)
    mean = GlobalAveragePool (frames)
    logits = Flatten (mean)
}}
"""


def strided(folder: Path, *, window: int = 2400, padding: str = "") -> Path:
    weights = ", ".join(f"{(i * 7919 % 13 - 6) / 100:g}" for i in range(28))
    model = onnx.parser.parse_model(STRIDED.format(window=window, weights=weights, padding=padding))
    onnx.save(model, folder / "strided.onnx")
    return folder / "strided.onnx"


def streamed(path: Path, out: Path, **facts: Any) -> Streamed:
    return stream_file(open_model(path, **{**FACTS, **facts}), proof_hops=5, seconds=30.0, seed=0, out=out)


def test_the_hop_is_the_one_nearest_to_a_second(tmp_path: Path) -> None:
    """300 samples are 42.9 strides of 7: 43 of them."""
    found = streamed(strided(tmp_path), tmp_path / "out")
    assert found.stream.compiled and found.stream.equal == found.stream.hops == 5
    assert found.bill is not None and found.bill["window_or_hop_samples"] == 301


def test_a_file_that_no_stream_repeats_is_played_as_a_window_file(tmp_path: Path) -> None:
    found = streamed(strided(tmp_path, padding=", pads = [3, 3]"), tmp_path / "out")
    assert not found.stream.compiled and found.file is None and not (tmp_path / "out").exists()
    assert sum(one.status == "scored" for one in found.stream.decisions) > 20
    assert found.bill is not None and found.bill["kind"] == "window" and found.stream.macs_per_window > 0
    (check,) = stream_checks(found, load_thresholds())
    assert (check.holds, check.bar) == (None, None) and "no stream" in check.reason
    (needed,) = stream_checks(found, replace(load_thresholds(), stream_needed=True))
    assert (needed.holds, needed.bar) == (None, 1.0)


@pytest.mark.parametrize("rate", [333.3, 50.0])
def test_a_rate_that_suits_no_second_or_no_heart_is_not_the_files_fault(tmp_path: Path, rate: float) -> None:
    found = streamed(strided(tmp_path, padding=", pads = [3, 3]"), tmp_path / "out", sampling_rate=rate)
    assert found.failure is None and found.bill is not None
    assert ("nothing was played" in found.stream.signal) == (rate < 100)
    assert all(check.holds is None for check in stream_checks(found, load_thresholds()))


def test_a_file_that_fails_while_it_is_played_fails(tmp_path: Path) -> None:
    """Logits that are no numbers on what is louder than a record."""
    model = onnx.load(float_file(tmp_path))
    model.graph.node.append(onnx.helper.make_node("Log", ["logits_"], ["logits"]))
    next(node for node in model.graph.node if node.op_type == "Mul").output[0] = "logits_"
    onnx.save(model, tmp_path / "log.onnx")
    found = streamed(tmp_path / "log.onnx", tmp_path / "out")
    assert found.failure is not None
    assert stream_checks(found, load_thresholds())[0].holds is False


def test_only_an_equal_stream_holds(tmp_path: Path) -> None:
    found = streamed(strided(tmp_path), tmp_path / "out")
    (check,) = stream_checks(found, load_thresholds())
    assert (check.holds, check.figure) == (True, 1.0)
    apart = replace(found, stream=replace(found.stream, equal=4))
    assert stream_checks(apart, load_thresholds())[0].holds is False
    assert stream_checks(apart, replace(load_thresholds(), stream_equal=False))[0].holds is None


@pytest.mark.parametrize(("seconds", "least"), [(1_200.0, 3), (7_200.0, 5), (86_400.0, 8)])
def test_a_day_of_any_length_has_episodes(seconds: float, least: int) -> None:
    spans = synthetic_day(seconds, sampling_rate=300.0, seed=0).time_line()
    episodes = [span for span in spans if span.label == "A"]
    assert least <= len(episodes) and sum(span.seconds for span in episodes) < 0.6 * seconds
    assert all(span.seconds >= 119 for span in episodes if span.end < seconds)


def test_no_more_decisions_are_kept_than_a_report_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeguard.evaluation.audit.stream.SHOWN", 12)
    found = streamed(strided(tmp_path), tmp_path / "out")
    assert len(found.stream.decisions) == 12 < SHOWN
    assert {one.status for one in found.stream.decisions} == {"warming_up", "scored"}
    assert all(sum(one.probabilities) == pytest.approx(1) for one in found.stream.decisions if one.status == "scored")
