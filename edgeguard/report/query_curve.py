"""The query curve: how near a black-box attack comes, against the number of labels that it asked for."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.scheduler import Trace
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.perturbation import NORMS, Norm, Perturbation
from edgeguard.report.canvas import COLOURS, GRID, blank, plain, plain_numbers, save

EPS_UV = (10, 50, 200, 1000)
"""Radii, in microvolts, within which a record counts as fooled."""

_QUARTILES = (0.25, 0.5, 0.75)


def query_counts(budget: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... up to the budget, and the budget itself; none for a budget of 0."""
    series = [step * 10**power for power in range(len(str(budget))) for step in (1, 2, 5)]
    return sorted({count for count in series if count < budget} | ({budget} if budget > 0 else set()))


def query_curve(
    traces: Sequence[Trace], budget: int, *, labels: np.ndarray | None = None, classes: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """One point a query count, JSON-ready.

    Args:
        traces: of the records that were attacked.
        budget: queries allowed a record.
        labels: int64 [N], the class of each trace's record as an index into `classes`; None: no `per_class`.
        classes: names.

    Returns:
        [{"queries", "median_l2_uv", "median_linf_uv", "quartiles_l2_uv", "quartiles_linf_uv", "success",
        "per_class"}]. A median or a quartile is a distance that a record has, the upper of two; None where so few
        records have been fooled that it is infinite, or there are no records. success: eps in microvolts -> rate of
        records fooled within it (L-inf), with its Wilson interval. per_class: class -> the same figures over its
        records.
    """
    counts = query_counts(budget)
    reached = reached_distances(traces, counts)
    members = {} if labels is None else {name: np.flatnonzero(labels == i) for i, name in enumerate(classes)}
    return [
        {
            "queries": queries,
            **_figures(now),
            "per_class": {name: _figures(now[index]) for name, index in members.items()},
        }
        for queries, now in zip(counts, reached, strict=True)
    ]


def curve_table(curve: Sequence[dict[str, Any]], *, per_class: bool = True) -> str:
    """What people read of a curve: a line a query count, and at the last count a line a class."""
    if not curve:
        return "no queries, no curve"
    radii = list(curve[0]["success"])
    lines = [
        f"{'':>7}  {'median distance, uV':>21}  share of records fooled within L-inf eps [95 % interval]",
        f"{'queries':>7}  {'L2':>10} {'L-inf':>10}  " + "  ".join(f"{f'{eps} uV':^17}" for eps in radii).rstrip(),
        *(_line(str(point["queries"]), point) for point in curve),
    ]
    last = curve[-1]
    if per_class and last["per_class"]:
        lines += [f"by class, after {last['queries']} queries"]
        lines += [_line(name, figures) for name, figures in last["per_class"].items()]
    return "\n".join(lines)


def distance_text(value: float | None) -> str:
    """A distance of a curve in microvolts, for people; "none" where too few records were fooled to have one."""
    return "none" if value is None else f"{value:,.0f}"


def draw_query_curve(
    traces: Sequence[Trace],
    budget: int,
    path: Path,
    *,
    title: str,
    labels: np.ndarray | None = None,
    classes: Sequence[str] = (),
    perturbations: Sequence[Perturbation] = (),
    first: Norm = "l2",
    radius_uv: float | None = None,
) -> None:
    """Write a PNG of an attack's course against queries.

    Distances with median and quartiles, success by radius with 95 % bands, and where their data are given: success by
    class, the power of the perturbations by band, and their smoothness.

    Args:
        labels, classes: as `query_curve` takes them.
        perturbations: of the records that were fooled.
        first: distance that the attack makes small; drawn first.
        radius_uv: L-inf radius of success by class; default the smallest of EPS_UV that fools half of the records in
            the end, or the largest.

    Raises InputError when the file cannot be written.
    """
    wide = labels is not None or len(perturbations) > 0
    rows = [["near", "beside", "radii"], ["class", "bands", "rough"]] if wide else [["near", "beside", "radii"]]
    figure = blank(14, 4.4 * len(rows))
    panels = figure.subplot_mosaic(rows)
    grid = query_grid(budget)
    reached = reached_distances(traces, grid)
    other: Norm = "linf" if first == "l2" else "l2"
    for name, norm, colour in (("near", first, COLOURS[0]), ("beside", other, COLOURS[3])):
        draw_distances(panels[name], grid, reached[..., list(NORMS).index(norm)], colour=colour)
        panels[name].set_ylabel(f"{NORMS[norm]} distance, µV")
        panels[name].set_title(f"nearest adversarial record, {NORMS[norm]}", fontsize=10)
    linf = reached[..., 1]
    _draw_success(panels["radii"], grid, {f"within {eps} µV": linf <= eps for eps in EPS_UV})
    panels["radii"].set_title("success by L-inf radius, 95 % intervals", fontsize=10)
    courses = ["near", "beside", "radii"]
    if wide:
        courses.append("class")
        radius = _telling_radius(linf[-1]) if radius_uv is None else radius_uv
        _draw_success(panels["class"], grid, _by_class(linf <= radius, labels, classes), banded=1)
        panels["class"].set_title(f"success within {radius:g} µV (L-inf), by class", fontsize=10)
        _draw_bands(panels["bands"], perturbations)
        _draw_roughness(panels["rough"], perturbations, first)
    for name in courses:
        query_axis(panels[name], budget)
    for axes in panels.values():
        plain(axes)
    figure.suptitle(f"{title}, n = {len(traces)}", fontsize=11)
    save(figure, path)


def query_grid(budget: int) -> np.ndarray:
    """Query counts that a curve is drawn at, evenly spaced on a logarithmic axis."""
    return np.unique(np.rint(np.geomspace(1, max(budget, 2), 160)).astype(int))


def query_axis(axes: Any, budget: int) -> None:
    """The horizontal axis of a curve."""
    axes.set(xscale="log", xlabel="queries a record", xlim=(1, max(budget, 2)))
    plain_numbers(axes.xaxis)
    axes.grid(color=GRID, linewidth=0.8)


def reached_distances(traces: Sequence[Trace], counts: Sequence[int] | np.ndarray) -> np.ndarray:
    """Distances [counts, records, (L2, L-inf)] in microvolts, infinite where a record is not fooled yet."""
    table = [[trace.at(int(queries)) for trace in traces] for queries in counts]
    return np.array(table, np.float64).reshape(len(counts), len(traces), 2)


def draw_distances(
    axes: Any, grid: np.ndarray, distances: np.ndarray, *, colour: str, label: str = "median, quartiles"
) -> None:
    """Median and quartiles over records of distances [grid, records] in microvolts, on a logarithmic axis.

    Where the upper quartile is infinite, its band runs off the top.
    """
    quartiles = _quartiles(distances.T)
    known = distances[np.isfinite(distances)]
    lower, median, upper = np.where(np.isfinite(quartiles), quartiles, np.nan)
    if not np.isfinite(lower).any():
        _empty(axes, "fewer than a quarter of the records were fooled")
        return
    unbounded = np.where(np.isposinf(quartiles[2]), 10 * known.max(), upper)
    axes.set_yscale("log")
    axes.fill_between(grid, lower, unbounded, color=colour, alpha=0.18, linewidth=0, step="post")
    axes.plot(grid, median, color=colour, linewidth=1.8, drawstyle="steps-post", label=label)
    axes.set_ylim(np.nanmin(lower) / 1.3, 1.3 * known.max())
    plain_numbers(axes.yaxis)
    _legend(axes)


def _figures(reached: np.ndarray) -> dict[str, Any]:
    """Distances and successes of records [n, (L2, L-inf)] at one query count."""
    lower, median, upper = _quartiles(reached)
    return {
        **{f"median_{norm}_uv": _finite(median[i]) for i, norm in enumerate(NORMS)},
        **{f"quartiles_{norm}_uv": [_finite(lower[i]), _finite(upper[i])] for i, norm in enumerate(NORMS)},
        "success": {str(eps): _rate(int((reached[:, 1] <= eps).sum()), len(reached)) for eps in EPS_UV},
    }


def _quartiles(values: np.ndarray) -> np.ndarray:
    """Lower quartile, median and upper quartile over the first axis; NaN where that axis is empty.

    Without interpolation, which would make a finite quartile infinite beside an infinite distance.
    """
    if not len(values):
        return np.full((len(_QUARTILES), *values.shape[1:]), np.nan)
    return np.asarray(np.quantile(values, _QUARTILES, axis=0, method="higher"))


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _rate(successes: int, n: int) -> dict[str, Any]:
    """A rate whose value is None where there are no records."""
    return rate(successes, n) if n else {**rate(0, 0), "value": None}


def _line(name: str, figures: dict[str, Any]) -> str:
    distances = " ".join(f"{distance_text(figures[f'median_{norm}_uv']):>10}" for norm in NORMS)
    shares = "  ".join(f"{_share(success):^17}" for success in figures["success"].values())
    return f"{name:>7}  {distances}  {shares}".rstrip()


def _share(rate: dict[str, Any]) -> str:
    return f"{rate['value']:.2f} [{rate['low']:.2f}, {rate['high']:.2f}]" if rate["n"] else "no record"


def _telling_radius(linf: np.ndarray) -> float:
    """The smallest of EPS_UV within which half of the records lie, or the largest."""
    return next((eps for eps in EPS_UV if 2 * (linf <= eps).sum() >= len(linf) > 0), EPS_UV[-1])


def _by_class(fooled: np.ndarray, labels: np.ndarray | None, classes: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of bool [grid, records]: all of them, and those of each class that has records."""
    groups = {"all": fooled}
    if labels is not None:
        groups |= {name: fooled[:, labels == i] for i, name in enumerate(classes)}
    return {f"{name}, n = {group.shape[1]}": group for name, group in groups.items() if group.shape[1]}


def _draw_success(axes: Any, grid: np.ndarray, groups: dict[str, np.ndarray], *, banded: int | None = None) -> None:
    """Shares of bool [grid, records] a group; 95 % bands for the first `banded` groups, None: for all."""
    for place, ((label, fooled), colour) in enumerate(zip(groups.items(), COLOURS, strict=False)):
        counts = fooled.sum(axis=1).tolist()
        known = {count: rate(count, fooled.shape[1]) for count in set(counts)}
        rates = [known[count] for count in counts]
        value, low, high = ([r[key] for r in rates] for key in ("value", "low", "high"))
        axes.plot(grid, value, color=colour, linewidth=1.8, drawstyle="steps-post", label=label)
        if banded is None or place < banded:
            axes.fill_between(grid, low, high, color=colour, alpha=0.12, linewidth=0, step="post")
    axes.set(ylabel="share of records fooled", ylim=(0, 1.02))
    _legend(axes)


def _draw_bands(axes: Any, perturbations: Sequence[Perturbation]) -> None:
    """Root mean square of each band: median and quartiles over records."""
    axes.set_title("perturbation by band: median and quartiles", fontsize=10)
    if not perturbations:
        return _empty(axes, "no record was fooled")
    names = list(perturbations[0].bands_uv2)
    rms = np.sqrt([list(one.bands_uv2.values()) for one in perturbations])
    lower, median, upper = _quartiles(rms)
    axes.bar(names, median, color=COLOURS[5], width=0.62)
    axes.errorbar(
        names, median, (median - lower, upper - median), fmt="none", color="#1c1c28", linewidth=1.1, capsize=4
    )
    axes.set(xlabel="hertz", ylabel="rms, µV", ylim=(0, None))
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)


def _draw_roughness(axes: Any, perturbations: Sequence[Perturbation], norm: Norm) -> None:
    """Smoothness of each record's perturbation against its size."""
    axes.set_title("smoothness, a dot a record; lower is smoother", fontsize=10)
    if not perturbations:
        return _empty(axes, "no record was fooled")
    size = [getattr(one, f"{norm}_uv") for one in perturbations]
    rough = np.array([one.smoothness_uv2 for one in perturbations])
    middle = float(np.median(rough))
    axes.scatter(size, rough, s=16, color=COLOURS[0], alpha=0.55, linewidth=0)
    axes.axhline(middle, color=COLOURS[1], linewidth=1.3, label=f"median {middle:,.3g} µV²")
    axes.set(xlabel=f"{NORMS[norm]} distance, µV", ylabel="variance of first differences, µV²", xscale="log")
    plain_numbers(axes.xaxis)
    if (rough > 0).all():
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
    axes.grid(color=GRID, linewidth=0.8)
    _legend(axes)


def _empty(axes: Any, why: str) -> None:
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", va="center", color="#7f8c8d", fontsize=9)
    axes.set(xticks=[], yticks=[])


def _legend(axes: Any) -> None:
    """Below the axes, where it hides no curve."""
    if axes.get_legend_handles_labels()[0]:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14)}
        axes.legend(**place, ncols=4, fontsize=8, frameon=False, columnspacing=1.2, handlelength=1.3)
