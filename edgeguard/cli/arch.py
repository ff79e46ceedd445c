"""edgeguard arch."""

from functools import partial
from typing import Any

import click

from edgeguard.cli.output import emit, json_option
from edgeguard.errors import InputError


@click.command("arch")
@click.argument("name", required=False, metavar="[NAME|MODULE:FACTORY]")
@click.option("--window", type=int, default=9000, show_default=True, help="Samples of one input.")
@click.option(
    "--sampling-rate",
    type=float,
    default=300.0,
    show_default=True,
    metavar="HZ",
    help="Sampling rate of the input, for seconds of the receptive field.",
)
@json_option
def command(name: str | None, window: int, sampling_rate: float, as_json: bool) -> None:
    """What a network costs and sees: one architecture, or all that have a name."""
    from edgeguard.models.registry import ARCHITECTURES, register_architecture

    if window < 1:
        raise InputError(f"--window {window}: at least 1 sample needed")
    if not 0 < sampling_rate < float("inf"):
        raise InputError(f"--sampling-rate {sampling_rate}: above 0 Hz needed")
    if name:
        register_architecture(name)
    rows = [_figures(arch, window, sampling_rate) for arch in ([name] if name else ARCHITECTURES)]
    emit(
        "arch",
        {"window": window, "sampling_rate": sampling_rate, "architectures": rows},
        partial(_table, rows, window),
        as_json=as_json,
    )


def _figures(arch: str, window: int, sampling_rate: float) -> dict[str, Any]:
    from edgeguard.models import build, cost

    model = build(arch, window=window, seed=0)
    try:
        found = cost(model, window=window)
    except RuntimeError as error:
        raise InputError(f"--window {window}: too short for {arch}; give more samples") from error
    field = found.receptive_field
    return {
        "name": arch,
        **vars(found),
        "receptive_field_seconds": None if field is None else field / sampling_rate,
    }


def _table(rows: list[dict[str, Any]], window: int) -> str:
    width = max(len("network"), *(len(row["name"]) for row in rows))
    lines = [
        f"{'network':<{width}}  parameters      MMAC     receptive field  stride  features",
    ]
    for row in rows:
        field = _or_dash(row["receptive_field"], "{:,}")
        if row["receptive_field"] is not None:
            field += f" ({row['receptive_field_seconds']:.1f} s)"
        lines.append(
            f"{row['name']:<{width}}{row['parameters']:>12,}{row['macs'] / 1e6:>10,.1f}{field:>20}"
            f"{_or_dash(row['stride']):>8}{_or_dash(row['features']):>10}"
        )
    lines += ["", f"MMAC: million multiply-accumulates a window of {window:,} samples; the rest in samples."]
    return "\n".join(lines)


def _or_dash(value: int | None, form: str = "{}") -> str:
    return "-" if value is None else form.format(value)
