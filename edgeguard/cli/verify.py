"""edgeguard verify."""

from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgeguard.cli.options import listed, model_options
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.rungs import rung_lines
from edgeguard.cli.sections import sectioned
from edgeguard.errors import InputError

_LADDER_OPTIONS = ("rows", "data", "labels", "lead", "golden", "seed")
_FILE_OPTIONS = ("classes", "unit", "window", "sampling_rate", "threshold", "threads")
_SHOWN_FAILURES = 20


@click.command(
    "verify",
    cls=sectioned({"What is checked": ("rows", "golden", "public_key", "thresholds")}),
)
@click.argument(
    "files", metavar="[WITNESSES.npz|CERTIFICATE.json] [FILE.onnx]...", type=click.Path(path_type=Path), nargs=-1
)
@click.option(
    "--rows", type=click.IntRange(min=1), default=64, show_default=True, help="Number of windows to compare engines on."
)
@click.option(
    "--data",
    metavar="SRC",
    help="Compare on records: synthetic[:N], a zip or folder, or cinc2017 [default: built-in signals, no data].",
)
@click.option(
    "--labels", type=click.Path(path_type=Path), help="Reference CSV, where it is not inside or beside the data."
)
@click.option("--lead", metavar="NAME|N", help="Signal to take of records that have several [default: the only one].")
@click.option(
    "--golden",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write golden vectors there, as .golden.npz and .golden.h [default: check those beside the file, if any].",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the choice of windows.")
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

    Exit code 0: every check that applies, every record, or every claim holds. 1: one fails. 2: bad input.
    """
    from edgeguard.evaluation.run_verification import verify_model

    first = files[0] if files else Path()
    named = _named(files, first.suffix)
    if first.suffix == ".json":
        _refuse_options(_LADDER_OPTIONS + _FILE_OPTIONS, f"the certificate {first}")
    elif first.suffix == ".npz":
        _refuse_options(_LADDER_OPTIONS, f"the records in {first}")
    classes = listed(options.pop("classes")) or None
    found = verify_model(**named, classes=classes, say=say, **options)
    table = {".json": _certificate_table, ".npz": _replay_table}.get(first.suffix, _table)
    result = found.to_json()
    emit("verify", result, partial(table, result), as_json=as_json)
    return int(not found.holds)


def _named(files: tuple[Path, ...], kind: str) -> dict[str, Any]:
    """The arguments by what they are: the file, and before it witnesses or a certificate."""
    if kind == ".json":
        if len(files) != 2:
            raise InputError(f"{files[0]}: name the one ONNX file that it is of")
        return {"certificate": files[0], "model": files[1]}
    if kind == ".npz":
        if len(files) > 3:
            raise InputError(f"{files[0]}: name one or both ONNX files to judge it by")
        return dict(zip(("witnesses", "model", "other"), files, strict=False))
    if len(files) > 1:
        raise InputError(f"{files[1]}: one ONNX file at a time; run edgeguard verify for each")
    return {"model": files[0] if files else None}


def _refuse_options(names: tuple[str, ...], what: str) -> None:
    source = click.get_current_context().get_parameter_source
    for name in names:
        if source(name) == ParameterSource.COMMANDLINE:
            raise InputError(f"--{name.replace('_', '-')}: has no meaning for {what}; leave it out")


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
    missing = [rung["name"] for rung in result["rungs"] if rung["holds"] is None and rung["note"].startswith("needs ")]
    unchecked = f"; not checked here, for lack of a package: {', '.join(missing)}" if missing else ""
    held = f"every check that applies holds{unchecked}"
    lines.append(held if result["holds"] else "the file is not what it claims to be")
    return "\n".join(lines)
