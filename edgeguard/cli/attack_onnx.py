"""edgeguard attack-onnx."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import OneOf, adapter_options, data_options, listed, model_options, registering
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.sections import sectioned
from edgeguard.runtime.system import processor_cores


@click.command(
    "attack-onnx",
    cls=sectioned(
        {
            "Attack": ("attack", "queries", "samples", "target", "pairs", "smoothing", "high_hz"),
            "Other files": ("compare", "transfer", "white_box"),
        }
    ),
)
@click.argument("model", metavar="[FILE.onnx]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--attack",
    default="smooth-geo",
    show_default=True,
    callback=registering("attack"),
    help="Attack: smooth-geo (smallest smooth L2), rays-sap (smallest eps of a smooth perturbation), boundary (Lam et "
    "al.), hopskipjump (plain, for comparison), or MODULE:NAME of an attack of your own, whose code then runs.",
)
@click.option(
    "--queries",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Number of labels asked for each record.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=64,
    show_default=True,
    help="Number of records to attack, drawn by class.",
)
@data_options
@adapter_options
@click.option(
    "--split",
    "part",
    type=OneOf("test", "all"),
    default="test",
    show_default=True,
    help="Records to attack: test, those that the network was not trained or chosen on, as far as that is known; or "
    "all.",
)
@click.option(
    "--target", metavar="CLASS", help="Class that every record is to be turned into [default: any wrong one]."
)
@click.option(
    "--pairs",
    type=click.IntRange(min=1),
    help="Instead of --samples: number of records for every ordered pair of classes, each turned into the other class "
    "from a record of it.",
)
@click.option(
    "--smoothing",
    type=click.IntRange(min=0),
    help="Length in samples of the Hanning window that smooths a random step of boundary; 0: none [default: 41].",
)
@click.option(
    "--high-hz", type=float, metavar="HZ", help="Highest frequency of a perturbation of smooth-geo [default: 15]."
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    metavar="OTHER.onnx",
    help="File to attack too, with the same records, seeds and budgets; results are paired, as of fp32 against int8.",
)
@click.option(
    "--transfer",
    type=click.Path(path_type=Path),
    metavar="OTHER.onnx",
    multiple=True,
    help="File that also classifies the adversarial records of the first; may be given more than once.",
)
@click.option(
    "--white-box",
    is_flag=True,
    help="With rays-sap: also find the smallest eps by gradients, through a differentiable copy of the file, and "
    "compare; needs torch.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the choice of records and of the attack.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=processor_cores,
    show_default="processor cores",
    help="Number of threads that attack; results do not depend on it.",
)
@model_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/attack-onnx"),
    show_default=True,
    help="Folder of witnesses, pictures and result.json; an interrupted attack goes on from there.",
)
@json_option
def command(
    model: Path | None,
    classes: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Attack an ONNX file by asking it for labels, and nothing else.

    Works on any single-lead ECG classifier: what its file does not say is given by options.
    """
    from edgeguard.report.run_attack import attack_model

    found = attack_model(model, classes=listed(classes) or None, say=say, **options)
    result = found.to_json()
    emit("attack-onnx", result, partial(_table, result), as_json=as_json)


def _table(result: dict[str, Any]) -> str:
    from edgeguard.report.black_box import report_table

    lines = [report_table(result)]
    if "white_box" in result:
        lines += ["", _white_box_line(result["white_box"])]
    if "compared" in result:
        other = result["compared"]
        lines += ["", f"--- {other['model']}", report_table(other), "", result["comparison"]["sentence"]]
    if "transfer" in result:
        lines += ["", _transfer_table(result["transfer"])]
    return "\n".join(lines)


def _white_box_line(compared: dict[str, Any]) -> str:
    ratio, check = compared["ratio"], compared["check"]
    alarm = {True: "", False: "MASKED: ", None: "not to be told: "}[check["holds"]]
    return (
        f"white box  labels alone need {ratio['median']:.2f} times the L-inf that SAP by the gradient needs "
        f"(quartiles {ratio['low_quartile']:.2f} to {ratio['high_quartile']:.2f}, n = {compared['n']})\n"
        f"           {alarm}{check['message']}"
    )


def _transfer_table(rows: list[dict[str, Any]]) -> str:
    lines = [f"{'right on what fooled the first':<44}  {'clean':^17}  {'adversarial':^17}"]
    for row in rows:
        name = f"{Path(row['model']).name} ({row['role']})"
        lines.append(f"{name:<44}  {_rate(row['clean']):^17}  {_rate(row['adversarial']):^17}")
    return "\n".join(lines)


def _rate(rate: dict[str, Any]) -> str:
    if not rate["n"]:
        return "none"
    return f"{rate['value']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}]"
