"""edgeguard evaluate."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import data_options, trained_on
from edgeguard.cli.output import emit, json_option, say
from edgeguard.errors import InputError


@click.command("evaluate")
@click.argument("model", required=False, metavar="[RUN|FILE.onnx]", type=click.Path(path_type=Path))
@data_options
@click.option("--split", "part", default="test", show_default=True, help="test, or all: also records seen in training.")
@click.option("--attack", default="clean,pgd,sap", show_default=True, help="Any of clean, pgd, sap, with commas.")
@click.option(
    "--profile",
    default="paper",
    show_default=True,
    help="paper (as published) or strict (fixed, worst case).",
)
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
    help="Run that crafts (situation I) [default: the model's own, II].",
)
@click.option("--limit", type=int, help="Judge at most this many records, stratified.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of random starts and --limit.")
@json_option
def command(
    model: Path | None,
    data: str | None,
    labels: Path | None,
    part: str,
    attack: str,
    profile: str,
    eps: float,
    alpha: float,
    steps: int,
    smooth_steps: int,
    kernels: str,
    mask: str,
    source: Path | None,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Accuracy and F1 of a run or an ONNX file (default: the newest run), clean and attacked."""
    from edgeguard.attacks.smoothing import KERNELS
    from edgeguard.ecg.sources import load_dataset
    from edgeguard.ecg.split import stratified
    from edgeguard.evaluation.evaluate import evaluate, summary
    from edgeguard.evaluation.portfolio import portfolio
    from edgeguard.evaluation.subject import open_subject, records_to_judge
    from edgeguard.models import newest_run

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
    attacks = portfolio(
        tuple(name.strip() for name in attack.split(",") if name.strip()),
        profile=profile,
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
    subject = open_subject(model)
    crafting = open_subject(source) if source else subject
    crafter = crafting.run
    if crafter is None and any(entry.name != "clean" for entry in attacks):
        raise InputError(
            f"{source or model}: its run is not beside it, so nothing can craft; "
            "name one with --source RUN, or --attack clean"
        )
    for short in {entry.name for entry in attacks if entry.reach < entry.eps}:
        say(f"{short}: {steps} steps of {alpha:g} uV cannot reach eps {eps:g} uV; add steps or a larger --alpha")
    spec, reference = trained_on(subject.run.config["options"] if subject.run else {}, data, labels)
    dataset = load_dataset(spec, labels=reference)
    for taker in (subject, crafting):
        if dataset.window != taker.window or dataset.classes != taker.classes:
            raise InputError(
                f"{taker.name}: takes {taker.window} samples of classes {','.join(taker.classes)}, "
                f"{dataset.source} has {dataset.window} of {','.join(dataset.classes)}; name a model for these data"
            )
    index, which = records_to_judge(subject, dataset, part=part)
    if limit is not None and limit < len(index):
        index = stratified(dataset.labels, index, limit, seed=seed)
        which += f", {limit} of them"
    say(f"data: {dataset.source}, {which}")
    own = crafter is None or crafter.weights_sha256 == subject.weights_sha256
    result = evaluate(
        subject,
        dataset,
        index,
        attacks,
        source=crafter,
        situation="II" if own else "I",
        seed=seed,
        title=subject.run.config["defense"] if subject.run else model.name,
    )
    report = {
        "model": str(model),
        "data": dataset.source,
        "n": len(index),
        "profile": profile,
        **summary(result),
    }
    emit("evaluate", report, partial(_table, report, dataset.classes), as_json=as_json)


def _table(report: dict[str, Any], classes: tuple[str, ...]) -> str:
    lines = [
        f"{report['model']} on {report['n']} records of {report['data']}, profile {report['profile']}",
        "",
        f"{'attack, n = ' + str(report['n']):<34}{'accuracy [95 %]':<26}{'F1 [95 %]':<26}",
    ]
    for row in report["attacks"]:
        lines.append(f"{_name(row):<34}{_rate(row['accuracy']):<26}{_rate(row['f1']):<26}")
    worst = report["worst_case"]
    lines.append(f"{'worst case':<34}{_rate(worst['accuracy']):<26}{_rate(worst['f1']):<26}")
    for row in report["attacks"]:
        lines += ["", f"{_name(row)}: true class by row, predicted by column"]
        lines.append(
            f"{'':<8}" + "".join(f"{name:>7}" for name in classes) + f"{'recall':>26}{'precision':>26}{'F1':>8}"
        )
        for name, counts in zip(classes, row["confusion"], strict=True):
            about = row["classes"][name]
            lines.append(
                f"{name:<8}"
                + "".join(f"{count:>7}" for count in counts)
                + f"{_rate(about['recall']):>26}{_rate(about['precision']):>26}{about['f1']:>8.3f}"
            )
    return "\n".join(lines)


def _name(row: dict[str, Any]) -> str:
    if row["name"] == "clean":
        return "clean"
    steps = f"{row['steps']}, {row['smooth_steps']}" if row["smooth_steps"] else f"{row['steps']}"
    start = ", random start" if row["random_start"] else ""
    return f"{row['name'].upper()} {row['eps_uv']:g} uV ({steps}) {row['loss']}{start} [{row['situation']}]"


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
