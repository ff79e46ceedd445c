"""edgeguard reproduce."""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import data_options, listed, read_lines
from edgeguard.cli.output import emit, json_option, say

_SWEPT = 384


@click.command("reproduce")
@click.option("--tables", default="2,3,4,5,6", show_default=True, help="Any of the paper's tables.")
@click.option("--figures", default="1,3,4,5,6", show_default=True, help="Any of its figures.")
@click.option("--only", help="Instead of both: names such as table5,figure3.")
@click.option(
    "--defenses",
    default="none,jr,nsr,dd,at,init-adt,dist-adt,adt",
    show_default=True,
    help="Rows; none is always needed.",
)
@click.option("--arch", default="edge-m", show_default=True, help="edge-s, edge-m, cnn13 or MODULE:FACTORY.")
@click.option("--preset", default="fast", show_default=True, help="Of what has to be trained: fast, lite or paper.")
@click.option("--epochs", type=int, help="Epochs of every stage [default: the preset's].")
@click.option("--seeds", type=int, default=1, show_default=True, help="Networks of each defence: seeds 0, 1, ...")
@data_options
@click.option(
    "--test-records",
    type=click.Path(path_type=Path),
    help="File of record names, one a line, that make up the test part.",
)
@click.option("--split-seed", type=int, default=0, show_default=True, help="Of train, validation and test parts.")
@click.option("--limit", type=int, help="Judge at most so many test records, stratified [default: all].")
@click.option(
    "--sweep-limit",
    type=int,
    default=_SWEPT,
    show_default=True,
    help="The same for the strict profile and for the sweeps over eps (Figures 5 and 6).",
)
@click.option(
    "--control",
    is_flag=True,
    help="Table 6 with one seed: train an undefended network of seed 1 to be its control, where none is at hand.",
)
@click.option(
    "--runs",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Folder of finished runs to take; may be given more than once. Also looked through: --out, runs/, the zoo.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and its cost on this machine; write nothing.")
@click.option("--cluster", metavar="ADDRESS", help="Of a dask scheduler whose workers see --out and the data.")
@click.option("--workers", type=click.IntRange(min=1), help="So many processes of this machine.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/reproduce"),
    show_default=True,
    help="Folder of tables, figures and all results; the same command there goes on where it was stopped.",
)
@json_option
def command(
    tables: str,
    figures: str,
    only: str | None,
    defenses: str,
    arch: str,
    preset: str,
    epochs: int | None,
    data: str | None,
    labels: Path | None,
    test_records: Path | None,
    split_seed: int,
    runs: tuple[Path, ...],
    dry_run: bool,
    cluster: str | None,
    workers: int | None,
    device: str,
    out: Path,
    as_json: bool,
    **scope: Any,
) -> None:
    """The ADT paper's evaluation: its tables and figures, the strict worst case and a control beside them."""
    from edgeguard.evaluation.reproduction.prepare import Setting, prepare, seconds_a_unit
    from edgeguard.evaluation.reproduction.scope import scope_of
    from edgeguard.report.reproduction import plan_summary, plan_text, results_text, run_jobs, write_results

    wanted = scope_of(
        tables=listed(tables), figures=listed(figures), only=listed(only), defenses=listed(defenses), **scope
    )
    names = read_lines(test_records) if test_records else None
    options = {"arch": arch, "preset": preset, **({} if epochs is None else {"epochs": epochs})}
    setting = Setting(options, data, labels, names, split_seed, device)
    reproduction = prepare(wanted, setting, runs=runs, out=out)
    dataset = reproduction.dataset
    say(f"data: {dataset.source}, {len(dataset)} records")
    pace = seconds_a_unit(arch, classes=len(dataset.classes), window=dataset.window, device=device)
    plan = plan_summary(reproduction, pace)
    if dry_run:
        emit("reproduce", {"plan": plan, "tables": {}, "paths": {}}, plan_text(plan), as_json=as_json)
        return
    say(plan_text(plan))
    try:
        run_jobs(reproduction, cluster=cluster, workers=workers)
    except KeyboardInterrupt:
        say(f"interrupted; the same command goes on (results so far: {reproduction.store.root})")
        sys.exit(130)
    results = write_results(reproduction, plan, out)
    emit("reproduce", results, partial(results_text, reproduction, results), as_json=as_json)
