"""edgeguard export."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import OneOf, adapter_options, data_options, known_arch_option, listed
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.rungs import rung_lines
from edgeguard.cli.sections import sectioned


@click.command(
    "export",
    cls=sectioned(
        {
            "Files to make": ("int8", "streaming", "hop", "close", "out"),
            "Quantisation": ("calibration", "calibration_windows", "input_bits", "input_step", "portable", "exclude"),
            "Facts that RUN or FILE.onnx does not say": (
                "classes",
                "sampling_rate",
                "window",
                "unit",
                "threshold",
                "arch",
            ),
        }
    ),
)
@click.argument("run", required=False, metavar="[RUN|FILE.onnx]", type=click.Path(path_type=Path))
@click.option("--int8", is_flag=True, help="Also make the quantised file; that of FILE.onnx is calibrated on --data.")
@click.option(
    "--streaming", is_flag=True, help="Also make a file that takes one hop at a time, from the last file made."
)
@click.option(
    "--hop",
    type=float,
    metavar="SECONDS",
    help="Time between two decisions of the streaming file; a multiple of the network's stride [default: the multiple "
    "nearest to 1 s].",
)
@click.option(
    "--close",
    is_flag=True,
    help="Where the network pads (same padding), make a stream of the frames that no padding reaches: close to the "
    "window file, at a cost that is measured on --data and stated.",
)
@click.option("--classes", help="Class names in the order of the outputs of FILE.onnx, such as N,A,O,~")
@click.option("--unit", help="Unit of the input of FILE.onnx: uV, mV or V.")
@click.option("--window", type=int, metavar="SAMPLES", help="Length of the input of FILE.onnx.")
@click.option("--sampling-rate", type=float, metavar="HZ", help="Sampling rate of the input of FILE.onnx.")
@click.option(
    "--threshold", type=float, help="Probability from which the single output of FILE.onnx means the second class."
)
@known_arch_option()
@data_options
@adapter_options
@click.option(
    "--calibration",
    metavar="METHOD",
    help="How ranges of values are found: auto (ranks several on validation records, clean and attacked), minmax, "
    "percentile:99.99 or entropy [default: auto; percentile:99.99 for networks above 100 million multiply-accumulates "
    "a window].",
)
@click.option(
    "--calibration-windows", type=int, default=200, show_default=True, help="Number of records to calibrate on."
)
@click.option(
    "--input-bits",
    type=OneOf("8", "16"),
    default="8",
    show_default=True,
    help="Bits of the input's codes; with 16 the first convolution runs in float.",
)
@click.option(
    "--input-step",
    type=float,
    help="Step of the input's codes, microvolts [default: 31.25, with auto also 15.625; of FILE.onnx what holds 99.99 "
    "% of the records' samples, with auto also finer ones; 16 bits: 1].",
)
@click.option("--portable", is_flag=True, help="Weights of 7 bits, safe on processors whose 8-bit products saturate.")
@click.option("--exclude", multiple=True, metavar="NODE", help="Node to leave in float; may be given more than once.")
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for the files [default: that of RUN or FILE.onnx]."
)
@json_option
def command(run: Path | None, classes: str | None, input_bits: str, as_json: bool, **options: Any) -> None:
    """Export RUN (default: the newest finished run under runs/) to ONNX, checked against the network.

    Or quantise anybody's float FILE.onnx with --int8 --data SRC, to NAME-int8.onnx beside it, checked against the float
    file; with --streaming, make a stream of the file made, or of FILE.onnx.
    """
    from edgeguard.evaluation.run_export import export_model

    found = export_model(run, classes=listed(classes) or None, input_bits=int(input_bits), say=say, **options)
    made = found.to_json()
    emit("export", made, partial(_table, made), as_json=as_json)


def _table(result: dict[str, Any]) -> str:
    lines = []
    for form in ("fp32", "int8", "streaming"):
        if result[form]:
            hop = f", a hop of {result['stream']['hop']} samples" if form == "streaming" else ""
            lines.append(f"{form:<12}{result[form]}  ({result['bytes'][form]:,} bytes{hop})")
    if result["calibration"]:
        lines += _calibration_lines(result["calibration"])
    lines += _file_lines(result)
    lines += rung_lines({"name": name, **about} for name, about in result["parity"].items())
    lines += [f"{'golden':<12}{path}" for path in result["golden"]]
    census = ", ".join(f"{operator} {count}" for operator, count in sorted(result["census"].items()))
    lines.append(f"{'operators':<12}{census}")
    if "left_in_float" in result:
        records = result["calibration"]["records"]
        lines.append(f"{'next':<12}edgeguard audit {result['int8']} --reference {result['fp32']} --data {records}")
    elif result["int8"] or result["fp32"]:
        lines.append(f"{'next':<12}edgeguard attack-onnx")
    else:
        lines.append(f"{'next':<12}edgeguard simulate {result['streaming']}")
    return "\n".join(lines)


def _calibration_lines(calibration: dict[str, Any]) -> list[str]:
    """The method, and where candidates were ranked a line each, the best first."""
    of = "training windows" if "records" not in calibration else f"records of {calibration['records']}"
    lines = [f"{'calibration':<12}{calibration['method']}, {calibration['windows']} {of}"]
    for row in calibration.get("candidates", ()):
        codes = f"{row['input_bits']} bits, {row['step_uv']:g} uV"
        n = row["n"]
        shown = {"clean": row["clean"], "worst case": row["worst"], "as float": row["agreement"]}
        counts = "  ".join(f"{name} {count}/{n}" for name, count in shown.items() if count is not None)
        lines.append(f"{'':<12}{row['method']:<20}{codes:<18}{counts}")
    return lines


def _file_lines(result: dict[str, Any]) -> list[str]:
    """What is said of an ONNX file that was quantised: input codes, accuracy, notes."""
    lines = []
    if found := result.get("input"):
        reach = f"{found['low_uv'] / 1000:.3g} to {found['high_uv'] / 1000:.3g} mV"
        held = f"hold {100 * found['share']:.4g} % of the samples"
        lines.append(f"{'input':<12}{found['bits']} bits of {found['step_uv']:g} uV, {reach}: {held}")
    if found := result.get("accuracy"):
        change = "{:+.1f} [{:+.1f}, {:+.1f}] points".format(*(100 * found[k] for k in ("difference", "low", "high")))
        lines.append(f"{'accuracy':<12}float {found['fp32']}/{found['n']}, int8 {found['int8']}/{found['n']}: {change}")
    return lines + [f"{'note':<12}{note}" for note in result.get("notes", ())]
