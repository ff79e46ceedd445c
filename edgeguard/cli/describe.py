"""edgeguard describe."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.output import emit, json_option, say
from edgeguard.errors import InputError


@click.command("describe")
@click.argument("model", metavar="[FILE.onnx]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--set",
    "stated",
    metavar="FACT=VALUE",
    multiple=True,
    help="Fact to write into the copy's metadata: classes, sampling_rate, window, unit or threshold; may be given more "
    "than once.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), metavar="OUT.onnx", help="Copy of the file to write.")
@json_option
def command(model: Path | None, stated: tuple[str, ...], out: Path | None, as_json: bool) -> None:
    """Say what an ONNX file is, what it does not say of itself, and which commands can take it.

    With --set and -o a copy is written whose metadata have the facts, so that no later command needs them as options:
    edgeguard describe her.onnx --set sampling_rate=250 --set unit=mV --set classes=N,A,O -o stamped.onnx
    """
    from edgeguard.evaluation.run_description import describe_model

    found = describe_model(model, facts=_facts(stated), out=out, say=say)
    result = found.to_json()
    emit("describe", result, partial(_table, result), as_json=as_json)


def _facts(stated: tuple[str, ...]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for text in stated:
        name, equals, value = text.partition("=")
        if not equals or not value.strip():
            raise InputError(f"--set {text}: give FACT=VALUE, as in --set sampling_rate=250")
        facts[name.strip().replace("-", "_")] = value.strip()
    return facts


def _table(result: dict[str, Any]) -> str:
    weights = f", weights in {', '.join(result['external'])}" if result["external"] else ""
    size = f"{result['bytes']:,} bytes{weights}, {result['parameters']:,} parameters"
    work = "cannot be counted" if result["macs"] is None else f"{result['macs']:,} multiply-accumulates a call"
    operators = ", ".join(f"{name} {count}" for name, count in result["operators"].items())
    said = {name: result[name] for name in ("classes", "sampling_rate", "window", "unit", "threshold")}
    lines = [
        f"{'file':<20}{result['model']}",
        f"{'form':<20}{result['form']}, opset {result['opset']}{_by(result['producer'])}",
        f"{'size':<20}{size}",
        f"{'work':<20}{work}",
        *(f"{'input':<20}{_tensor(one)}" for one in result["inputs"]),
        *(f"{'output':<20}{_tensor(one)}" for one in result["outputs"]),
        *([f"{'head':<20}{result['head']}"] if result["head"] else []),
        *(f"{name.replace('_', ' '):<20}{_said(name, value, result)}" for name, value in said.items()),
        f"{'operators':<20}{operators}",
        "",
    ]
    for one in result["commands"]:
        answer = "yes" if one["able"] else "no"
        lines.append(f"{one['command']:<20}{answer}{'' if one['reason'] is None else ': ' + one['reason']}")
    if result["next"]:
        lines += ["", f"{'next':<20}{result['next']}"]
    return "\n".join(lines)


def _by(producer: str) -> str:
    return f", written by {producer}" if producer else ""


def _said(name: str, value: Any, result: dict[str, Any]) -> str:
    if value is None:
        return "MISSING" if name in result["missing"] else "-"
    return ", ".join(value) if name == "classes" else f"{value:g}" if isinstance(value, float) else str(value)


def _tensor(one: dict[str, Any]) -> str:
    return f"{one['name']}  {one['type']} [{', '.join(one['shape'])}]"
