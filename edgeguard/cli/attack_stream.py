"""edgeguard attack-stream."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeguard.cli.options import OneOf, adapter_options, data_options, model_options, open_file
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.sections import sectioned
from edgeguard.ecg.origin import Named, file_data
from edgeguard.errors import InputError
from edgeguard.report.rate_text import rate_text

if TYPE_CHECKING:
    from edgeguard.evaluation.stream_judge import Watch
    from edgeguard.runtime.session import OnnxModel


@click.command(
    "attack-stream",
    cls=sectioned(
        {
            "Attack": ("ways", "source", "eps", "alpha", "steps", "smooth_steps", "loss", "draws", "period"),
            "Watch": ("front_end", "stream", "hop"),
            "Records": ("records", "seconds"),
        }
    ),
)
@click.argument("model", metavar="[FILE.onnx]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--front-end",
    default="max30003",
    show_default=True,
    help="Front end between the skin and the model: ideal, max30003, ads1292 or ad8233-12bit.",
)
@click.option(
    "--craft",
    "ways",
    default="window,electrode",
    show_default=True,
    help="Ways to make the perturbation, with commas: on the model's samples, for windows one after another (window) "
    "or of any phase (window-eot); through the front end, likewise (electrode-aligned, electrode). The others are "
    "compared with the first.",
)
@click.option(
    "--source",
    default="twin",
    metavar="RUN|FILE|twin",
    show_default=True,
    help="Gradient that makes the perturbation: of the file's own differentiable copy (twin), or of a run or another "
    "file.",
)
@click.option(
    "--stream",
    type=click.Path(path_type=Path),
    metavar="STREAM.onnx",
    help="Streaming form of the file to judge on, at its own hop [default: the file itself, every hop].",
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
    "--records", type=int, default=8, show_default=True, help="Number of records to attack, at most, drawn by class."
)
@click.option(
    "--seconds",
    type=float,
    default=60.0,
    show_default=True,
    help="Length of each record, seconds; shorter records are left out.",
)
@click.option("--hop", type=float, default=1.0, show_default=True, help="Seconds between two decisions.")
@click.option(
    "--eps", type=float, default=10.0, show_default=True, help="Largest perturbation, microvolts at the skin."
)
@click.option("--alpha", type=float, help="Length of a step, microvolts [default: a tenth of eps].")
@click.option("--steps", type=int, default=20, show_default=True, help="Number of steps before smoothing.")
@click.option(
    "--smooth-steps", type=int, default=40, show_default=True, help="Number of steps on the smoothed perturbation."
)
@click.option("--loss", default="ce", show_default=True, help="Loss: ce, margin, dlr or rescaled.")
@click.option(
    "--draws", type=int, default=2, show_default=True, help="Number of windows, of any phase, that a step looks at."
)
@click.option("--period", type=float, help="Seconds after which the perturbation repeats [default: never].")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of draws, noise and the watch's phase.")
@model_options
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/attack-stream"),
    show_default=True,
    help="Folder of result.json and perturbations.npz.",
)
@json_option
def command(
    model: Path | None,
    front_end: str,
    ways: str,
    source: str,
    stream: Path | None,
    data: str | None,
    labels: Path | None,
    label_map: dict[str, str] | None,
    lead: str | None,
    part: str,
    records: int,
    seconds: float,
    hop: float,
    alpha: float | None,
    period: float | None,
    out: Path,
    as_json: bool,
    eps: float,
    steps: int,
    smooth_steps: int,
    loss: str,
    draws: int,
    seed: int,
    **file_facts: Any,
) -> None:
    """Attack a watch at the skin, through its front end, and judge every decision of the stream."""
    from dataclasses import asdict

    from tqdm import tqdm

    from edgeguard.attacks.campaign import load_windows
    from edgeguard.attacks.losses import check_losses
    from edgeguard.ecg.arrays import check_labelled
    from edgeguard.ecg.sources import iter_records
    from edgeguard.evaluation.stream_attack import (
        Settings,
        choose_streams,
        craft_all,
        crafting_network,
        judge_all,
        save_perturbations,
    )
    from edgeguard.evaluation.subject import file_subject
    from edgeguard.runtime.files import write_json
    from edgeguard.runtime.telling import no_bars

    settings = Settings(
        eps=eps,
        alpha=eps / 10 if alpha is None else alpha,
        steps=steps,
        smooth_steps=smooth_steps,
        loss=loss,
        draws=draws,
        period=period,
        seed=seed,
    )
    names = list(dict.fromkeys(name.strip() for name in ways.split(",")))
    opened = open_file(model, **file_facts)
    subject = file_subject(opened)
    check_losses([loss], classes=len(subject.classes))
    named = file_data(opened.path, Named(data, labels, label_map, lead))
    dataset = load_windows(opened, named)
    check_labelled(dataset)
    for note in dataset.notes:
        say(f"note: {note}")
    recordings = iter_records(named.data, labels=named.labels, lead=named.lead)
    watch = _watch(opened, front_end, dataset.sampling_rate, hop, stream, seed)
    streams, which = choose_streams(subject, dataset, recordings, seconds=seconds, count=records, part=part, seed=seed)
    say(f"data: {which}")
    network = crafting_network(subject, source, streams.ecg[..., : opened.window])
    with tqdm(total=len(names) * len(streams.names), unit=" records", disable=no_bars(), leave=False) as bar:
        found = craft_all(network, watch, streams, names, settings, progress=bar.update)
    result = {
        "model": str(opened.path),
        "stream": None if stream is None else str(stream),
        "data": dataset.source,
        "front_end": front_end,
        "source": source,
        **asdict(settings),
        **judge_all(watch, streams, found),
        "perturbations": str(out / "perturbations.npz"),
    }
    save_perturbations(out / "perturbations.npz", streams, found)
    write_json(out / "result.json", result)
    emit("attack-stream", result, partial(_table, result), as_json=as_json)


def _watch(
    model: "OnnxModel", front_end: str, source_rate: float, hop: float, stream: Path | None, seed: int
) -> "Watch":
    from edgeguard.ecg.front_end import find_front_end
    from edgeguard.evaluation.stream_judge import Watch, by_streaming
    from edgeguard.evaluation.zoo.located import located
    from edgeguard.firmware_sim.engine import hop_samples
    from edgeguard.runtime.streaming import open_stream

    sensor = find_front_end(front_end)
    if stream is None:
        return Watch(model, sensor, source_rate, hop=hop_samples(hop, model.sampling_rate), seed=seed)
    opened = open_stream(located(stream))
    if opened.metadata.window_sha256 != model.sha256:
        raise InputError(
            f"--stream {stream}: made from another file than {model.path}; export it with --streaming anew"
        )
    return Watch(model, sensor, source_rate, hop=opened.hop, decide=by_streaming(opened), seed=seed)


def _table(result: dict[str, Any]) -> str:
    clean = result["clean"]
    lines = [
        f"{result['model']} behind {result['front_end']}, {result['streams']} records of {result['seconds']:g} s, "
        f"{result['hops_per_stream']} decisions each",
        f"right without attack: {_rate(clean['hops'])} of decisions, {_rate(clean['records'])} of records",
        f"attacked with eps {result['eps']:g} uV at the skin; of what was right, turned wrong:",
        "",
        f"{'crafted':<20}{'decisions':<32}{'records':<28}{'the window crafted for':<28}",
    ]
    for row in result["attacks"]:
        success = row["success"]
        lines.append(
            f"{row['name']:<20}{_rate(success['hops']):<32}{_rate(success['records']):<28}{_rate(success['aligned']):<28}"
        )
    for pair in result["differences"]:
        lines.append(
            f"{pair['first']} less {pair['second']}: decisions {_difference(pair['hops'])}, "
            f"records {_difference(pair['records'])}"
        )
    return "\n".join([*lines, "", f"perturbations  {result['perturbations']}"])


def _rate(rate: dict[str, Any]) -> str:
    return f"{rate_text(rate)} n {rate['n']}" if rate["n"] else "none"


def _difference(pair: dict[str, Any]) -> str:
    return f"{pair['difference']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}]"
