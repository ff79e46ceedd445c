"""edgeguard export."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeguard.cli.options import data_options
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.rungs import rung_lines
from edgeguard.ecg.origin import trained_on
from edgeguard.errors import InputError

if TYPE_CHECKING:
    from edgeguard.ecg.dataset import Dataset
    from edgeguard.ecg.split import Split
    from edgeguard.export.ranking import Scorer
    from edgeguard.export.streaming.compiler import Compiled
    from edgeguard.models.run import Run

_AUTO_MACS = 100e6
"""Largest network, in multiply-accumulates a window, for which ranking takes minutes at most."""


@click.command("export")
@click.argument("run", required=False, metavar="[RUN|FILE.onnx]", type=click.Path(path_type=Path))
@click.option("--int8", is_flag=True, help="Also the quantised file, calibrated on training windows.")
@click.option("--streaming", is_flag=True, help="Also a file that takes one hop at a time, of the last file made.")
@click.option("--hop", type=float, default=1.0, show_default=True, metavar="SECONDS", help="Of the streaming file.")
@click.option("--classes", help="Of FILE.onnx in the order of its logits, where it does not say: N,A,O,~")
@click.option("--unit", help="Of the input of FILE.onnx, where it does not say: uV, mV or V.")
@click.option("--window", type=int, metavar="SAMPLES", help="Of FILE.onnx, where it does not say.")
@click.option("--sampling-rate", type=float, metavar="HZ", help="Of FILE.onnx, where it does not say.")
@data_options
@click.option(
    "--calibration",
    metavar="METHOD",
    help="auto (ranks several on validation records, clean and attacked), minmax, percentile:99.99 or entropy "
    "[default: auto; percentile:99.99 for networks above 100 million multiply-accumulates a window].",
)
@click.option(
    "--calibration-windows", type=int, default=200, show_default=True, help="Training windows to calibrate on."
)
@click.option(
    "--input-bits",
    type=click.Choice(["8", "16"]),
    default="8",
    show_default=True,
    help="Of the input's codes; with 16 the first convolution runs in float.",
)
@click.option(
    "--input-step",
    type=float,
    help="Microvolts from code to code of the input [default: 31.25, with auto also 15.625; 16 bits: 1].",
)
@click.option("--portable", is_flag=True, help="Weights of 7 bits, safe on processors whose 8-bit products saturate.")
@click.option("--exclude", multiple=True, metavar="NODE", help="Leave this node in float; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files [default: the run folder].")
@json_option
def command(
    run: Path | None,
    int8: bool,
    streaming: bool,
    hop: float,
    classes: str | None,
    unit: str | None,
    window: int | None,
    sampling_rate: float | None,
    data: str | None,
    labels: Path | None,
    calibration: str | None,
    calibration_windows: int,
    input_bits: str,
    input_step: float | None,
    portable: bool,
    exclude: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Export RUN (default: the newest finished run under runs/) to ONNX, checked against the network.

    With --streaming, a window model's FILE.onnx of anybody's may stand in its place.
    """
    if input_step is not None and not 0 < input_step < float("inf"):
        raise InputError(f"--input-step {input_step}: above 0 microvolts needed")
    if calibration_windows < 1:
        raise InputError(f"--calibration-windows {calibration_windows}: at least 1 window needed")
    if run is not None and run.suffix == ".onnx":
        facts = {"classes": classes, "unit": unit, "window": window, "sampling_rate": sampling_rate}
        _export_file(run, facts, streaming=streaming, int8=int8, hop=hop, out=out, as_json=as_json)
        return
    from edgeguard.ecg.split import split_from
    from edgeguard.export.calibrate import parse_method
    from edgeguard.export.exporter import METHOD, Int8Options, export_run, summary
    from edgeguard.models import load_run, newest_run

    if calibration not in (None, "auto"):
        parse_method(calibration)
    if run is None:
        run = newest_run()
        say(f"run: {run}")
    loaded = load_run(run)
    dataset = _run_data(loaded.config, data, labels)
    parts = split_from(dataset, loaded.config["split"])
    ranked = int8 and (calibration or _usual_calibration(loaded)) == "auto"
    options = Int8Options(
        method=METHOD if calibration in (None, "auto") else calibration,
        score=_score(loaded, dataset, parts) if ranked else None,
        bits=int(input_bits),
        step=input_step,
        windows=calibration_windows,
        exclude=exclude,
        portable=portable,
    )
    result = export_run(loaded, dataset, parts, int8=int8, options=options, out=out, say=say)
    made = summary(result)
    if streaming:
        made = _with_stream(made, _compile(result.int8 or result.fp32, folder=out, hop=hop))
    emit("export", made, partial(_table, made), as_json=as_json)


