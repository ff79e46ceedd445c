"""A reproduction's plan for people, and everything that it writes once its jobs are done."""

from collections import Counter
from pathlib import Path
from typing import Any

from edgeguard.defenses.budget import duration
from edgeguard.errors import InputError
from edgeguard.evaluation.reproduction.cluster import run_on_cluster
from edgeguard.evaluation.reproduction.collect import Collection
from edgeguard.evaluation.reproduction.local import run_graph
from edgeguard.evaluation.reproduction.prepare import Reproduction
from edgeguard.evaluation.reproduction.scope import Scope
from edgeguard.report.reproduction_figures import draw_lengths, draw_radii, draw_segment
from edgeguard.report.reproduction_tables import (
    Sheet,
    as_markdown,
    as_text,
    attack_sheets,
    black_box_sheet,
    strict_sheet,
)
from edgeguard.runtime.files import write_bytes, write_json
from edgeguard.runtime.typed_json import to_json

TABLES, SUMMARY = "tables.md", "summary.json"


def plan_summary(reproduction: Reproduction, seconds_a_unit: float) -> dict[str, Any]:
    """JSON-ready: what is there, what is left to do, and its cost here.

    Returns:
        {"jobs": {"total", "taken": finished before, "run"}, "networks": [{"defense", "seed", "taken": path of the run,
        "store" for one that an earlier call has trained, None for one to train}], "records", "forward_units",
        "seconds_a_unit", "hours", "to_run": [{"title", "forward_units"}]}.
    """
    left = reproduction.plan()
    networks = [
        {
            "defense": network.defense,
            "seed": network.seed,
            "taken": str(network.taken)
            if network.taken
            else "store"
            if reproduction.store.is_done(network.job)
            else None,
        }
        for network in reproduction.used()
    ]
    grid = reproduction.grid
    return {
        "jobs": {"total": len(left.done) + len(left.to_run), "taken": len(left.done), "run": len(left.to_run)},
        "networks": networks,
        "records": {"test": reproduction.tested, "tables": grid.judged, "strict_and_sweeps": grid.swept},
        "forward_units": left.cost_left,
        "seconds_a_unit": seconds_a_unit,
        "hours": left.cost_left * seconds_a_unit / 3600,
        "to_run": [{"title": job.name, "forward_units": job.cost} for job in left.to_run],
    }


def plan_text(summary: dict[str, Any]) -> str:
    """The plan as people read it."""
    jobs, records = summary["jobs"], summary["records"]
    where = {str(Path(n["taken"]).parent) for n in summary["networks"] if n["taken"] not in (None, "store")}
    taken = [_named(n["defense"], n["seed"]) for n in summary["networks"] if n["taken"] is not None]
    train = [_named(n["defense"], n["seed"]) for n in summary["networks"] if n["taken"] is None]
    kinds = Counter(job["title"].split(":")[0].split(" ")[0] for job in summary["to_run"])
    work = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    pace = 1000 * summary["seconds_a_unit"]
    lines = [
        f"records   {records['tables']} of {records['test']} test records for the tables, "
        f"{records['strict_and_sweeps']} of them for the strict profile and the sweeps over eps",
        f"taken     {', '.join(taken) or 'no network'}" + (f" (from {', '.join(sorted(where))})" if where else ""),
        f"to train  {', '.join(train) or 'nothing'}",
        f"jobs      {jobs['total']}: {jobs['taken']} finished, {jobs['run']} to run" + (f" ({work})" if work else ""),
        f"cost      {summary['forward_units']:,.0f} forward units, {pace:.3g} ms each in one process as busy as this "
        f"machine is now: about {duration(3600 * summary['hours'])}",
    ]
    return "\n".join(lines)


def run_jobs(reproduction: Reproduction, *, cluster: str | None = None, workers: int | None = None) -> None:
    """Do what is left: in this process, or by so many others, or on the cluster of a dask scheduler.

    Raises InputError, or JobError which is one, where a job cannot be done; what is done stays done.
    """
    if cluster is not None and workers is not None:
        raise InputError("--workers: a cluster has workers of its own; leave the option out, or --cluster")
    if cluster is None and workers is None:
        run_graph(reproduction.jobs, reproduction.store)
    else:
        count = workers or 2
        gpus = count if reproduction.setting.device == "cuda" else 0
        run_on_cluster(reproduction.jobs, reproduction.store, address=cluster, workers=count, gpus=gpus)


