"""The figure of two files under one black-box attack: both query curves, and the ratio of their distances."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks.scheduler import Trace
from edgeguard.evaluation.perturbation import NORMS, Norm
from edgeguard.report.canvas import COLOURS, blank, plain, plain_numbers, save
from edgeguard.report.query_curve import draw_distances, query_axis, query_grid, reached_distances

_WIDEST = 20.0
"""Ratio beyond which the axis ends, either way: no record fooled on one side makes it 0 or infinite."""


def draw_comparison(
    comparison: dict[str, Any], first: Mapping[int, Trace], second: Mapping[int, Trace], path: Path
) -> None:
    """Write a PNG: left both files' distances, median and quartiles over the shared records, right the paired ratio.

    Args:
        comparison: what `edgeguard.evaluation.query_comparison.compare_traces` made of the two.
        first, second: its traces.

    Raises InputError when the file cannot be written.
    """
    figure = blank(11, 5)
    near, ratio = figure.subplots(1, 2)
    norm: Norm = comparison["norm"]
    budget = max((point["queries"] for point in comparison["curve"]), default=0)
    shared = [record for record in first if record in second]
    _draw_both(near, budget, norm, [([of[record] for record in shared]) for of in (first, second)], comparison)
    _draw_ratio(ratio, [(point["queries"], point[norm]["ratio"]) for point in comparison["curve"]])
    ratio.set_ylabel(f"{NORMS[norm]} distance, second file / first file")
    ratio.set_title(f"paired ratio, n = {comparison['n']} records", fontsize=10)
    for axes in (near, ratio):
        query_axis(axes, budget)
        plain(axes)
    claim, said, verdict = comparison["sentence"].rpartition("): ")
    lines = [f"{claim}{said}".rstrip(), verdict]
    figure.suptitle("\n".join(textwrap.fill(line, 120) for line in lines if line), fontsize=10)
    save(figure, path)


def _draw_both(
    axes: Any, budget: int, norm: Norm, files: Sequence[Sequence[Trace]], comparison: dict[str, Any]
) -> None:
    """Each file's distances on common axes."""
    grid = query_grid(budget)
    limits = []
    for which, traces, colour in zip(("first", "second"), files, COLOURS, strict=False):
        distances = reached_distances(traces, grid)[..., list(NORMS).index(norm)]
        draw_distances(axes, grid, distances, colour=colour, label=f"{which}: {comparison[which]}")
        if axes.get_yscale() == "log":
            limits.append(axes.get_ylim())
    if limits:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
        plain_numbers(axes.yaxis)
    axes.set_ylabel(f"{NORMS[norm]} distance, µV")
    axes.set_title("nearest adversarial record: median and quartiles", fontsize=10)


def _draw_ratio(axes: Any, ratios: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """(queries, ratio) with its 95 % interval, where it has one; one that goes to 0 or to infinity ends at the edge."""
    bounded = [(queries, ratio) for queries, ratio in ratios if ratio["low"] is not None]
    queries = [count for count, _ in bounded]
    value = np.array([np.nan if ratio["value"] is None else ratio["value"] for _, ratio in bounded])
    low = np.array([ratio["low"] for _, ratio in bounded])
    high = np.array([np.inf if ratio["high"] is None else ratio["high"] for _, ratio in bounded])
    inside = np.array([1.0, *value, *low, *high])
    inside = inside[(inside > 1 / _WIDEST) & (inside < _WIDEST)]
    bottom, top = inside.min() / 1.4, inside.max() * 1.4
    axes.set(yscale="log", ylim=(bottom, top))
    plain_numbers(axes.yaxis)
    axes.axhline(1, color="#606068", linewidth=0.9, linestyle=(0, (3, 3)), zorder=1, label="equally near")
    band = np.clip([low, high], bottom, top)
    axes.fill_between(queries, *band, color=COLOURS[3], alpha=0.18, linewidth=0)
    axes.plot(
        queries,
        np.clip(value, bottom, top),
        color=COLOURS[3],
        linewidth=1.8,
        marker="o",
        markersize=4,
        label="median and 95 % interval",
    )
    axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=2, fontsize=8)
