"""edgeguard reproduce."""

import sys
from pathlib import Path
from typing import Any

import click

from edgeguard.cli.options import data_options, listed, read_lines, registering
from edgeguard.cli.output import emit, json_option, say
from edgeguard.cli.sections import sectioned

_SWEPT = 384


@click.command(
    "reproduce",
    cls=sectioned(
        {
            "What is reproduced": ("tables", "figures", "only", "defenses", "seeds", "control"),
            "Networks": ("arch", "preset", "epochs", "runs"),
            "Records": ("limit", "sweep_limit"),
            "Machine": ("dry_run",),
        }
    ),
)
@click.option("--tables", default="2,3,4,5,6", show_default=True, help="Tables of the paper.")
@click.option("--figures", default="1,3,4,5,6", show_default=True, help="Figures of the paper.")
@click.option("--only", help="Tables and figures by name, instead of both options: table5,figure3.")
@click.option(
    "--defenses",
    default="none,jr,nsr,dd,at,init-adt,dist-adt,adt",
    show_default=True,
    callback=registering("defense"),
    help="Rows of the tables, none among them; also at-long, at-smooth, trades, and MODULE:NAME of defences of your "
    "own, whose code then runs.",
)
@click.option(
    "--arch",
    default="edge-m",
    show_default=True,
    callback=registering("arch"),
    help="edge-s, edge-m, cnn13, or MODULE:FACTORY, whose code then runs.",
)
@click.option("--preset", default="fast", show_default=True, help="Preset of the networks: fast, full, lite or paper.")
@click.option("--epochs", type=int, help="Number of epochs of every stage [default: the preset's].")
@click.option(
    "--seeds", type=int, default=1, show_default=True, help="Number of networks of each defence: seeds 0, 1, ..."
)
@data_options
@click.option(
    "--test-records",
    type=click.Path(path_type=Path),
    help="File of record names, one a line, that make up the test part.",
)
@click.option(
    "--split-seed", type=int, default=0, show_default=True, help="Seed of the training, validation and test parts."
)
@click.option("--limit", type=int, help="Number of test records to judge, drawn by class [default: all].")
@click.option(
    "--sweep-limit",
    type=int,
    default=_SWEPT,
    show_default=True,
    help="Number of records for the strict profile and for the sweeps over eps (Figures 5 and 6).",
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
@click.option("--cluster", metavar="ADDRESS", help="Address of a dask scheduler whose workers see --out and the data.")
@click.option("--workers", type=click.IntRange(min=1), help="Number of processes on this machine.")
@click.option("--device", default="cpu", show_default=True, help="Device: cpu or cuda.")
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
    test_records: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """The ADT paper's evaluation: its tables and figures, the strict worst case and a control beside them."""
    from edgeguard.report.run_reproduction import reproduce_paper

    try:
        found = reproduce_paper(
            tables=listed(tables) or (),
            figures=listed(figures) or (),
            only=listed(only),
            defenses=listed(defenses) or (),
            test_records=None if test_records is None else read_lines(test_records),
            say=say,
            **options,
        )
    except KeyboardInterrupt:
        sys.exit(130)
    emit("reproduce", found.to_json(), found.text, as_json=as_json)
