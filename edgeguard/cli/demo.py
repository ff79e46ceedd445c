"""edgeguard demo."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.output import emit, json_option, say
from edgeguard.report.rate_text import rate_text


@click.command("demo")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/demo"),
    show_default=True,
    help="Folder of runs, files and figures.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of weights, parts and attacks."
)
@click.option(
    "--records",
    type=click.IntRange(min=1),
    default=2400,
    show_default=True,
    help="Number of synthetic records; a tenth is the test part.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Number of epochs of every training stage.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=48,
    show_default=True,
    help="Number of records under black-box attack.",
)
@click.option(
    "--queries",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="Number of labels that the black-box attack asks for each record.",
)
@json_option
def command(out: Path, as_json: bool, **options: int) -> None:
    """All of it, small: train, export, stream and attack two networks on synthetic records.

    A demo that was interrupted goes on where it stopped, and finished runs are taken as they are. Exit code 1
    says that the defended file did not beat the undefended one by its margin.
    """
    import torch

    from edgeguard.report.demo import DemoOptions, run_demo
    from edgeguard.runtime.files import write_json

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        report = run_demo(out, DemoOptions(**options), device=device, say=say)
    except KeyboardInterrupt:
        say(f"interrupted; the same command goes on (in {out})")
        sys.exit(130)
    write_json(out / "demo.json", report)
    emit("demo", report, partial(_table, report), as_json=as_json)
    if not report["verdict"]:
        sys.exit(1)


def _table(report: dict[str, Any]) -> str:
    eps = report["eps_uv"]
    lines = [
        f"accuracy on {report['n']} unseen synthetic records, with 95 % intervals",
        "",
        f"{'defense':<9}{'judged as':<11}{'clean':<22}{f'PGD {eps:g} uV':<22}SAP {eps:g} uV",
    ]
    for name, network in report["networks"].items():
        for form in ("torch", "int8"):
            rates = "".join(f"{_rate(network[form], attack, eps):<22}" for attack in ("clean", "pgd", "sap"))
            lines.append(f"{name:<9}{form:<11}{rates}".rstrip())
    lines.append("")
    for name, network in report["networks"].items():
        lines += _deployed(name, network)
    lines += ["", *_zoo(report["zoo"], eps)]
    lines += ["", *(f"figure     {path}" for path in report["figures"].values()), "", _verdict(report)]
    return "\n".join(lines)


def _zoo(networks: dict[str, Any], eps: float) -> list[str]:
    """The zoo's networks, a line of scores and one of the stream each."""
    count = next(iter(networks.values()))["n"]
    lines = [f"from the zoo, trained on real records, int8, judged on {count} of these synthetic ones", ""]
    for name, network in networks.items():
        rates = "".join(f"{_rate(network['int8'], attack, eps):<22}" for attack in ("clean", "pgd", "sap"))
        lines.append(f"{name:<20}{rates}".rstrip())
    lines.append("")
    return lines + [_stream_line(f"{name:<20}", network["stream"]) for name, network in networks.items()]


def _stream_line(before: str, stream: dict[str, Any]) -> str:
    latency = stream["latency_ms"]
    return (
        f"{before}streamed {stream['signal_seconds']:.0f} s: {stream['decisions']} decisions, latency p50 "
        f"{latency['p50']:.2f} ms, p99 {latency['p99']:.2f} ms, {stream['deadline_misses']} deadlines missed"
    )


def _deployed(name: str, network: dict[str, Any]) -> list[str]:
    from edgeguard.report.query_curve import distance_text

    stream, box = network["stream"], network["black_box"]
    last = box["curve"][-1]
    return [
        f"{name:<9}{network['file']}",
        _stream_line(" " * 9, stream),
        f"{'':<9}smooth-geo attack on {box['attacked']} records, {box['queries']} labels each: median distance "
        f"{distance_text(last['median_l2_uv'])} uV (L2), {distance_text(last['median_linf_uv'])} uV (L-inf)",
    ]


def _rate(rows: list[dict[str, Any]], attack: str, eps: float) -> str:
    rate = next(row["accuracy"] for row in rows if row["name"] == attack and row["eps_uv"] in (0, eps))
    return rate_text(rate)


def _verdict(report: dict[str, Any]) -> str:
    apart = "do not touch" if report["intervals_apart"] else "touch"
    holds = "holds" if report["verdict"] else "does NOT hold"
    return (
        f"verdict    {holds}: in int8 and under SAP adt beats none by {100 * report['gain']:.0f} points, "
        f"n = {report['n']}, and the intervals {apart}"
    )