def write_results(reproduction: Reproduction, plan: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write the tables (Markdown, JSON each), the figures (PNG, SVG, and the points of curves as JSON), the summary.

    Args:
        plan: that was made before, for the summary.

    Returns:
        {"plan", "tables": name -> table, "paths": name -> path, "left_out": name of a figure -> why}, JSON-ready, which
        is what the summary holds.

    Raises InputError when a file cannot be written.
    """
    found, scope = reproduction.collect(), reproduction.scope
    tables = _tables(scope, found)
    paths = {}
    for name, table in tables.items():
        paths[name] = out / f"{name}.json"
        write_json(paths[name], to_json(table))
    if tables:
        paths["tables"] = out / TABLES
        write_bytes(paths["tables"], f"{_head(reproduction)}\n\n{as_markdown(_sheets(tables))}".encode())
    left_out = {}
    for number in scope.figures:
        drawn = _draw(number, found, reproduction, out)
        paths |= drawn
        if not drawn:
            left_out[f"figure{number}"] = "both attacks on the undefended network turn no record; raise --limit"
    paths["summary"] = out / SUMMARY
    written = {name: str(path) for name, path in paths.items()}
    results = {"plan": plan, "tables": tables, "paths": written, "left_out": left_out}
    write_json(paths["summary"], to_json({"schema": "edgeguard.reproduce/1", **results}))
    return results


def results_text(reproduction: Reproduction, results: dict[str, Any]) -> str:
    """The tables as people read them, and where everything is."""
    text = as_text(_sheets(results["tables"]))
    written = "\n".join(f"{name:<14}{path}" for name, path in {**results["paths"], **results["left_out"]}.items())
    return f"{text}\n\n\n{written}" if text else written


def command_line(reproduction: Reproduction) -> str:
    """What makes these results anew."""
    scope, setting = reproduction.scope, reproduction.setting
    listed = {"tables": scope.tables, "figures": scope.figures, "defenses": scope.defenses}
    parts = [f"--{name} {','.join(map(str, values))}" for name, values in listed.items() if values]
    parts += [f"--{name} {value}" for name, value in setting.options.items()]
    counts = {"seeds": scope.seeds, "limit": scope.limit, "sweep-limit": scope.sweep_limit}
    parts += [f"--{name} {value}" for name, value in counts.items() if value is not None]
    return " ".join(["edgeguard reproduce", *parts, f"--data {Path(reproduction.dataset.source).name}"])


def _tables(scope: Scope, found: Collection) -> dict[str, Any]:
    """Name -> table."""
    tables = {f"table{number}": found.table(number) for number in scope.tables}
    return {**tables, "strict": found.strict()} if scope.has_strict else tables


def _sheets(tables: dict[str, Any]) -> list[Sheet]:
    """What people read of them."""
    sheets: list[Sheet] = []
    for name, table in tables.items():
        if name == "strict":
            sheets.append(strict_sheet(table))
        else:
            number = int(name.removeprefix("table"))
            sheets += [black_box_sheet(table)] if number == 6 else attack_sheets(number, table)
    return sheets


def _draw(number: int, found: Collection, reproduction: Reproduction, out: Path) -> dict[str, Path]:
    data = found.figure(number)
    if data is None:
        return {}
    if number == 1:
        written = draw_segment(data, reproduction.dataset.sampling_rate, out)
    else:
        draw = draw_lengths if number in (3, 4) else draw_radii
        written = draw(number, data, out)
        write_json(out / f"figure{number}.json", to_json(data))
    return {f"figure{number}{path.suffix}": path for path in written}


def _head(reproduction: Reproduction) -> str:
    options, data = reproduction.setting.options, reproduction.dataset
    found = [
        [_named(n.defense, n.seed) for n in reproduction.used() if bool(n.taken) == taken] for taken in (True, False)
    ]
    networks = "; ".join(
        f"{how}: {', '.join(names)}"
        for how, names in zip(("taken as found", "trained here"), found, strict=True)
        if names
    )
    architecture = f"`{options['arch']}`, preset `{options['preset']}`"
    return "\n\n".join(
        [
            "## The ADT paper's evaluation (arXiv 2203.09487)",
            f"    {command_line(reproduction)}",
            f"{len(data):,} records of {Path(data.source).name}, {reproduction.tested} of them the test part "
            f"(split seed {reproduction.setting.split_seed}); {architecture}. The paper's "
            "own figures stand beside: means of five seeds of a 13-layer network of 5.5 M parameters, on most likely "
            "853 other records. Its clean scores are never printed, only implied by its drops.",
            f"Networks {networks}.",
        ]
    )


def _named(defense: str, seed: int) -> str:
    return f"{defense} seed {seed}"
