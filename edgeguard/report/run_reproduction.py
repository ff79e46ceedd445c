"""One reproduction of the ADT paper's evaluation, from what was named to tables and figures."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeguard.evaluation.reproduction.prepare import Setting, prepare, seconds_a_unit
from edgeguard.evaluation.reproduction.scope import DEFENSES, scope_of
from edgeguard.report.reproduction import plan_summary, plan_text, results_text, run_jobs, write_results
from edgeguard.runtime.telling import Say, log
from edgeguard.runtime.typed_json import IF_GIVEN, LEFT_OUT, from_json, to_json

SCHEMA = "edgeguard.reproduce/1"
SWEPT = 384
"""Records for the strict profile and the sweeps over eps, unless told."""


@dataclass(frozen=True)
class ReproductionResult:
    """What was planned, and what came of it.

    Attributes:
        plan: what was there, what was left to do, and its cost on this machine.
        tables: by name; none of a dry run.
        paths: of what was written, by name.
        left_out: figures that could not be drawn, and why.
        text: all of it for people; not in the JSON.
    """

    plan: dict[str, Any]
    tables: dict[str, Any]
    paths: dict[str, str]
    left_out: dict[str, str] | None = field(default=None, metadata=IF_GIVEN)
    schema: str = SCHEMA
    text: str = field(default="", metadata=LEFT_OUT, repr=False, compare=False)

    def to_json(self) -> dict[str, Any]:
        """What `edgeguard reproduce --json` prints."""
        made: dict[str, Any] = to_json(self)
        return made

    @classmethod
    def from_json(cls, value: Any) -> "ReproductionResult":
        """Read that again, or a summary.json; InputError where it is something else."""
        return from_json(cls, value, where=SCHEMA)

    def __repr__(self) -> str:
        tables = ", ".join(self.tables) or "none, a dry run"
        return f"ReproductionResult(tables: {tables}; {len(self.paths)} files)"


def reproduce_paper(
    *,
    tables: Sequence[int | str] = (2, 3, 4, 5, 6),
    figures: Sequence[int | str] = (1, 3, 4, 5, 6),
    only: Sequence[str] | None = None,
    defenses: Sequence[str] = DEFENSES,
    arch: str = "edge-m",
    preset: str = "fast",
    epochs: int | None = None,
    seeds: int = 1,
    data: str | Path | None = None,
    labels: str | Path | None = None,
    test_records: Sequence[str] | None = None,
    split_seed: int = 0,
    limit: int | None = None,
    sweep_limit: int | None = SWEPT,
    control: bool = False,
    runs: Sequence[str | Path] = (),
    dry_run: bool = False,
    cluster: str | None = None,
    workers: int | None = None,
    device: str = "cpu",
    out: str | Path = Path("runs/reproduce"),
    say: Say = log,
) -> ReproductionResult:
    """The ADT paper's evaluation: its tables and figures, the strict worst case and a control beside them.

    What is done stays done: the same call in the same folder goes on where it was stopped.

    Args:
        tables, figures: of the paper, by number.
        only: instead of both, names such as `table5` and `figure3`.
        defenses: rows; `none` is always needed.
        arch, preset, epochs: of what has to be trained.
        seeds: networks of each defence: seeds 0, 1, ...
        data, labels: records, and their reference CSV; None: the fetched ones, else synthetic.
        test_records: names of the records that make up the test part.
        split_seed: of train, validation and test parts.
        limit: judge at most so many test records, stratified; None: all.
        sweep_limit: the same for the strict profile and for the sweeps over eps.
        control: Table 6 with one seed: train an undefended network of seed 1 where none is at hand.
        runs: folders of finished runs to take, before those under `out`, `runs/` and the package's zoo.
        dry_run: plan only; nothing is written.
        cluster: address of a dask scheduler whose workers see `out` and the data.
        workers: so many processes of this machine.
        device: `cpu` or `cuda`.
        out: folder of tables, figures and all results.
        say: receives a line now and then.

    Raises InputError for anything that cannot be, and KeyboardInterrupt where it was interrupted.
    """
    scope = scope_of(
        tables=[str(number) for number in tables],
        figures=[str(number) for number in figures],
        only=only,
        defenses=defenses,
        seeds=seeds,
        limit=limit,
        sweep_limit=sweep_limit,
        control=control,
    )
    options = {"arch": arch, "preset": preset, **({} if epochs is None else {"epochs": epochs})}
    setting = Setting(
        options,
        None if data is None else str(data),
        None if labels is None else Path(labels),
        None if test_records is None else list(test_records),
        split_seed,
        device,
    )
    folder = Path(out)
    reproduction = prepare(scope, setting, runs=[Path(run) for run in runs], out=folder)
    dataset = reproduction.dataset
    say(f"data: {dataset.source}, {len(dataset)} records")
    pace = seconds_a_unit(arch, classes=len(dataset.classes), window=dataset.window, device=device)
    plan = plan_summary(reproduction, pace)
    if dry_run:
        return ReproductionResult(plan=plan, tables={}, paths={}, text=plan_text(plan))
    say(plan_text(plan))
    try:
        run_jobs(reproduction, cluster=cluster, workers=workers)
    except KeyboardInterrupt:
        say(f"interrupted; the same command goes on (results so far: {reproduction.store.root})")
        raise
    results = write_results(reproduction, plan, folder)
    return ReproductionResult(**results, text=results_text(reproduction, results))
