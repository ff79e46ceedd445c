"""edgeguard verify."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeguard.cli.options import model_options, open_file
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.rungs import rung_lines
from edgeguard.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from edgeguard.runtime.session import OnnxModel


@click.command("verify")
@click.argument("files", metavar="[FILE.onnx]", type=click.Path(path_type=Path), nargs=-1)
@click.option(
    "--rows", type=click.IntRange(min=1), default=64, show_default=True, help="Windows to compare engines on."
)
@click.option(
    "--data",
    metavar="SRC",
    help="Compare on records: synthetic[:N], a zip or folder, or cinc2017 [default: built-in signals, no data].",
)
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Reference CSV, where it is not inside or beside the data."
)
@click.option(
    "--golden",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write golden vectors there, as .golden.npz and .golden.h [default: check those beside the file, if any].",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@model_options
@json_option
def command(files: tuple[Path, ...], as_json: bool, **options: Any) -> int:
    """Prove that an ONNX file is what it claims to be, on every engine at hand.

    Exit code 0: every rung that applies holds. 1: one fails. 2: bad input.
    """
    if len(files) > 1:
        raise InputError(f"{files[1]}: one ONNX file at a time; run edgeguard verify for each")
    result = _verify_model(files[0] if files else None, **options)
    emit("verify", result, partial(_table, result), as_json=as_json)
    return int(not result["holds"])


def _verify_model(
    path: Path | None,
    *,
    rows: int,
    data: str | None,
    labels: Path | None,
    golden: Path | None,
    seed: int,
    **file_facts: Any,
) -> dict[str, Any]:
    """The ladder of one model file."""
    from dataclasses import asdict

    from edgeguard.export.golden import golden_paths
    from edgeguard.export.ladder import all_hold, run_ladder

    file = open_file(path, **file_facts)
    ecg, source = _windows(file, data, labels, rows=rows, seed=seed)
    say(f"windows: {len(ecg)} of {source}")
    rungs = run_ladder(file, ecg, golden=golden, progress=lambda name: say(f"  {name}"))
    written = golden_paths(file.path, golden) if golden else ()
    return {
        "model": str(file.path),
        "model_sha256": file.sha256,
        "data": source,
        "rows": len(ecg),
        "holds": all_hold(rungs),
        "rungs": [asdict(rung) for rung in rungs],
        "golden": [str(path) for path in written],
    }


def _windows(
    file: "OnnxModel", data: str | None, labels: Path | None, *, rows: int, seed: int
) -> tuple["np.ndarray", str]:
    """Windows [B, 1, T] to compare on, and where they come from."""
    if data is None and labels is None:
        from edgeguard.export.probes import probe_windows

        ecg = probe_windows(rows, window=file.window, sampling_rate=file.sampling_rate, seed=seed)
        return ecg, "silence, rails, synthetic ECG and noise"
    from edgeguard.attacks.campaign import choose_records, load_windows

    dataset = load_windows(file, data, labels=labels, seed=seed)
    index, origin = choose_records(file, dataset, part="all", samples=rows, seed=seed)
    return dataset.batch(index)[0], origin


def _table(result: dict[str, Any]) -> str:
    lines = rung_lines(result["rungs"])
    lines += [f"{'written':<12}{path}" for path in result["golden"]]
    lines.append("every check that applies holds" if result["holds"] else "the file is not what it claims to be")
    return "\n".join(lines)
