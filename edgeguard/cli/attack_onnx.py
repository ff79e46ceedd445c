"""edgeguard attack-onnx."""

import time
from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import data_options, file_data, model_options, open_file
from edgeguard.cli.output import emit, json_option, say


@click.command("attack-onnx")
@click.argument("model", metavar="[FILE.onnx]", type=click.Path(path_type=Path), required=False)
@click.option("--attack", type=click.Choice(["boundary"]), default="boundary", show_default=True)
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
    "--smoothing",
    type=click.IntRange(min=0),
    default=41,
    show_default=True,
    help="Samples of the Hanning window that smooths a random step; 0: none.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@model_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/attack-onnx"),
    show_default=True,
    help="Folder of witnesses.npz, curve.png and result.json.",
)
@json_option
def command(
    model: Path | None,
    attack: str,
    queries: int,
    samples: int,
    data: str | None,
    labels: Path | None,
    part: str,
    target: str | None,
    smoothing: int,
    seed: int,
    out: Path,
    as_json: bool,
    **file_facts: Any,
) -> None:
    """Attack an ONNX file by asking it for labels, and nothing else."""
    from tqdm import tqdm

    from edgeguard.attacks.boundary import BoundaryOptions
    from edgeguard.attacks.campaign import attack_file, choose_records, load_windows, save_witnesses
    from edgeguard.report.query_curve import draw_query_curve, query_curve
    from edgeguard.runtime.files import write_json

    opened = open_file(model, **file_facts)
    data, labels = file_data(opened.path, data, labels)
    dataset = load_windows(opened, data, labels=labels, seed=seed)
    records, origin = choose_records(opened, dataset, part=part, samples=samples, seed=seed)
    say(f"records: {len(records)} of {origin}")
    started = time.perf_counter()
    with tqdm(total=len(records) * queries, unit="query", disable=None, leave=False) as bar:
        campaign = attack_file(
            opened,
            dataset,
            records,
            queries=queries,
            target=target,
            seed=seed,
            options=BoundaryOptions(smoothing=smoothing),
            progress=bar.update,
        )
    seconds = time.perf_counter() - started
    witnesses, curve = out / "witnesses.npz", out / "curve.png"
    save_witnesses(campaign, witnesses)
    draw_query_curve(campaign.traces, queries, curve, title=f"{attack} attack on {opened.path.name}")
    result = {
        "model": str(opened.path),
        "model_sha256": opened.sha256,
        "attack": attack,
        "data": dataset.source,
        "samples": len(records),
        "attacked": len(campaign.traces),
        "skipped": campaign.skipped,
        "queries": queries,
        "queries_made": int(campaign.ledger.sum()),
        "seconds": seconds,
        "curve": query_curve(campaign.traces, queries),
        "witnesses": str(witnesses),
        "figure": str(curve),
    }
    write_json(out / "result.json", result)
    emit("attack-onnx", result, partial(_table, result), as_json=as_json)


def _table(result: dict[str, Any]) -> str:
    eps = list(result["curve"][0]["success"])
    lines = [
        f"{'':>7}  {'median distance, uV':>21}  share of records fooled within L-inf eps [95 % interval]",
        f"{'queries':>7}  {'L2':>10} {'L-inf':>10}  " + "  ".join(f"{f'{e} uV':^17}" for e in eps).rstrip(),
    ]
    for point in result["curve"]:
        rates = "  ".join(f"{_rate(point['success'][e]):^17}" for e in eps)
        distances = f"{point['median_l2_uv']:>10.0f} {point['median_linf_uv']:>10.0f}"
        lines.append(f"{point['queries']:>7}  {distances}  {rates}")
    each = 1e3 * result["seconds"] / max(result["queries_made"], 1)
    lines += [
        "",
        f"attacked   {result['attacked']} records; {result['skipped']} skipped, wrong without attack",
        f"queries    {result['queries_made']} in {result['seconds']:.1f} s, {each:.2f} ms each",
        f"witnesses  {result['witnesses']}",
        f"figure     {result['figure']}",
    ]
    return "\n".join(lines)


def _rate(rate: dict[str, Any]) -> str:
    if not rate["n"]:
        return "none"
    return f"{rate['value']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}]"
