"""edgeguard evaluate."""

from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from edgeguard.cli.options import data_options, model_options, trained_on
from edgeguard.cli.output import emit, json_option, say
from edgeguard.errors import InputError

_MARGIN = 2.0


@click.command("evaluate")
@click.argument("model", required=False, metavar="[RUN|FILE.onnx]", type=click.Path(path_type=Path))
@data_options
@click.option("--split", "part", default="test", show_default=True, help="test, or all: also records seen in training.")
@click.option("--attack", help="Any of clean, pgd, sap, cw-smooth, with commas [default: clean,pgd,sap; --full: all].")
@click.option(
    "--profile",
    help="paper (as published), strict (fixed, worst case) or full (all there is, slow) [default: strict for a file, "
    "paper for a run and where one of the paper profile's options is given].",
)
@click.option("--full", is_flag=True, help="The same as --profile full.")
@click.option(
    "--gradient",
    help="What crafts on a file: any of twin, twin-pure, parent, mean, none, with commas "
    "[default: twin; strict: twin,parent; full: all but none].",
)
@click.option("--loss", help="Any of ce, margin, dlr, rescaled, with commas (paper profile) [default: ce].")
@click.option("--eps", type=float, default=10.0, show_default=True, help="Largest perturbation, microvolts.")
@click.option("--alpha", type=float, default=1.0, show_default=True, help="Step, microvolts (paper profile).")
@click.option("--steps", type=int, default=20, show_default=True, help="Steps before smoothing (paper profile).")
@click.option(
    "--smooth-steps",
    type=int,
    default=40,
    show_default=True,
    help="Steps on the smoothed perturbation (paper profile).",
)
@click.option("--kernels", default="nest25", show_default=True, help="nest25 or zip5: SAP's smoothing.")
@click.option("--mask", default="loop", show_default=True, help="loop, or end: padding masked only in the result.")
@click.option(
    "--source",
    type=click.Path(path_type=Path),
    help="Run or file that crafts (situation I) [default: the model itself, II].",
)
@click.option(
    "--compare",
    metavar="OTHER",
    type=click.Path(path_type=Path),
    help="Run or file to hold the model against: whatever crafts on either attacks both, and both are judged record "
    "by record on what neither has seen in training.",
)
@click.option(
    "--margin",
    type=float,
    metavar="POINTS",
    help="Exit with 1 unless the model survives: its worst case is not inferior to --compare's by more than this. "
    "Without it the verdict, at 2, is only printed.",
)
@click.option(
    "--hunt",
    metavar="FILE.npz",
    type=click.Path(path_type=Path),
    help="Also hunt, with --compare, for records within eps that one gets right and the other wrong; kept here.",
)
@click.option(
    "--checks/--no-checks",
    default=True,
    show_default=True,
    help="On up to 64 records, whether the model only looks robust because its gradient is masked. Of situation II; a "
    "tripped check is told and leaves the exit code as it is.",
)
@click.option("--limit", type=int, help="Judge at most this many records, stratified.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random starts and --limit.")
@model_options
@json_option
def command(
    model: Path | None,
    data: str | None,
    labels: Path | None,
    part: str,
    attack: str | None,
    profile: str | None,
    full: bool,
    gradient: str | None,
    loss: str | None,
    eps: float,
    alpha: float,
    steps: int,
    smooth_steps: int,
    kernels: str,
    mask: str,
    source: Path | None,
    compare: Path | None,
    margin: float | None,
    hunt: Path | None,
    checks: bool,
    limit: int | None,
    seed: int,
    as_json: bool,
    **file_facts: Any,
) -> int:
    """Accuracy and F1 of a run or an ONNX file (default: the newest run), clean and attacked."""
    from dataclasses import asdict

    from edgeguard.attacks.smoothing import KERNELS
    from edgeguard.ecg.sources import load_dataset
    from edgeguard.evaluation.comparison import compare_summary, evaluate_both, share_sources
    from edgeguard.evaluation.contender import check_fit, open_contender, records_for_all
    from edgeguard.evaluation.divergence_hunt import divergence_summary, hunt_records, parties
    from edgeguard.evaluation.divergences import save_divergences
    from edgeguard.evaluation.evaluate import evaluate_contenders, summary
    from edgeguard.evaluation.masking_run import check_contender
    from edgeguard.evaluation.portfolio import portfolio
    from edgeguard.models import newest_run
    from edgeguard.report.evaluation_table import evaluation_table

    for option, value, known in (
        ("split", part, ("test", "all")),
        ("kernels", kernels, KERNELS),
        ("mask", mask, ("loop", "end")),
    ):
        if value not in known:
            raise InputError(f"--{option} {value}: choose {' or '.join(known)}")
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: at least 1 needed")
    if seed < 0:
        raise InputError(f"--seed {seed}: at least 0 needed")
    _check_comparison(compare, margin, hunt)
    profile = "full" if full else profile or _usual_profile(model)
    attacks = portfolio(
        None if attack is None else _names(attack),
        profile=profile,
        losses=None if loss is None else _names(loss),
        eps=eps,
        alpha=alpha,
        steps=steps,
        smooth_steps=smooth_steps,
        kernels=kernels,
        mask_at=mask,
    )
    if model is None:
        model = newest_run()
        say(f"run: {model}")
    crafting: dict[str, Any] = dict(
        profile=profile, gradients=None if gradient is None else _names(gradient), compared=compare is not None
    )
    contenders = [open_contender(model, source, attacks, **crafting, **_given(file_facts))]
    if compare:
        contenders.append(open_contender(compare, source, attacks, **crafting))
    if gradient is not None and not any(one.crafting.is_file for one in contenders):
        raise InputError(f"--gradient {gradient}: {source or model} is a run and crafts on itself; leave it out")
    # An unfair comparison is refused here, before the records are read.
    if compare:
        share_sources(contenders)
    hunters = parties(contenders) if hunt else None
    for note in {one.note for one in contenders if one.note}:
        say(note)
    for short in {entry.name for entry in attacks if entry.reach < entry.eps}:
        say(f"{short}: {steps} steps of {alpha:g} uV cannot reach eps {eps:g} uV; add steps or a larger --alpha")
    run = contenders[0].subject.run
    spec, reference = trained_on(run.config["options"] if run else {}, data, labels)
    dataset = load_dataset(spec, labels=reference)
    check_fit(contenders, dataset)
    index, which = records_for_all(contenders, dataset, part=part, limit=limit, seed=seed)
    say(f"data: {dataset.source}, {which}")
    judge_all = evaluate_both if compare else evaluate_contenders
    results = judge_all(contenders, dataset, index, attacks, seed=seed)
    checked = check_contender(contenders[0], dataset, index, attacks, seed=seed) if checks else []
    report = {
        "model": str(model),
        "data": dataset.source,
        "n": len(index),
        "profile": profile,
        **summary(results[0]),
        "checks": [asdict(check) for check in checked],
    }
    if compare:
        accepted = _MARGIN if margin is None else margin
        report["compare"] = {"model": str(compare), **compare_summary(results, margin=accepted / 100, seed=seed)}
    if hunt and hunters:
        found = hunt_records(*hunters, dataset, index, attacks)
        save_divergences(found, hunt, classes=dataset.classes, sampling_rate=dataset.sampling_rate)
        report["hunt"] = {**divergence_summary(found), "witnesses": str(hunt)}
    emit("evaluate", report, partial(evaluation_table, report, dataset.classes), as_json=as_json)
    return int(margin is not None and not report["compare"]["holds"])


