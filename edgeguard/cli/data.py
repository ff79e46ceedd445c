"""`edgeguard data`: look at records, download the CinC-2017 set, write synthetic records."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeguard.cli.options import adapter_options
from edgeguard.cli.output import emit, json_option, say

if TYPE_CHECKING:
    from edgeguard.ecg.summary import ClassSummary, Summary


@click.group(name="data")
def command() -> None:
    """Look at records, download the CinC-2017 set, write synthetic records."""


@command.command()
@click.argument("source", required=False)
@click.option("--labels", type=click.Path(path_type=Path), help="Reference CSV to use instead of its own.")
@adapter_options
@click.option("--seed", default=0, show_default=True, help="Seed of synthetic records.")
@click.option(
    "--picture",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("edgeguard-records.png"),
    show_default=True,
    help="PNG of one typical record a class.",
)
@click.option("--no-picture", is_flag=True, help="Write no PNG.")
@json_option
def info(
    source: str | None,
    labels: Path | None,
    label_map: dict[str, str] | None,
    lead: str | None,
    seed: int,
    picture: Path,
    no_picture: bool,
    as_json: bool,
) -> None:
    """Counts, lengths, padding, amplitude and duplicates of SOURCE, and a picture of one record a class.

    SOURCE is synthetic[:N], cinc2017 (the fetched set), a CinC-2017 zip or folder, or a folder of WFDB or CSV
    records with REFERENCE-v3.csv inside or beside. By default the fetched set if it is there, else synthetic.
    """
    from edgeguard.ecg.arrays import check_labelled
    from edgeguard.ecg.record import Record
    from edgeguard.ecg.sources import load_dataset
    from edgeguard.ecg.summary import summarise

    dataset = load_dataset(source, labels=labels, seed=seed, label_map=label_map, lead=lead)
    check_labelled(dataset)
    for note in dataset.notes:
        say(f"note: {note}")
    summary = summarise(dataset)
    if not no_picture:
        from edgeguard.report.records import draw_records

        draw_records(
            [
                Record(dataset.names[i], dataset.windows[i, left : left + dataset.length[i]], label=name)
                for name, i in summary.typical.items()
                for left in [dataset.left[i]]
            ],
            picture,
        )
        say(f"picture: {picture}")
    result = {
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "sampling_rate": dataset.sampling_rate,
        "window": dataset.window,
        **asdict(summary),
        "left_out": dict(dataset.left_out),
        "notes": list(dataset.notes),
        "picture": None if no_picture else str(picture),
    }
    title = f"{dataset.source}: {dataset.sampling_rate:g} Hz, windows of {dataset.window} samples"
    emit("data-info", result, lambda: f"{title}\n{_table(summary)}", as_json=as_json)


@command.command()
@click.option("--url", help="Folder on a server that holds the files, instead of PhysioNet's.")
@json_option
def fetch(url: str | None, as_json: bool) -> None:
    """Download the CinC-2017 training records (99 MB) to the cache; a cut download is resumed.

    Afterwards `--data cinc2017` names them, and they are the default of every command.
    """
    from edgeguard.ecg.download import PHYSIONET
    from edgeguard.ecg.download import fetch as download

    path = download(url or PHYSIONET)
    emit("data-fetch", {"path": str(path)}, f"{path}\nuse it as --data cinc2017", as_json=as_json)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--records", "-n", type=click.IntRange(min=1), default=1600, show_default=True, help="Number of records.")
@click.option("--seed", default=0, show_default=True, help="Seed; the same one gives the same records.")
@json_option
def synth(folder: Path, records: int, seed: int, as_json: bool) -> None:
    """Write synthetic records to FOLDER as CinC 2017 has them: --data and any WFDB tool read them."""
    from edgeguard.ecg.cinc_writer import write_cinc
    from edgeguard.ecg.sources import iter_records

    names = write_cinc(folder, iter_records(f"synthetic:{records}", seed=seed))
    emit(
        "data-synth",
        {"folder": str(folder), "records": len(names), "seed": seed},
        f"{len(names)} records in {folder}; use it as --data {folder}",
        as_json=as_json,
    )


def _table(summary: "Summary") -> str:
    from edgeguard.ecg.record import CLASS_NAMES

    head = (
        f"{'class':<12} {'records':>7} {'share':>7}  {'seconds (min median max)':>24} {'padded':>7}"
        f" {'cut':>5}  {'RMS uV (min median max)':>24}  {'peak uV (median max)':>20}"
    )
    total = summary.total.records
    rows = [_row(f"{one.name} {CLASS_NAMES.get(one.name, '')}".strip(), one, total) for one in summary.classes]
    lines = [head, *rows, _row("all", summary.total, total)]
    lines.append(f"padding: {summary.padding:.1%} of all samples")
    lines.append(f"duplicates: {_groups(summary.duplicates)}")
    if summary.conflicts:
        lines.append(f"duplicates with different labels: {_groups(summary.conflicts)}")
    return "\n".join(lines)


def _row(name: str, one: "ClassSummary", total: int) -> str:
    seconds = f"{one.seconds.low:.1f} {one.seconds.median:6.1f} {one.seconds.high:6.1f}"
    rms = f"{one.rms.low:.0f} {one.rms.median:6.0f} {one.rms.high:6.0f}"
    peak = f"{one.peak.median:.0f} {one.peak.high:7.0f}"
    return (
        f"{name:<12} {one.records:>7} {one.records / total:>7.1%}  {seconds:>24} {one.padded:>7} {one.cut:>5}"
        f"  {rms:>24}  {peak:>20}"
    )


def _groups(groups: list[tuple[str, ...]]) -> str:
    shown = "; ".join(" = ".join(group) for group in groups[:5])
    more = f" and {len(groups) - 5} more" if len(groups) > 5 else ""
    return f"{len(groups)} groups ({shown}{more})" if groups else "none"
