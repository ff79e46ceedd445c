"""Options that several commands share."""

import importlib
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from edgeguard.cli.output import say
from edgeguard.errors import InputError, did_you_mean, unknown

if TYPE_CHECKING:
    from edgeguard.runtime.registry import Registry
    from edgeguard.runtime.session import OnnxModel

F = TypeVar("F", bound=Callable[..., Any])


class OneOf(click.ParamType):
    """One of a few names; another is refused with the most similar of them."""

    name = "name"

    def __init__(self, *names: str) -> None:
        self.names = names

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return f"[{'|'.join(self.names)}]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.names:
            raise unknown(param.opts[-1] if param else self.name, value, self.names)
        return str(value)


def data_options(function: F) -> F:
    """--data and --labels."""
    function = click.option(
        "--labels",
        type=click.Path(path_type=Path),
        help="Reference CSV, where it is not inside or beside the data; none: records without labels.",
    )(function)
    return click.option(
        "--data",
        metavar="SRC",
        help="synthetic[:N], a zip or folder of records, or cinc2017 [default: cinc2017 if fetched, else synthetic].",
    )(function)


def _label_map(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, str] | None:
    from edgeguard.ecg.label_map import parse_label_map

    return parse_label_map(value) or None


def adapter_options(function: F) -> F:
    """--label-map and --lead: how records of any source become those that a model takes."""
    function = click.option(
        "--lead",
        metavar="NAME|N",
        help="Signal to take of records that have several, by name or number from 0 [default: the only one].",
    )(function)
    return click.option(
        "--label-map",
        metavar="LABEL=CLASS,...",
        callback=_label_map,
        help="Which class of the model a label of the data stands for, as in AFIB=A,SR=N; records of other labels are "
        "left out.",
    )(function)


def registering(kind: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback for an option that names `arch`, `defense` or `attack`, one or several with commas.

    What was typed on the command line is imported; what a config file names must be built in, installed, or typed too.
    """

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        registry = _registry(kind) if value else None
        if registry is not None:
            typed = ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE
            for text in (value,) if isinstance(value, str) else value:
                for name in listed(text) or ():
                    if not typed:
                        registry.check(name)
                    elif ":" in name or kind == "arch":
                        registry.register(name)
        return value

    return callback


_REGISTRIES = {
    "arch": "edgeguard.models.registry",
    "defense": "edgeguard.defenses.recipes",
    "attack": "edgeguard.attacks.catalogue",
}


def _registry(kind: str) -> "Registry":
    found: Registry = importlib.import_module(_REGISTRIES[kind]).REGISTRY
    return found


def known_arch_option(flag: str = "--arch", *, whose: str = "a run") -> Callable[[F], F]:
    """--arch, of runs that name an architecture of the user's own."""
    return click.option(
        flag,
        metavar="MODULE:FACTORY",
        multiple=True,
        expose_value=False,
        callback=registering("arch"),
        help=f"Your own architecture that {whose} names; its code then runs. Without it no file can make code run.",
    )


def model_options(function: F) -> F:
    """The facts of a foreign file that its metadata lack, and the session's threads; taken by `open_file`."""
    for option in (
        known_arch_option(),
        click.option("--classes", help="Class names in the order of the model's outputs, such as N,A,O,~"),
        click.option(
            "--threshold",
            type=float,
            metavar="P",
            help="Probability from which a single output means the second class.",
        ),
        click.option("--unit", help="Unit of the model's input: uV, mV or V."),
        click.option("--window", type=int, metavar="SAMPLES", help="Length of the model's input."),
        click.option("--sampling-rate", type=float, metavar="HZ", help="Sampling rate of the model's input."),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Number of ONNX Runtime threads.",
        ),
    ):
        function = option(function)
    return function


def open_file(
    path: Path | None,
    *,
    threads: int,
    sampling_rate: float | None,
    window: int | None,
    unit: str | None,
    threshold: float | None,
    classes: str | None,
) -> "OnnxModel":
    """The ONNX file named, or the newest one under runs/; says which."""
    from edgeguard.evaluation.zoo.located import located
    from edgeguard.runtime.newest import newest_model
    from edgeguard.runtime.session import open_model

    opened = open_model(
        located(path) if path else newest_model(),
        threads=threads,
        sampling_rate=sampling_rate,
        window=window,
        unit=unit,
        threshold=threshold,
        classes=listed(classes) or None,
    )
    say(f"model: {opened.path}")
    return opened


def listed(names: str | None) -> tuple[str, ...] | None:
    """Names with commas between them; None where nothing was given."""
    return None if names is None else tuple(name.strip() for name in names.split(",") if name.strip())


def _apply_config(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Values of the file become the command's defaults, so that an option on the command line still wins."""
    if path is None:
        return
    values = _read_config(path)
    names = {p.name: p for p in ctx.command.params if p.name}
    for name in values:
        key = name.replace("-", "_")
        if key not in names or key in ("config", "as_json"):
            mend = did_you_mean(key, names) + "remove or rename it"
            raise InputError(f"{path}: {name} is no option of edgeguard {ctx.command.name}; {mend}")
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
