"""What every command prints: text for people, or with --json one object for machines."""

import json
from collections.abc import Callable
from typing import Any

import click

from edgeguard.runtime.telling import is_quiet
from edgeguard.runtime.typed_json import to_json

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on stdout; all else goes to stderr."
)


def emit(command: str, result: dict[str, Any], text: str | Callable[[], str], *, as_json: bool) -> None:
    """Print a command's result.

    Args:
        command: the command's name; the object carries `"schema": "edgeguard.<command>/1"`.
        result: JSON-ready values; a NaN becomes null.
        text: what people read, or a function that makes it.
    """
    if as_json:
        click.echo(json.dumps(to_json({"schema": f"edgeguard.{command}/1", **result}), ensure_ascii=False))
    else:
        click.echo(text if isinstance(text, str) else text())


def say(message: str) -> None:
    """One line of progress for people, on stderr; nothing with --quiet."""
    if not is_quiet():
        click.echo(message, err=True)