def _usual_profile(model: Path | None) -> str:
    """A deployed file is judged by its worst case; where the paper's settings are asked for, it is not."""
    given = click.get_current_context().get_parameter_source
    own = any(given(name) == ParameterSource.COMMANDLINE for name in ("loss", "alpha", "steps", "smooth_steps", "mask"))
    return "strict" if model is not None and model.suffix == ".onnx" and not own else "paper"


def _check_comparison(compare: Path | None, margin: float | None, hunt: Path | None) -> None:
    """Refuse what cannot be, before anything is opened."""
    if compare is None:
        for option, value in (("margin", None if margin is None else f"{margin:g}"), ("hunt", hunt)):
            if value is not None:
                raise InputError(f"--{option} {value}: nothing to compare with; add --compare OTHER or leave it out")
    if margin is not None and not 0 < margin < 100:
        raise InputError(f"--margin {margin:g}: above 0 and below 100 points needed")
    if hunt is not None:
        folder = next(parent for parent in hunt.absolute().parents if parent.exists())
        if hunt.suffix != ".npz" or hunt.is_dir() or not folder.is_dir():
            raise InputError(f"--hunt {hunt}: no place for a file of that name; give one that ends in .npz")


def _given(facts: dict[str, Any]) -> dict[str, Any]:
    """What was said of the file; class names as a list."""
    classes = facts["classes"]
    return {**facts, "classes": classes.split(",") if classes else None}


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())
