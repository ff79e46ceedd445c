"""The query curve: how near a black-box attack comes, against the number of labels that it asked for."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.scheduler import Trace
from edgeguard.evaluation.intervals import rate
from edgeguard.runtime.files import write_bytes

EPS_UV = (10, 50, 200, 1000)
"""Radii, in microvolts, within which a record counts as fooled."""

_COLOURS = ("#1b4f72", "#2e86c1", "#d68910", "#922b21")
_SOFT = "#7f8c8d"


def query_counts(budget: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... up to the budget, and the budget itself; none for a budget of 0."""
    series = [step * 10**power for power in range(len(str(budget))) for step in (1, 2, 5)]
    return sorted({count for count in series if count < budget} | ({budget} if budget > 0 else set()))


def query_curve(traces: Sequence[Trace], budget: int) -> list[dict[str, Any]]:
    """One point a query count.

    Returns:
        [{"queries", "median_l2_uv", "median_linf_uv", "success"}], success: eps in microvolts -> rate of
        records fooled within it (L-inf), with its Wilson interval. A median is infinite where half of the
        records have not been fooled at all, and NaN where there are no records.
    """
    points = []
    for queries in query_counts(budget):
        reached = np.array([trace.at(queries) for trace in traces]).reshape(-1, 2)
        median = _quantiles(reached, 0.5)
        success = {str(eps): rate(int((reached[:, 1] <= eps).sum()), len(reached)) for eps in EPS_UV}
        points.append(
            {
                "queries": queries,
                "median_l2_uv": float(median[0]),
                "median_linf_uv": float(median[1]),
                "success": success,
            }
        )
    return points


def draw_query_curve(traces: Sequence[Trace], budget: int, path: Path, *, title: str) -> None:
    """Write a PNG: median and quartiles of the L2 distance, and the shares fooled, against queries.

    Raises InputError when the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=150, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    near, share = figure.subplots(1, 2)
    grid = np.unique(np.rint(np.geomspace(1, max(budget, 2), 200)).astype(int))
    reached = np.array([[trace.at(queries) for trace in traces] for queries in grid]).reshape(len(grid), -1, 2)
    _draw_distance(near, grid, reached[..., 0])
    _draw_success(share, grid, reached[..., 1])
    for axes in (near, share):
        axes.set(xscale="log", xlabel="queries a record", xlim=(1, max(budget, 2)))
        axes.grid(color="#ecf0f1", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}, n = {len(traces)}", fontsize=11)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(path, image.getvalue())


def _draw_distance(axes: Any, grid: np.ndarray, l2: np.ndarray) -> None:
    low, median, high = _finite([_quantiles(l2.T, share) for share in (0.25, 0.5, 0.75)])
    axes.fill_between(grid, low, high, color=_COLOURS[1], alpha=0.2, linewidth=0, step="post", label="quartiles")
    axes.plot(grid, median, color=_COLOURS[0], linewidth=1.8, drawstyle="steps-post", label="median")
    axes.set(ylabel="L2 distance, microvolts", title="distance of the nearest adversarial record")
    if np.isfinite(median).any():
        axes.set_yscale("log")
    _legend(axes)


def _draw_success(axes: Any, grid: np.ndarray, linf: np.ndarray) -> None:
    for eps, colour in zip(EPS_UV, _COLOURS, strict=True):
        fooled = (linf <= eps).sum(axis=1)
        rates = [rate(int(count), linf.shape[1]) for count in fooled]
        axes.plot(
            grid,
            [r["value"] for r in rates],
            color=colour,
            linewidth=1.8,
            drawstyle="steps-post",
            label=f"within {eps} µV",
        )
        axes.fill_between(
            grid,
            [r["low"] for r in rates],
            [r["high"] for r in rates],
            color=colour,
            alpha=0.12,
            linewidth=0,
            step="post",
        )
    axes.set(ylabel="share of records fooled", ylim=(0, 1.02), title="success by L-inf radius, 95 % intervals")
    _legend(axes)


def _legend(axes: Any) -> None:
    """Below the axes, where it hides no curve."""
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=4, fontsize=8)


def _quantiles(values: np.ndarray, share: float) -> np.ndarray:
    """Quantile over the first axis without interpolation towards infinity; NaN where that axis is empty."""
    if not len(values):
        return np.full(values.shape[1:], np.nan)
    return np.asarray(np.quantile(values, share, axis=0, method="higher"))


def _finite(curves: list[np.ndarray]) -> list[np.ndarray]:
    return [np.where(np.isfinite(curve), curve, np.nan) for curve in curves]
