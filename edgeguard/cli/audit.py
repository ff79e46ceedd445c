"""edgeguard audit."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import adapter_options, data_options, listed, model_options
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.sections import sectioned
from edgeguard.errors import InputError


@click.command(
    "audit",
    cls=sectioned(
        {
            "Audit": ("quick", "full", "reference", "thresholds", "require", "key"),
            "Output": ("out",),
        }
    ),
)
@click.argument("model", metavar="[RUN|FILE.onnx]", type=click.Path(path_type=Path), required=False)
@click.option("--quick", is_flag=True, help="Screen about 200 records in a few minutes.")
@click.option("--full", is_flag=True, help="Judge all test records by every attack, and a day of stream; takes hours.")
@data_options
@adapter_options
@click.option(
    "--reference",
    metavar="RUN|FILE",
    type=click.Path(path_type=Path),
    help="Float form to hold an int8 file against [default: the run or float file beside it].",
)
@click.option(
    "--thresholds",
    metavar="FILE.toml",
    type=click.Path(path_type=Path),
    help="Thresholds, key by key; the defaults are in edgeguard/evaluation/audit/thresholds.toml.",
)
@click.option(
    "--require",
    metavar="export,robustness",
    help="Verdicts that the exit code depends on [default: export where there is a float form, else robustness].",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    help="Number of records to judge at most, drawn by class [default: 512; --quick 192; --full all].",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the choice of records and of attacks.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of report, certificate and findings; an interrupted audit goes on there [default: runs/audit/NAME].",
)
@click.option(
    "--sign",
    "key",
    metavar="KEY.pem",
    type=click.Path(path_type=Path),
    help="Ed25519 private key to sign the certificate with.",
)
@model_options
@json_option
def command(
    model: Path | None, quick: bool, full: bool, out: Path | None, classes: str | None, as_json: bool, **options: Any
) -> int:
    """Is the file that you deploy still accurate, and still robust, after int8 export, streaming and attack?

    Audits an ONNX file, or the int8 file of a run (default: the newest file under runs/), and writes report.html and
    certificate.json.

    There are two verdicts. Export: is the file as good as its float form? Robustness: does it keep to the thresholds?
    Robustness is judged where the file says that it was trained by a defence, with --thresholds, and with --require;
    else its figures are reported.

    Exit code 0: the required verdicts hold, or --quick shows no harm. 1: one does not, or there is too little to tell.
    2: bad input.
    """
    if quick and full:
        raise InputError("--quick --full: choose one of the two, or neither")
    from edgeguard.evaluation.audit.verdict import PASSED
    from edgeguard.report.audit_table import audit_table
    from edgeguard.report.run_audit import audit_folder, audit_model
    from edgeguard.runtime.newest import newest_model

    if model is None:
        model = newest_model()
        say(f"model: {model}")
    out = out or audit_folder(model)
    audit = audit_model(
        model,
        size="quick" if quick else "full" if full else "default",
        out=out,
        classes=listed(classes) or None,
        say=say,
        **options,
    )
    paths = {name: str(out / audit.files[name]) for name in ("report", "certificate")}
    text = partial("\n".join, [audit_table(audit), "", *(f"{name:<12} {path}" for name, path in paths.items())])
    emit("audit", {**audit.to_json(), **paths}, text, as_json=as_json)
    return int(audit.verdict not in PASSED)
