"""edgeguard attack-onnx."""

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeguard.cli.options import data_options, model_options, open_file
from edgeguard.cli.output import emit, json_option, say
from edgeguard.ecg.origin import file_data
from edgeguard.errors import InputError

if TYPE_CHECKING:
    from edgeguard.attacks.campaign import Campaign, Tasks
    from edgeguard.attacks.walk import Attack
    from edgeguard.ecg.dataset import Dataset
    from edgeguard.runtime.session import OnnxModel

STATE = "state.npz"
"""Answers of an interrupted attack, in its folder."""


@click.command("attack-onnx")
@click.argument("model", metavar="[FILE.onnx]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--attack",
    "name",
    type=click.Choice(["smooth-geo", "rays-sap", "boundary", "hopskipjump"]),
    default="smooth-geo",
    show_default=True,
    help="smooth-geo: smallest smooth L2; rays-sap: smallest eps of a smooth perturbation; boundary: Lam et al.; "
    "hopskipjump: plain, for comparison.",
)
@click.option("--queries", type=click.IntRange(min=1), default=1000, show_default=True, help="Labels asked a record.")
@click.option("--samples", type=click.IntRange(min=1), default=64, show_default=True, help="Records to attack.")
@data_options
@click.option(
    "--split",
    "part",
    type=click.Choice(["test", "all"]),
    default="test",
    show_default=True,
    help="test: the part that the file's network was not trained on, where the file says which.",
)
@click.option("--target", metavar="CLASS", help="Turn every record into this class [default: any wrong one].")
@click.option(
    "--pairs",
    type=click.IntRange(min=1),
    help="Instead of --samples: so many records for every ordered pair of classes, each turned into the other class "
    "from a record of it.",
)
@click.option(
    "--smoothing",
    type=click.IntRange(min=0),
    help="boundary: samples of the Hanning window that smooths a random step; 0: none [default: 41].",
)
@click.option(
    "--high-hz", type=float, metavar="HZ", help="smooth-geo: highest frequency of a perturbation [default: 15]."
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    metavar="OTHER.onnx",
    help="Attack this file too, with the same records, seeds and budgets, and pair the results: fp32 against int8.",
)
@click.option(
    "--transfer",
    type=click.Path(path_type=Path),
    metavar="OTHER.onnx",
    multiple=True,
    help="Let this file name what fooled the first; may be given more than once.",
)
@click.option(
    "--white-box",
    is_flag=True,
    help="rays-sap: find the smallest eps by the file's own gradient too, through its twin, and compare; needs torch.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="processor cores",
    help="Threads that attack; results do not depend on it.",
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
    name: str,
    smoothing: int | None,
    high_hz: float | None,
    compare: Path | None,
    transfer: tuple[Path, ...],
    white_box: bool,
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Attack an ONNX file by asking it for labels, and nothing else.

    Works on any single-lead ECG classifier: what its file does not say is given by options.
    """
    from edgeguard.attacks.catalogue import make_attack
    from edgeguard.report.black_box import report_table, write_comparison, write_report

    if white_box and name != "rays-sap":
        raise InputError(f"--white-box: {name} makes L2 small, not eps; add --attack rays-sap")
    attack = make_attack(name, smoothing=smoothing, high_hz=high_hz)
    facts = {key: options.pop(key) for key in ("threads", "sampling_rate", "window", "unit", "classes")}
    opened = open_file(model, **facts)
    others = [open_file(path, **facts) for path in (*((compare,) if compare else ()), *transfer)]
    for other in others:
        if other.classes != opened.classes:
            theirs, ours = ",".join(other.classes), ",".join(opened.classes)
            raise InputError(f"{other.path}: its classes are {theirs}, not {ours}; name a file of the same classes")
    dataset, tasks = _tasks(opened, **options)
    campaign, seconds = _run(opened, dataset, tasks, attack, out, **options)
    result = write_report(campaign, out, seconds=seconds)
    lines = [report_table(result)]
    if white_box:
        result["white_box"] = _against_white_box(campaign)
        lines += ["", _white_box_line(result["white_box"])]
    if compare:
        other = others.pop(0)
        second, took = _run(other, dataset, tasks, attack, out / "compared", **options)
        result["compared"] = write_report(second, out / "compared", seconds=took)
        result["comparison"] = write_comparison(campaign, second, out)
        lines += ["", f"--- {other.path}", report_table(result["compared"]), "", result["comparison"]["sentence"]]
    if others:
        result["transfer"] = _transferred(campaign, others)
        lines += ["", _transfer_table(result["transfer"])]
    emit("attack-onnx", result, partial("\n".join, lines), as_json=as_json)


def _tasks(
    file: "OnnxModel",
    *,
    data: str | None,
    labels: Path | None,
    part: str,
    samples: int,
    pairs: int | None,
    target: str | None,
    seed: int,
    **_: Any,
) -> tuple["Dataset", "Tasks"]:
    """The records to attack, and what each is to be turned into."""
    from edgeguard.attacks.campaign import Tasks, choose_records, load_windows, targets_of
    from edgeguard.evaluation.transfer import choose_pairs

    if pairs and target:
        raise InputError("--target: --pairs turns records into every class; leave one of the two out")
    data, labels = file_data(file.path, data, labels)
    dataset = load_windows(file, data, labels=labels, seed=seed)
    if not pairs:
        records, origin = choose_records(file, dataset, part=part, samples=samples, seed=seed)
        say(f"records: {len(records)} of {origin}")
        return dataset, Tasks(records, targets_of(file, target, len(records)))
    pool, origin = choose_records(file, dataset, part=part, samples=len(dataset), seed=seed)
    chosen = choose_pairs(file, dataset, pool, count=pairs, seed=seed)
    say(f"pairs: {len(chosen)} of {origin}")
    return dataset, Tasks(chosen.originals, chosen.targets, chosen.starts(dataset))


def _run(
    file: "OnnxModel",
    dataset: "Dataset",
    tasks: "Tasks",
    attack: "Attack",
    out: Path,
    *,
    queries: int,
    seed: int,
    workers: int,
    **_: Any,
) -> tuple["Campaign", float]:
    """(what the attack on one file found, seconds)."""
    from tqdm import tqdm

    from edgeguard.attacks.campaign import attack_file

    state = out / STATE
    if state.exists():
        say(f"going on from {state}")
    started = time.perf_counter()
    total = len(tasks.records) * queries
    with tqdm(total=total, desc=file.path.name, unit="query", disable=None, leave=False) as bar:
        campaign = attack_file(
            file,
            dataset,
            tasks,
            attack=attack,
            queries=queries,
            seed=seed,
            workers=workers,
            state=state,
            progress=bar.update,
        )
    return campaign, time.perf_counter() - started


def _against_white_box(campaign: "Campaign") -> dict[str, Any]:
    from dataclasses import asdict

    from tqdm import tqdm

    from edgeguard.evaluation.against_white_box import against_white_box

    with tqdm(total=len(campaign.traces), desc="white box", unit="record", disable=None, leave=False) as bar:
        compared = against_white_box(campaign, progress=bar.update)
    return {**compared, "check": asdict(compared["check"])}


def _white_box_line(compared: dict[str, Any]) -> str:
    ratio, check = compared["ratio"], compared["check"]
    alarm = {True: "", False: "MASKED: ", None: "not to be told: "}[check["holds"]]
    return (
        f"white box  labels alone need {ratio['median']:.2f} times the L-inf that SAP by the gradient needs "
        f"(quartiles {ratio['low_quartile']:.2f} to {ratio['high_quartile']:.2f}, n = {compared['n']})\n"
        f"           {alarm}{check['message']}"
    )


def _transferred(campaign: "Campaign", others: list["OnnxModel"]) -> list[dict[str, Any]]:
    """What the file attacked and the others make of the records that fooled it."""
    from edgeguard.attacks.campaign import witnesses_of
    from edgeguard.evaluation.transfer import judge_transfer, transfer_summary

    found = witnesses_of(campaign)
    originals, adversarial = found.original[:, None], found.adversarial[:, None]
    files = [campaign.model, *others]
    judged = judge_transfer(campaign.model, originals, adversarial, found.labels, files)
    return transfer_summary(judged, victim_sha256=campaign.model.sha256)


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