def _export_file(
    path: Path, facts: dict[str, Any], *, streaming: bool, int8: bool, hop: float, out: Path | None, as_json: bool
) -> None:
    """A file that is there already: only a stream can be made of it."""
    if int8 or not streaming:
        raise InputError(f"{path}: is an ONNX file already; add --streaming, or name a run folder to export")
    facts["classes"] = facts["classes"].split(",") if facts["classes"] else None
    made: dict[str, Any] = {"fp32": None, "int8": None, "bytes": {"fp32": None, "int8": None}, "calibration": None}
    made |= {"golden": [], "parity": {}, "census": {}}
    made = _with_stream(made, _compile(path, folder=out, hop=hop, **facts))
    emit("export", made, partial(_table, made), as_json=as_json)


def _compile(path: Path, *, folder: Path | None, hop: float, **facts: Any) -> "Compiled":
    """`NAME-stream.onnx` of a window model's file, in its own folder unless told."""
    from edgeguard.export.streaming.compiler import compile_stream

    say(f"compiling the stream and proving it against {path.name}")
    return compile_stream(path, (folder or path.parent) / f"{path.stem}-stream.onnx", hop=hop, **facts)


def _with_stream(made: dict[str, Any], compiled: "Compiled") -> dict[str, Any]:
    """The command's result with the stream in it."""
    from edgeguard.export.rung import as_json
    from edgeguard.export.streaming.compiler import summary
    from edgeguard.runtime.census import fused_operators
    from edgeguard.runtime.loading import load_onnx
    from edgeguard.runtime.stream_form import stream_form

    census = made["census"] or fused_operators(stream_form(load_onnx(compiled.path))[0])
    return {
        **made,
        "streaming": str(compiled.path),
        "bytes": {**made["bytes"], "streaming": compiled.path.stat().st_size},
        "parity": {**made["parity"], **as_json([compiled.rung()])},
        "census": census,
        "stream": summary(compiled),
    }


def _usual_calibration(run: "Run") -> str:
    """`auto` for a network that can be attacked within about a minute, else the usual method."""
    from edgeguard.export.exporter import METHOD
    from edgeguard.models.cost import cost

    return "auto" if cost(run.model, window=run.config["window"]).macs <= _AUTO_MACS else METHOD


def _score(run: "Run", dataset: "Dataset", split: "Split") -> "Scorer":
    from edgeguard.evaluation.calibration import calibration_score

    say("crafting attacks on validation records, to rank calibrations (skipped by naming one with --calibration)")
    return calibration_score(run, dataset, split)


def _run_data(config: dict[str, Any], data: str | None, labels: Path | None) -> Any:
    """The data set that a run was trained on; InputError where another one is there."""
    from edgeguard.ecg.sources import load_dataset

    spec, reference = trained_on(config["options"], data, labels)
    dataset = load_dataset(spec, labels=reference)
    if dataset.fingerprint != config["data"]["fingerprint"]:
        raise InputError(
            f"{dataset.source}: not the data that the run was trained on ({config['data']['source']}); "
            "name them with --data"
        )
    return dataset


def _table(result: dict[str, Any]) -> str:
    lines = []
    for form in ("fp32", "int8", "streaming"):
        if result[form]:
            lines.append(f"{form:<12}{result[form]}  ({result['bytes'][form]:,} bytes)")
    if result["calibration"]:
        lines += _calibration_lines(result["calibration"])
    lines += rung_lines({"name": name, **about} for name, about in result["parity"].items())
    lines += [f"{'golden':<12}{path}" for path in result["golden"]]
    census = ", ".join(f"{operator} {count}" for operator, count in sorted(result["census"].items()))
    lines.append(f"{'operators':<12}{census}")
    if result["int8"] or result["fp32"]:
        lines.append(f"{'next':<12}edgeguard attack-onnx")
    else:
        lines.append(f"{'next':<12}edgeguard simulate {result['streaming']}")
    return "\n".join(lines)


def _calibration_lines(calibration: dict[str, Any]) -> list[str]:
    """The method, and where candidates were ranked a line each, the best first."""
    lines = [f"{'calibration':<12}{calibration['method']}, {calibration['windows']} training windows"]
    for row in calibration.get("candidates", ()):
        codes = f"{row['input_bits']} bits, {row['step_uv']:g} uV"
        n = row["n"]
        lines.append(
            f"{'':<12}{row['method']:<20}{codes:<18}clean {row['clean']}/{n}  worst case {row['worst']}/{n}  "
            f"as float {row['agreement']}/{n}"
        )
    return lines
