"""What an attacker finds who hears labels alone, and whether it is more than the gradient finds."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from edgeguard.attacks.campaign import Campaign, Tasks, attack_file, witnesses_of
from edgeguard.attacks.catalogue import make_attack
from edgeguard.attacks.scheduler import Trace
from edgeguard.attacks.witnesses import save_witnesses
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.audit.checks import records_to_decide
from edgeguard.evaluation.audit.result import BlackBox, Check, QueryPoint, Rate
from edgeguard.evaluation.audit.thresholds import Thresholds
from edgeguard.evaluation.audit.white_box import Judgements
from edgeguard.evaluation.intervals import rate
from edgeguard.runtime.session import OnnxModel
from edgeguard.runtime.system import processor_cores

ATTACK = "smooth-geo"
RADII_UV = (10.0, 50.0, 200.0, 1000.0)
"""Radii of the curve, beside the budgets of the audit."""


@dataclass(frozen=True)
class Attacked:
    """The attack, and how near it came to each record.

    Attributes:
        records: indices into the data set of the records that were attacked.
        linf_uv: their smallest L-inf distances; NaN where nothing was found.
    """

    summary: BlackBox
    records: tuple[int, ...]
    linf_uv: tuple[float, ...]


def attack_by_labels(
    file: OnnxModel,
    dataset: Dataset,
    index: np.ndarray,
    *,
    queries: int,
    eps_uv: Sequence[float],
    seed: int,
    out: Path,
    progress: Callable[[int], object] | None = None,
) -> Attacked:
    """Attack the records that the file has right, each with so many labels; writes `witnesses.npz` into `out`.

    Args:
        dataset: in the file's classes.

    Raises InputError for logits that are not numbers.
    """
    begin = time.perf_counter()
    campaign = attack_file(
        file,
        dataset,
        Tasks(index),
        attack=make_attack(ATTACK),
        queries=queries,
        seed=seed,
        workers=processor_cores(),
        state=out / "black-box-state.npz",
        progress=progress,
    )
    witnesses = out / "witnesses.npz"
    save_witnesses(witnesses, witnesses_of(campaign))
    verdict = campaign.found.meter.verdict()
    summary = BlackBox(
        attack=ATTACK,
        samples=len(campaign.records),
        skipped=campaign.skipped,
        queries=queries,
        seconds=time.perf_counter() - begin,
        masked=bool(verdict and verdict["masked"]),
        curve=query_curve(campaign.traces, queries, radii_uv=sorted({*RADII_UV, *eps_uv})),
        witnesses=witnesses.name,
    )
    return Attacked(summary, tuple(int(i) for i in _attacked(campaign)), tuple(_nearest(campaign.traces)))


def query_curve(traces: Sequence[Trace], budget: int, *, radii_uv: Sequence[float]) -> tuple[QueryPoint, ...]:
    """A point at 1, 2, 5, 10, ... labels and at the budget; medians over all records, infinite without a find."""
    counts = [step * 10**power for power in range(len(str(budget))) for step in (1, 2, 5)]
    points = []
    for queries in sorted({count for count in counts if count < budget} | {budget}) if traces else []:
        reached = np.array([trace.at(queries) for trace in traces])
        l2, linf = np.quantile(reached, 0.5, axis=0, method="higher").tolist()
        success = {
            f"{radius:g}": Rate(**rate(int((reached[:, 1] <= radius).sum()), len(reached))) for radius in radii_uv
        }
        points.append(QueryPoint(queries, l2, linf, success))
    return tuple(points)


def black_box_check(found: Attacked, judged: Judgements, form: str, index: np.ndarray, demands: Thresholds) -> Check:
    """The masking alarm: records that fall to labels alone, within a budget at which all white-box attacks fail.

    Args:
        form: of the audited file.
        index: records of the evaluations, in their order.
    """
    name, bar = "black_box_alarm", demands.black_box_share
    if not found.records:
        return Check(name, "black-box", None, None, None, "no record was attacked by labels: the file has none right")
    if found.summary.masked:
        reason = f"{ATTACK}: its probes vanish between the input's codes, and it tells nothing of this file"
        return Check(name, "black-box", None, None, None, reason)
    rows = np.searchsorted(index, found.records)
    linf = np.array(found.linf_uv)
    beaten = {
        eps: int(((evaluation.worst_case() == evaluation.labels)[rows] & (linf <= eps)).sum())
        for eps, evaluation in judged[form].items()
        if evaluation.gradients()
    }
    if not beaten:
        return Check(name, "black-box", None, None, None, "no white-box attack to hold the attack by labels against")
    eps = max(beaten, key=lambda budget: (beaten[budget], -budget))
    count, n = beaten[eps], len(rows)
    low, high = binomtest(count, n).proportion_ci(method="exact")
    holds = True if count / n <= bar else (False if low > bar else None)
    reason = f"labels alone fool {count} of {n} records within {eps:g} uV that no white-box attack fools"
    if holds is False:
        reason += "; the gradient is masked, and the worst case is worse than it looks"
    elif holds is None:
        reason += f": too few records to tell from {100 * bar:g} %"
    interval = Rate(count / n, float(low), float(high), n)
    needed = records_to_decide(interval, bar) if holds is None else None
    return Check(name, "black-box", holds, count / n, bar, reason, needed, None, interval.low, interval.high)


def _attacked(campaign: Campaign) -> np.ndarray:
    return campaign.records[list(campaign.found.traces)]


def _nearest(traces: Sequence[Trace]) -> list[float]:
    return [float(trace.linf[-1]) if trace.linf else float("nan") for trace in traces]
