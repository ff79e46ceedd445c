"""Options that several commands share."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeguard.errors import InputError

F = TypeVar("F", bound=Callable[..., Any])


def data_options(function: F) -> F:
    """--data and --labels."""
    function = click.option(
        "--labels",
        type=click.Path(path_type=Path),
        help="Reference CSV, where it is not inside or beside the data.",
    )(function)
    return click.option(
        "--data",
        metavar="SRC",
        help="synthetic[:N], a zip or folder of records, or cinc2017 [default: cinc2017 if fetched, else synthetic].",
    )(function)


def trained_on(options: dict[str, Any], data: str | None, labels: Path | None) -> tuple[str | None, Path | None]:
    """(--data, --labels) as given, or where no data are named those of a run's options."""
    if data is not None:
        return data, labels
    return options.get("data"), labels or (Path(options["labels"]) if options.get("labels") else None)


def _apply_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Values of the file become the command's defaults, so that an option on the command line still wins."""
    if path is None:
        return
    values = _read_config(path)
    names = {p.name: p for p in ctx.command.params if p.name}
    for name in values:
        key = name.replace("-", "_")
        if key not in names or key in ("config", "as_json"):
            raise InputError(f"{path}: {name} is no option of edgeguard {ctx.command.name}; remove or rename it")
    ctx.default_map = {**(ctx.default_map or {}), **{k.replace("-", "_"): v for k, v in values.items()}}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        values: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); name a TOML file or a run's config.json"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: neither TOML nor JSON as its name says ({error})") from error
    options = values.get("options", values) if isinstance(values, dict) else None
    if not isinstance(options, dict):
        raise InputError(f"{path}: a table of options is needed")
    return options


config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    is_eager=True,
    expose_value=False,
    callback=_apply_config,
    help="TOML file of options, or a run's config.json; the command line wins.",
)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); give a text file with a record name a line") from error
