"""What people and machines read of a black-box attack on a file: figures, pictures, witnesses, and what they mean."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.black_box import settings
from edgeguard.attacks.campaign import Campaign, witnesses_of
from edgeguard.attacks.witnesses import save_witnesses
from edgeguard.evaluation.perturbation import Perturbation, perturbation, summarise
from edgeguard.evaluation.plausibility import amplitude_warnings, decision_warnings
from edgeguard.evaluation.query_comparison import compare_traces
from edgeguard.report.attack_result import SCHEMA
from edgeguard.report.comparison_figure import draw_comparison
from edgeguard.report.figures import AttackedRecord
from edgeguard.report.masking_meter import draw_meter, meter_table
from edgeguard.report.query_curve import EPS_UV, curve_table, draw_query_curve, query_counts, query_curve
from edgeguard.report.worst_record import draw_worst_record, worst_record
from edgeguard.runtime.files import write_json
from edgeguard.runtime.model_spec import PROBABILITIES


def write_report(campaign: Campaign, out: Path, *, seconds: float) -> dict[str, Any]:
    """Write witnesses.npz, curve.png, and where there is something to draw worst.png and masking.png, into a folder.

    Returns the figures, JSON-ready. Raises InputError when a file cannot be written.
    """
    model, norm = campaign.model, campaign.attack.norm
    title = f"{campaign.attack.name} attack on {model.path.name}"
    files = {"witnesses": out / "witnesses.npz", "figure": out / "curve.png"}
    save_witnesses(files["witnesses"], witnesses_of(campaign))
    draw_query_curve(
        campaign.traces,
        campaign.budget,
        files["figure"],
        title=title,
        labels=_attacked_labels(campaign),
        classes=model.classes,
        perturbations=_perturbations(campaign),
        first=norm,
    )
    worst = worst_record(campaign.found.traces, norm=norm)
    if worst is not None:
        files["worst"] = out / "worst.png"
        draw_worst_record(_attacked_record(campaign, worst, title), files["worst"])
    meter = campaign.found.meter
    if meter.verdict() is not None:
        files["meter"] = out / "masking.png"
        draw_meter(meter.table(), files["meter"], title=title, step_uv=model.input_step_uv)
    result = {**figures(campaign, seconds=seconds), **{name: str(path) for name, path in files.items()}}
    write_json(out / "result.json", result)
    return result


def figures(campaign: Campaign, *, seconds: float) -> dict[str, Any]:
    """What an attack found, JSON-ready.

    Args:
        seconds: that it took.
    """
    model, meter = campaign.model, campaign.found.meter
    return {
        "schema": SCHEMA,
        "model": str(model.path),
        "model_sha256": model.sha256,
        "attack": campaign.attack.name,
        "settings": settings(campaign.attack),
        "data": campaign.dataset.source,
        "seed": campaign.seed,
        "samples": len(campaign.records),
        "attacked": len(campaign.traces),
        "skipped": campaign.skipped,
        "queries": campaign.budget,
        "queries_made": int(campaign.found.ledger.sum()),
        "seconds": seconds,
        "ended": dict(Counter(trace.ended for trace in campaign.traces)),
        "curve": query_curve(
            campaign.traces, campaign.budget, labels=_attacked_labels(campaign), classes=model.classes
        ),
        "perturbation": summarise(_perturbations(campaign)),
        "masking": {"verdict": meter.verdict(), "table": meter.table(), "input_step_uv": model.input_step_uv},
        "findings": [*findings(campaign), *_implausible(campaign)],
    }


def _implausible(campaign: Campaign) -> list[str]:
    """What is implausible about the records and what the file calls them."""
    return [
        *amplitude_warnings(campaign.dataset, campaign.records),
        *decision_warnings(campaign.found.predicted, campaign.labels, campaign.model.classes),
    ]


def findings(campaign: Campaign) -> list[str]:
    """What a reader must know before he believes the distances, one line each."""
    lines = []
    traces, predicted = campaign.traces, campaign.found.predicted
    if campaign.model.spec.head == PROBABILITIES:
        lines.append("the file gives probabilities, not logits; a black-box attack needs its labels only")
    nothing = sum(trace.nearest_l2 is None for trace in traces)
    if len(predicted) > 1 and len(set(predicted.tolist())) == 1 and nothing == len(traces):
        name = campaign.model.classes[predicted[0]]
        lines.append(f"the file answers {name} to every record and every query: there may be nothing to find")
    elif nothing:
        lines.append(f"{nothing} of {len(traces)} records have no adversarial example within the budget")
    verdict = campaign.found.meter.verdict()
    if verdict is not None and verdict["masked"]:
        step = campaign.model.input_step_uv
        lines.append(
            f"MASKED: {verdict['identical']:.0%} of the probes land on input codes asked before, and the codes carry a "
            f"probe with a cosine of {verdict['fidelity']:.2f}: these distances measure the input step"
            f"{'' if step is None else f' of {step:g} uV'}, not robustness; use smooth-geo or rays-sap"
        )
    return lines


def report_table(result: dict[str, Any]) -> str:
    """`write_report`'s result for people."""
    each = 1e3 * result["seconds"] / max(result["queries_made"], 1)
    lines = [curve_table(result["curve"]), "", *_shape_lines(result["perturbation"])]
    if result["masking"]["table"]:
        lines += ["", meter_table(result["masking"]["table"], step_uv=result["masking"]["input_step_uv"])]
    lines += [
        "",
        f"attacked   {result['attacked']} records; {result['skipped']} skipped, wrong without attack",
        f"queries    {result['queries_made']} in {result['seconds']:.1f} s, {each:.2f} ms each",
        *(f"{name:<10} {result[name]}" for name in ("witnesses", "figure", "worst", "meter") if name in result),
        *(f"note       {line}" for line in result["findings"]),
    ]
    return "\n".join(lines)


