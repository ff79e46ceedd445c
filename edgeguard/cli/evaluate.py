"""edgeguard evaluate."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import adapter_options, data_options, listed, model_options, registering
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.sections import sectioned


@click.command(
    "evaluate",
    cls=sectioned(
        {
            "Attack": (
                "attack",
                "profile",
                "full",
                "gradient",
                "loss",
                "eps",
                "alpha",
                "steps",
                "smooth_steps",
                "kernels",
                "mask",
                "source",
                "checks",
            ),
            "Comparison": ("compare", "margin", "hunt"),
        }
    ),
)
@click.argument("model", required=False, metavar="[RUN|FILE.onnx]", type=click.Path(path_type=Path))
@data_options
@adapter_options
@click.option(
    "--split",
    "part",
    default="test",
    show_default=True,
    help="Records to judge: test, or all, also those seen in training.",
)
@click.option(
    "--attack",
    callback=registering("attack"),
    help="Attacks, with commas: clean (none), pgd, sap, cw-smooth, square, and MODULE:NAME of an attack of your own, "
    "whose code then runs [default: clean,pgd,sap; strict: square too; --full: all].",
)
@click.option(
    "--profile",
    help="Attack settings: paper (as published), strict (fixed, worst case) or full (longer, slow) [default: "
    "strict for a file, paper for a run and where one of the paper profile's options is given].",
)
@click.option("--full", is_flag=True, help="Use --profile full.")
@click.option(
    "--gradient",
    help="Gradients that attack a file, with commas: twin, twin-pure (of its differentiable copy, without or with "
    "gradients through saturated codes), parent (of the run it was exported from), mean (of twin and parent), none "
    "(of the rounded network itself) [default: twin; strict: twin,parent; full: all but none].",
)
@click.option(
    "--loss", help="Losses of the attacks, with commas: ce, margin, dlr, rescaled (paper profile) [default: ce]."
)
@click.option("--eps", type=float, default=10.0, show_default=True, help="Largest perturbation, microvolts.")
@click.option("--alpha", type=float, help="Length of a step, microvolts (paper profile) [default: 1].")
@click.option("--steps", type=int, help="Number of steps before smoothing (paper profile) [default: 20].")
@click.option(
    "--smooth-steps", type=int, help="Number of steps on the smoothed perturbation (paper profile) [default: 40]."
)
@click.option("--kernels", default="nest25", show_default=True, help="Smoothing of SAP: nest25 or zip5.")
@click.option(
    "--mask",
    help="When padding is masked: loop, in every step; end, only in the result (paper profile) [default: loop].",
)
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Run or file whose gradient makes the adversarial records, as in a transfer attack [default: the model "
    "itself].",
)
@click.option(
    "--compare",
    metavar="OTHER",
    type=click.Path(path_type=Path),
    help="Run or file to compare the model with, record by record: attacks made on either are tried on both, on "
    "records that neither has seen in training, as far as that is known.",
)
@click.option(
    "--margin",
    type=float,
    metavar="POINTS",
    help="Largest accepted loss of worst-case accuracy against --compare, in points; exit code 1 unless the model "
    "survives it [default: the verdict at 2 is printed, and the exit code does not depend on it].",
)
@click.option(
    "--hunt",
    metavar="FILE.npz",
    type=click.Path(path_type=Path),
    help="File to keep records in that, within eps, only one of the model and --compare classifies correctly; they "
    "are searched for.",
)
@click.option(
    "--checks/--no-checks",
    default=True,
    show_default=True,
    help="Check, on up to 64 records, whether the model only looks robust because its gradient is masked; not with "
    "--source. A failed check is reported and does not change the exit code.",
)
@click.option(
    "--limit", "--samples", "limit", type=int, help="Number of records to judge at most, drawn by class [default: all]."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random starts and of --limit.")
@model_options
@json_option
def command(
    model: Path | None,
    attack: str | None,
    profile: str | None,
    full: bool,
    gradient: str | None,
    loss: str | None,
    margin: float | None,
    classes: str | None,
    as_json: bool,
    **options: Any,
) -> int:
    """Accuracy and F1 of a run or an ONNX file (default: the newest run), clean and attacked."""
    from dataclasses import asdict

    from edgeguard.evaluation.run_evaluation import evaluate_model
    from edgeguard.report.evaluation_table import evaluation_table

    result = evaluate_model(
        model,
        attacks=listed(attack),
        profile="full" if full else profile,
        gradients=listed(gradient),
        losses=listed(loss),
        margin=None if margin is None else margin / 100,
        classes=listed(classes) or None,
        say=say,
        **options,
    )
    emit("evaluate", result.to_json(), partial(evaluation_table, asdict(result), result.classes), as_json=as_json)
    return int(margin is not None and result.compare is not None and not result.compare.holds)
