"""edgeguard export."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import data_options, trained_on
from edgeguard.cli.output import emit, json_option, say
from edgeguard.errors import InputError


@click.command("export")
@click.argument("run", required=False, type=click.Path(path_type=Path))
@click.option("--int8", is_flag=True, help="Also the quantised file, calibrated on training windows.")
@data_options
@click.option("--input-step", type=float, default=31.25, show_default=True, help="Step of the int8 input, microvolts.")
@click.option("--calibration", type=int, default=200, show_default=True, help="Training windows to calibrate on.")
@click.option("--exclude", multiple=True, metavar="NODE", help="Leave this node in float; may be repeated.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the files [default: the run folder].")
@json_option
def command(
    run: Path | None,
    int8: bool,
    data: str | None,
    labels: Path | None,
    input_step: float,
    calibration: int,
    exclude: tuple[str, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Export RUN (default: the newest finished run under runs/) to ONNX, checked against the network."""
    if not 0 < input_step < float("inf"):
        raise InputError(f"--input-step {input_step}: above 0 microvolts needed")
    if calibration < 1:
        raise InputError(f"--calibration {calibration}: at least 1 window needed")
    from edgeguard.ecg.split import split_from
    from edgeguard.export.exporter import export_run, summary
    from edgeguard.models import load_run, newest_run

    if run is None:
        run = newest_run()
        say(f"run: {run}")
    loaded = load_run(run)
    dataset = _run_data(loaded.config, data, labels)
    result = export_run(
        loaded,
        dataset,
        split_from(dataset, loaded.config["split"]),
        int8=int8,
        out=out,
        step=input_step,
        calibration=calibration,
        exclude=exclude,
        say=say,
    )
    emit("export", summary(result), partial(_table, summary(result)), as_json=as_json)


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
    for form in ("fp32", "int8"):
        if result[form]:
            lines.append(f"{form:<12}{result[form]}  ({result['bytes'][form]:,} bytes)")
    for name, check in result["parity"].items():
        lines.append(f"{'holds' if check['holds'] else 'FAILS':<12}{name}: {check['figure']:.6g} ({check['meaning']})")
    census = ", ".join(f"{operator} {count}" for operator, count in sorted(result["census"].items()))
    lines.append(f"{'operators':<12}{census}")
    lines.append(f"{'next':<12}edgeguard attack-onnx")
    return "\n".join(lines)