def write_comparison(first: Campaign, second: Campaign, out: Path | None) -> dict[str, Any]:
    """The second file against the first under the same attack; writes comparison.png where a folder is given.

    Raises InputError when the file cannot be written.
    """
    compared = compare_traces(
        first.found.traces,
        second.found.traces,
        names=(first.model.path.name, second.model.path.name),
        queries=query_counts(first.budget),
        radii_uv=EPS_UV,
        norm=first.attack.norm,
        seed=first.seed,
    )
    blind = [one.model.path.name for one in (first, second) if (one.found.meter.verdict() or {}).get("masked")]
    if blind:
        compared["sentence"] += f"; but MASKED on {' and '.join(blind)}: the difference is the attack's, not the file's"
    if out is None:
        return compared
    figure = out / "comparison.png"
    draw_comparison(compared, first.found.traces, second.found.traces, figure)
    return {**compared, "figure": str(figure)}


def _attacked_labels(campaign: Campaign) -> np.ndarray:
    """int64: true classes of the records that were attacked."""
    return campaign.labels[list(campaign.found.traces)]


def _nearest(campaign: Campaign, row: int) -> np.ndarray | None:
    """The adversarial point [1, T] at the distance that the attack makes small; None where there is none."""
    trace = campaign.found.traces[row]
    return trace.nearest_l2 if campaign.attack.norm == "l2" else trace.nearest_linf


def _perturbations(campaign: Campaign) -> list[Perturbation]:
    """Of the records fooled, at the distance that the attack makes small."""
    _, mask, _ = campaign.dataset.batch(campaign.records)
    rate = campaign.model.sampling_rate
    return [
        perturbation(point, campaign.found.originals[row], mask[row], sampling_rate=rate)
        for row in campaign.found.traces
        if (point := _nearest(campaign, row)) is not None
    ]


def _attacked_record(campaign: Campaign, row: int, title: str) -> AttackedRecord:
    model, point = campaign.model, _nearest(campaign, row)
    assert point is not None
    _, mask, _ = campaign.dataset.batch(campaign.records[row : row + 1])
    real = mask[0, 0]
    return AttackedRecord(
        name=campaign.names[row],
        original=campaign.found.originals[row, 0][real],
        adversarial=point[0][real],
        sampling_rate=model.sampling_rate,
        said=model.classes[campaign.found.predicted[row]],
        says=model.classes[_answer(campaign, row, point)],
        title=title,
    )


def _answer(campaign: Campaign, row: int, point: np.ndarray) -> int:
    """The label of an adversarial point [1, T] as the attacker heard it, who wins ties."""
    logits = campaign.model.logits(point[None])[0]
    top = np.flatnonzero(logits == logits.max())
    wrong = top[top != campaign.labels[row]]
    if campaign.targets is not None and campaign.targets[row] in top:
        return int(campaign.targets[row])
    return int(wrong[0] if len(wrong) else top[0])


def _shape_lines(shape: dict[str, Any]) -> list[str]:
    """The perturbations' smoothness and bands, for people."""
    if not shape["n"]:
        return ["no record was fooled: no perturbation to describe"]
    rough = shape["smoothness_uv2"]
    low, high = rough["quartiles"]
    total = sum(band["median"] for band in shape["bands_uv2"].values()) or 1.0
    bands = ", ".join(f"{name} Hz {band['median'] / total:.0%}" for name, band in shape["bands_uv2"].items())
    return [
        f"smoothness  variance of first differences {rough['median']:.0f} uV^2 [{low:.0f}, {high:.0f}] (quartiles), "
        f"rms {shape['rms_uv']['median']:.0f} uV, n = {shape['n']}",
        f"power       {bands}",
    ]
