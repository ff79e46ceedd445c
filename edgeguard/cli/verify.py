"""edgeguard verify."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgeguard.cli.options import model_options, open_file
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.rungs import rung_lines
from edgeguard.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from edgeguard.attacks.witnesses import Replay
    from edgeguard.runtime.session import OnnxModel

_LADDER_OPTIONS = ("rows", "data", "labels", "golden", "seed")
_FILE_OPTIONS = ("classes", "unit", "window", "sampling_rate", "threads")
_CERTIFICATE_OPTIONS = ("public_key", "thresholds")
_SHOWN_FAILURES = 20


@click.command("verify")
@click.argument(
    "files", metavar="[WITNESSES.npz|CERTIFICATE.json] [FILE.onnx]...", type=click.Path(path_type=Path), nargs=-1
)
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
@click.option(
    "--public-key",
    type=click.Path(path_type=Path),
    metavar="PUB.pem",
    help="Ed25519 key that must have signed the certificate [default: the key that it brings, whosever it is].",
)
@click.option(
    "--thresholds",
    type=click.Path(path_type=Path),
    metavar="FILE.toml",
    help="Thresholds that the certificate must have been judged by.",
)
@model_options
@json_option
def command(files: tuple[Path, ...], as_json: bool, **options: Any) -> int:
    """Prove that an ONNX file is what it claims to be, on every engine at hand.

    With the witnesses of attack-onnx before it: that each of these records fools the file, within its threat model.
    With the divergences that evaluate --hunt found, and one or both files: that each is right or wrong as stated.
    With the certificate of an audit: that it was not changed, is of this file, and that all in it can be repeated,
    whatever its verdict.

    Exit code 0: every rung that applies, every record, or every claim holds. 1: one fails. 2: bad input.
    """
    if files and files[0].suffix == ".json":
        certified = {name: options.pop(name) for name in _CERTIFICATE_OPTIONS}
        result = _verify_certificate(files[0], files[1:], **certified)
        emit("verify", result, partial(_certificate_table, result), as_json=as_json)
        return int(not result["holds"])
    for name in _CERTIFICATE_OPTIONS:
        if options.pop(name) is not None:
            raise InputError(f"--{name.replace('_', '-')}: is for the certificate of an audit; name its .json first")
    if files and files[0].suffix == ".npz":
        facts = {name: value for name, value in options.items() if name not in _LADDER_OPTIONS}
        result = _replay(files[0], files[1:], **facts)
        emit("verify", result, partial(_replay_table, result), as_json=as_json)
        return int(not result["holds"])
    if len(files) > 1:
        raise InputError(f"{files[1]}: one ONNX file at a time; run edgeguard verify for each")
    result = _verify_model(files[0] if files else None, **options)
    emit("verify", result, partial(_table, result), as_json=as_json)
    return int(not result["holds"])


def _replay(path: Path, files: tuple[Path, ...], **facts: Any) -> dict[str, Any]:
    """The records of a witness file, judged anew by numpy and ONNX Runtime."""
    from edgeguard.attacks import witnesses
    from edgeguard.evaluation import divergences
    from edgeguard.runtime.npz import read_schema

    _refuse_options(_LADDER_OPTIONS, f"the records in {path}")
    schema = read_schema(path)
    most = {witnesses.SCHEMA: 1, divergences.SCHEMA: 2}.get(schema)
    if most is None:
        raise InputError(f"{path}: schema {schema}, no witnesses of attack-onnx or evaluate --hunt; write them anew")
    if not 1 <= len(files) <= most:
        raise InputError(f"{path}: name {'the ONNX file' if most == 1 else 'one or both ONNX files'} to judge it by")
    models = [open_file(file, **facts) for file in files]
    if schema == witnesses.SCHEMA:
        result = witnesses.replay(witnesses.load_witnesses(path), models[0])
    else:
        result = divergences.replay_divergences(path, models)
    if not result.same_file:
        say(f"{path}: was found on another file than {' and '.join(str(file) for file in files)}; judged all the same")
    return {
        "model": str(files[0]),
        "model_sha256": models[0].sha256,
        "models": [str(file) for file in files],
        "witnesses": str(path),
        "same_file": result.same_file,
        "rows": len(result.names),
        "holds": result.holds,
        "rungs": _rungs(result),
        "failures": [{"name": name, "checks": checks} for name, checks in result.failures],
    }


def _refuse_options(names: tuple[str, ...], what: str) -> None:
    source = click.get_current_context().get_parameter_source
    for name in names:
        if source(name) == ParameterSource.COMMANDLINE:
            raise InputError(f"--{name.replace('_', '-')}: has no meaning for {what}; leave it out")


def _verify_certificate(
    path: Path, files: tuple[Path, ...], *, public_key: Path | None, thresholds: Path | None
) -> dict[str, Any]:
    """The claims of a certificate; what the file is, it says itself."""
    from edgeguard.evaluation.certificate import verify_certificate

    _refuse_options(_LADDER_OPTIONS + _FILE_OPTIONS, f"the certificate {path}")
    if len(files) != 1:
        raise InputError(f"{path}: name the one ONNX file that it is of")
    found = verify_certificate(path, files[0], public_key=public_key, thresholds=thresholds)
    return {
        "model": str(files[0]),
        "model_sha256": found.sha256,
        "certificate": str(path),
        "verdict": found.verdict,
        "signed_by": found.signed_by,
        "holds": found.holds,
        "rungs": [
            {"name": claim.name, "holds": claim.holds, "figure": claim.figure, "meaning": claim.message, "note": ""}
            for claim in found.claims
        ],
    }


def _rungs(result: "Replay") -> list[dict[str, Any]]:
    """A rung a claim; its figure is the number of records of which it is true."""
    return [
        {
            "name": check.name,
            "holds": None if check.held is None else bool(check.held.all()),
            "figure": None if check.held is None else int(check.held.sum()),
            "meaning": "not claimed" if check.held is None else check.meaning,
            "note": "",
        }
        for check in result.checks
    ]


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


def _replay_table(result: dict[str, Any]) -> str:
    lines = rung_lines(result["rungs"])
    failures = result["failures"]
    lines += [f"fails       {one['name']}: {', '.join(one['checks'])}" for one in failures[:_SHOWN_FAILURES]]
    if len(failures) > _SHOWN_FAILURES:
        lines.append(f"fails       {len(failures) - _SHOWN_FAILURES} more, all in --json")
    held = result["rows"] - len(failures)
    lines.append(f"{held} of {result['rows']} records hold{'' if result['same_file'] else ' on this other file'}")
    return "\n".join(lines)


def _certificate_table(result: dict[str, Any]) -> str:
    """A line a claim, then what it comes to; of the claims that fail the first explains the others."""
    lines, failing = rung_lines(result["rungs"]), [rung["name"] for rung in result["rungs"] if rung["holds"] is False]
    held = f"the certificate holds for {result['model']}; its verdict is: {result['verdict']}"
    return "\n".join([*lines, f"the certificate is refused: {', '.join(failing)}" if failing else held])


def _table(result: dict[str, Any]) -> str:
    lines = rung_lines(result["rungs"])
    lines += [f"{'written':<12}{path}" for path in result["golden"]]
    lines.append("every check that applies holds" if result["holds"] else "the file is not what it claims to be")
    return "\n".join(lines)
