"""edgeguard evaluate."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import data_options, trained_on
from edgeguard.cli.output import emit, json_option, say
from edgeguard.errors import InputError

_MARGIN = 2.0


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
@click.option("--loss", help="Any of ce, margin, rescaled, with commas (paper profile) [default: ce].")
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
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    help="Run or file judged beside the model, record by record, on what neither has seen in training.",
)
@click.option(
    "--margin",
    type=float,
    metavar="POINTS",
    help="Exit with 1 unless the model's worst case is not inferior to --compare's by more than this; "
    "without it the verdict, at 2, is only printed.",
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
    limit: int | None,
    seed: int,
    as_json: bool,
) -> int:
    """Accuracy and F1 of a run or an ONNX file (default: the newest run), clean and attacked."""
    from edgeguard.attacks.smoothing import KERNELS
    from edgeguard.ecg.sources import load_dataset
    from edgeguard.evaluation.contender import check_fit, open_contender, records_for_all
    from edgeguard.evaluation.evaluate import evaluate, summary
    from edgeguard.evaluation.paired import compare as compared
    from edgeguard.evaluation.portfolio import portfolio
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
    if margin is not None and compare is None:
        raise InputError(f"--margin {margin:g}: nothing to compare with; add --compare RUN or leave it out")
    if margin is not None and not 0 <= margin <= 100:
        raise InputError(f"--margin {margin:g}: 0 to 100 points needed")
    attacks = portfolio(
        _names(attack),
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
    contenders = [open_contender(path, source, attacks) for path in (model, compare) if path]
    for short in {entry.name for entry in attacks if entry.reach < entry.eps}:
        say(f"{short}: {steps} steps of {alpha:g} uV cannot reach eps {eps:g} uV; add steps or a larger --alpha")
    run = contenders[0].subject.run
    spec, reference = trained_on(run.config["options"] if run else {}, data, labels)
    dataset = load_dataset(spec, labels=reference)
    check_fit(contenders, dataset)
    index, which = records_for_all(contenders, dataset, part=part, limit=limit, seed=seed)
    say(f"data: {dataset.source}, {which}")
    results = [
        evaluate(
            one.subject,
            dataset,
            index,
            attacks,
            source=one.crafter,
            situation=one.situation,
            seed=seed,
            title=one.title,
        )
        for one in contenders
    ]
    report = {
        "model": str(model),
        "data": dataset.source,
        "n": len(index),
        "profile": profile,
        **summary(results[0]),
    }
    if compare:
        accepted = _MARGIN if margin is None else margin
        report["compare"] = {
            "model": str(compare),
            "attacks": summary(results[1])["attacks"],
            **compared(*results, margin=accepted / 100),
        }
    emit("evaluate", report, partial(_table, report, dataset.classes), as_json=as_json)
    return int(margin is not None and not report["compare"]["holds"])


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


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
    lines += _masked(report["attacks"])
    if "compare" in report:
        lines += ["", *_comparison(report["model"], report["compare"])]
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


def _comparison(model: str, compare: dict[str, Any]) -> list[str]:
    lines = [
        f"{model} minus {compare['model']}, n = {compare['worst_case']['n']}",
        f"{'accuracy':<34}{'points [95 %]':<26}{'exact McNemar p':<26}",
    ]
    for name, about in (("clean", compare["clean"]), ("worst case", compare["worst_case"])):
        if about:
            points = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*(100 * about[key] for key in ("difference", "low", "high")))
            lines.append(f"{name:<34}{points:<26}{about['mcnemar_p']:.3g}")
    lines += _masked(compare["attacks"], ", other")
    if compare["holds"]:
        verdict = f"not inferior by more than {100 * compare['margin']:g} points"
    else:
        verdict = f"inferior or undecided: lower bound {100 * compare['worst_case']['low']:+.1f}"
    return [*lines, f"{'verdict, worst case':<34}{verdict}"]


def _masked(attacks: list[dict[str, Any]], whose: str = "") -> list[str]:
    """A line for each loss that has no gradient at some clean records, so that its accuracy flatters."""
    shares = {row["loss"]: row["zero_gradient"] for row in attacks if row["zero_gradient"]}
    return [
        f"{f'zero {loss} gradient{whose}':<34}{_rate(share)}" for loss, share in shares.items() if share["value"] > 0
    ]


def _name(row: dict[str, Any]) -> str:
    if row["name"] == "clean":
        return "clean"
    steps = f"{row['steps']}, {row['smooth_steps']}" if row["smooth_steps"] else f"{row['steps']}"
    start = ", random start" if row["random_start"] else ""
    return f"{row['name'].upper()} {row['eps_uv']:g} uV ({steps}) {row['loss']}{start} [{row['situation']}]"


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate['value']:.3f} [{rate['low']:.3f}, {rate['high']:.3f}]"
