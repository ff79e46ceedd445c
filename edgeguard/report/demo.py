"""The whole line on synthetic records: two networks trained, exported, streamed, attacked and compared.

Beside them the zoo's, trained on real records, on the same watch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch

from edgeguard.evaluation.evaluate import Evaluation, summary
from edgeguard.report.demo_network import (
    EPS_UV,
    PAPER_EPS_UV,
    DemoOptions,
    Deployed,
    Made,
    deploy,
    example,
    judge_file,
    judge_run,
    make,
)
from edgeguard.report.demo_zoo import NETWORKS, ZooOutcome, zoo_outcome
from edgeguard.report.figures import draw_attack, draw_query_curves, draw_robustness
from edgeguard.report.query_curve import query_curve
from edgeguard.runtime.processes import Job, run_jobs
from edgeguard.runtime.telling import Say

DEFENSES = ("none", "adt")
NEEDED_GAIN = 0.2
"""By which share of the records adt must beat none under SAP."""


@dataclass(frozen=True)
class Outcome:
    """One defence, from training to the attacked file.

    Attributes:
        made: run and file.
        torch, file: the network and the file, judged on the test part.
        deployed: the file in the simulator and under the black-box attack.
    """

    made: Made
    torch: Evaluation
    file: Evaluation
    deployed: Deployed


def run_demo(out: Path, options: DemoOptions, *, device: torch.device, say: Say) -> dict[str, Any]:
    """Run every step and write runs, files, event logs, witnesses and figures under `out`.

    The steps are jobs in two processes of one thread each (see `run_jobs`), which gives the same figures on any number
    of cores. Finished runs of the same settings in `out` are taken as they are, unfinished ones are gone on with.

    Returns:
        The JSON object of `edgeguard demo`.

    Raises InputError when `out` holds runs of other settings, or cannot be written, and where a process dies.
    """
    dataset, parts = options.data()
    say(f"records: {len(dataset)} synthetic, {len(parts.train)} to train on, {len(parts.test)} to test on")
    done = run_jobs(_jobs(out, options, device), say=say)
    outcomes = {
        name: Outcome(done[name], done[f"{name} torch"], _joined(name, done), done[f"{name} black box"])
        for name in DEFENSES
    }
    figures = {name: out / f"{name}.png" for name in ("attack", "robustness", "query_curve")}
    draw_attack(done["example"], figures["attack"])
    title = f"int8 files under white-box SAP, n = {len(parts.test)}, 95 % intervals"
    curves = {name: _robustness(outcome) for name, outcome in outcomes.items()}
    draw_robustness(curves, figures["robustness"], marked=PAPER_EPS_UV, title=title)
    traces = {name: outcome.deployed.traces for name, outcome in outcomes.items()}
    draw_query_curves(traces, options.queries, figures["query_curve"])
    return _report(outcomes, [done[name] for name in NETWORKS], len(parts.test), options, figures)


def _jobs(out: Path, options: DemoOptions, device: torch.device) -> dict[str, Job]:
    """Every step, the longest first: adt learns from a teacher of its own."""
    longest = DEFENSES[::-1]
    given: dict[str, Any] = {"options": options}
    jobs = {name: Job(partial(make, defense=name, out=out, device=device, **given)) for name in longest}
    for name, eps in product(longest, EPS_UV):
        jobs[_at(name, eps)] = Job(partial(judge_file, eps=eps, **given), (name,))
    jobs |= {name: Job(partial(zoo_outcome, name=name, out=out, **given)) for name in NETWORKS}
    jobs |= {f"{name} torch": Job(partial(judge_run, **given), (name,)) for name in longest}
    jobs |= {f"{name} black box": Job(partial(deploy, out=out, **given), (name,)) for name in longest}
    first = DEFENSES[0]
    return {**jobs, "example": Job(partial(example, **given), (first, _at(first, PAPER_EPS_UV)))}


def _at(name: str, eps: float) -> str:
    """The job that judges a defence's file at a radius."""
    return f"{name} int8 {eps:g} uV"


def _joined(name: str, done: Mapping[str, Any]) -> Evaluation:
    """A defence's file at all radii."""
    parts: list[Evaluation] = [done[_at(name, eps)] for eps in EPS_UV]
    return replace(parts[0], judged=[entry for part in parts for entry in part.judged])


def _robustness(outcome: Outcome) -> dict[float, dict[str, Any]]:
    """Radius in microvolts -> accuracy of the int8 file under SAP; radius 0 is the clean one."""
    rows = summary(outcome.file)["attacks"]
    return {row["eps_uv"]: row["accuracy"] for row in rows if row["name"] in ("clean", "sap")}


def _report(
    outcomes: Mapping[str, Outcome], ready: list[ZooOutcome], count: int, options: DemoOptions, figures: dict[str, Path]
) -> dict[str, Any]:
    networks = {name: _figures_of(outcome, options.queries) for name, outcome in outcomes.items()}
    rates = [_accuracy(networks[defense]["int8"], "sap") for defense in DEFENSES]
    return {
        "records": options.records,
        "n": count,
        "eps_uv": PAPER_EPS_UV,
        "networks": networks,
        "zoo": {one.name: one.to_json() for one in ready},
        **comparison(*rates),
        "figures": {name: str(path) for name, path in figures.items()},
    }


def comparison(undefended: dict[str, Any], defended: dict[str, Any]) -> dict[str, Any]:
    """{"gain", "intervals_apart", "verdict"} of two rates under attack.

    The verdict holds where the gain is at least NEEDED_GAIN and the defended one's interval lies above.
    """
    gain = defended["value"] - undefended["value"]
    apart = defended["low"] > undefended["high"]
    return {"gain": gain, "intervals_apart": apart, "verdict": gain >= NEEDED_GAIN and apart}


def _figures_of(outcome: Outcome, queries: int) -> dict[str, Any]:
    return {
        "run": str(outcome.made.run),
        "file": str(outcome.made.int8),
        "torch": summary(outcome.torch)["attacks"],
        "int8": summary(outcome.file)["attacks"],
        "stream": outcome.deployed.streamed.to_json(),
        "black_box": {
            "samples": outcome.deployed.samples,
            "attacked": len(outcome.deployed.traces),
            "queries": queries,
            "curve": query_curve(outcome.deployed.traces, queries),
        },
    }


def _accuracy(rows: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """Accuracy under an attack at the paper's radius, or clean."""
    rate: dict[str, Any] = next(
        row["accuracy"] for row in rows if row["name"] == name and row["eps_uv"] in (0.0, PAPER_EPS_UV)
    )
    return rate
