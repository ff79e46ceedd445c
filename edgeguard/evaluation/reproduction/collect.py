"""Finished jobs to the tables and to what the figures show."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from edgeguard.attacks.kernels import smoothing_taps
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation.bootstrap import Resamples
from edgeguard.evaluation.reproduction.attack_jobs import kept_perturbation
from edgeguard.evaluation.reproduction.black_box_table import Reached, Said, black_box_table
from edgeguard.evaluation.reproduction.boundary_jobs import read_reached
from edgeguard.evaluation.reproduction.curves import Segment, curve
from edgeguard.evaluation.reproduction.graph import Job
from edgeguard.evaluation.reproduction.grid import Grid
from edgeguard.evaluation.reproduction.measurement import Measurement, read_measurement
from edgeguard.evaluation.reproduction.published import TABLES
from edgeguard.evaluation.reproduction.scope import (
    BASE,
    KERNELS,
    LENGTHS,
    RADII,
    SMOOTH_STEPS,
    Point,
    larger_step,
)
from edgeguard.evaluation.reproduction.store import Store
from edgeguard.evaluation.reproduction.tables import Panel, attack_table, worst_case

Of = Callable[[str, int], np.ndarray]
"""(defence, seed) to a fact of each record [N]."""
FULL = f"sap-{SMOOTH_STEPS}"
"""The predictions under SAP as in Tables 2 and 3."""


class Collection:
    """What the finished jobs of a grid say."""

    def __init__(self, grid: Grid, store: Store, dataset: Dataset) -> None:
        self._grid, self._store, self._dataset = grid, store, dataset
        self._classes = dataset.classes
        self._read: dict[str, Measurement] = {}

    def table(self, number: int) -> dict[str, Any]:
        """Rows of Tables 2 to 6."""
        if number == 6:
            return self._black_box()
        published = TABLES[number]
        craft = partial(self._grid.pgd, point=BASE, swept=False) if published.attack == "pgd" else self._grid.sap
        judged = self._judged(craft, published.situation)
        name = "pgd" if published.attack == "pgd" else FULL
        return attack_table(self._panel(self._saying(judged, name)), published)

    def strict(self) -> dict[str, Any]:
        """The worst case of the strict profile, and what it takes beyond the paper's attacks on the same records.

        `beyond_paper`: defence -> the share of those records that is right under both of the paper's attacks less that
        which is right under all of strict's; only where Tables 3 and 5 are both made.
        """
        grid, labels = self._grid, self._measured(self._grid.strict("none", 0)).labels

        def worst(defense: str, seed: int) -> np.ndarray:
            measured = self._measured(grid.strict(defense, seed))
            attacked = {name: said for name, said in measured.predicted.items() if name != "clean"}
            return worst_case(measured.labels, attacked)

        clean = self._every(self._saying(grid.strict, "clean"))
        panel = Panel(labels, self._classes, clean, self._every(worst), {})
        # The paper has no such table: the order is held against its hardest one, PGD in situation II.
        table = attack_table(panel, TABLES[5])
        for row in table["rows"]:
            row["paper"] = None
        if {3, 5} <= set(grid.scope.tables):
            table["beyond_paper"] = {name: self._beyond(name, panel) for name in grid.scope.defenses}
        return table

    def figure(self, number: int) -> Any:
        """What Figure 1 or 3 to 6 shows; None for Figure 1 where both attacks turn no record."""
        if number == 1:
            return self._segment()
        situation = "I" if number in (3, 5) else "II"
        return self._lengths(situation) if number in (3, 4) else self._radii(situation)

    def _segment(self) -> Segment | None:
        grid = self._grid
        pgd, sap = grid.pgd("none", 0, BASE, swept=False), grid.sap("none", 0)
        jobs = ((grid.clean("none", 0), "clean"), (pgd, "pgd"), (sap, FULL))
        said = np.stack([self._said(job, name) for job, name in jobs])
        measured = self._measured(pgd)
        flipped = (said[0] == measured.labels) & (said[1:] != measured.labels).all(0)
        if not flipped.any():
            return None
        place = int(flipped.argmax())
        record = int(measured.records[place])
        ecg, mask, _ = self._dataset.batch(np.array([record]))
        valid = mask[0, 0]
        deltas = [kept_perturbation(self._store.path(job), record, name) for job, name in ((pgd, "pgd"), (sap, FULL))]
        smoothed = np.convolve(deltas[1].astype(np.float64), smoothing_taps(KERNELS), mode="same")
        original = ecg[0, 0, valid]
        return Segment(
            self._dataset.names[record],
            original,
            original + deltas[0][valid],
            (original + smoothed[valid]).astype(np.float32),
            tuple(self._classes[label] for label in said[:, place]),
        )

    def _lengths(self, situation: str) -> dict[str, Any]:
        """Figures 3 and 4: SAP over t'; t' = 0 is PGD, and `smoothed` what PGD's end is once it is smoothed."""
        grid = self._grid
        pgd = self._judged(partial(grid.pgd, point=BASE, swept=False), situation)
        sap = self._judged(grid.sap, situation)
        labels = self._measured(pgd("none", 0)).labels
        draws = Resamples(labels, self._classes)
        lines, smoothed = {}, {}
        for defense in grid.scope.defenses:
            points = {0.0: self._seeds(self._saying(pgd, "pgd"), defense)}
            for steps in LENGTHS[1:]:
                points[float(steps)] = self._seeds(self._saying(sap, f"sap-{steps}"), defense)
            once = self._seeds(self._saying(sap, "sap-0"), defense)
            lines[defense] = curve(points, draws)
            smoothed[defense] = curve({0.0: once}, draws)
        return {"n": len(labels), "seeds": grid.scope.seeds, "lines": lines, "smoothed_once": smoothed}

    def _radii(self, situation: str) -> dict[str, Any]:
        """Figures 5 and 6: PGD over eps, with the paper's step and with one that reaches eps."""
        grid = self._grid
        some = self._judged(partial(grid.pgd, point=Point(RADII[-1]), swept=True), situation)
        records, labels = self._measured(some("none", 0)).records, self._measured(some("none", 0)).labels
        draws = Resamples(labels, self._classes)

        def line(defense: str, point_of: Callable[[float], Point]) -> dict[str, Any]:
            points = {}
            for eps in RADII:
                judged = self._judged(partial(grid.pgd, point=point_of(eps), swept=True), situation)
                said = [
                    self._measured(judged(defense, seed)).on(records).predicted["pgd"]
                    for seed in range(grid.scope.seeds)
                ]
                points[eps] = np.stack(said)
            return curve(points, draws)

        return {
            "n": len(labels),
            "seeds": grid.scope.seeds,
            "lines": {defense: line(defense, Point) for defense in grid.scope.defenses},
            "larger_step": {defense: line(defense, larger_step) for defense in grid.scope.defenses},
        }

    def _black_box(self) -> dict[str, Any]:
        grid = self._grid
        said: dict[str, list[Said]] = {}
        reached: dict[str, list[Reached]] = {}
        fooled = []
        for defense, seed in grid.files():
            pairs, l2 = read_reached(self._store.path(grid.boundary(defense, seed)))
            reached.setdefault(defense, []).append(Reached(pairs, l2[:, 0]))
            if defense == "none":
                fooled.append(int(np.isfinite(l2[:, -1]).sum()))
            for victim in grid.scope.undefended:
                if (defense, seed) != ("none", victim):
                    measured = self._measured(grid.boundary_judged_by(defense, seed, victim))
                    one = Said(victim, measured.labels, measured.predicted["clean"], measured.predicted["boundary"])
                    said.setdefault(defense, []).append(one)
        table = black_box_table(said, reached, classes=self._classes)
        return {"seeds": grid.scope.seeds, "victims": list(grid.scope.undefended), "fooled": fooled, **table}

    def _panel(self, attacked: Of) -> Panel:
        """What the tables' own records and clean scores make of predictions under attack."""

        clean, flat = (self._every(self._saying(self._grid.clean, name)) for name in ("clean", "zero-gradient"))
        labels = self._measured(self._grid.clean("none", 0)).labels
        return Panel(labels, self._classes, clean, self._every(attacked), flat)

    def _beyond(self, defense: str, panel: Panel) -> float:
        grid, labels = self._grid, panel.labels
        shares = []
        for seed in range(grid.scope.seeds):
            records = self._measured(grid.strict(defense, seed)).records
            jobs = ((grid.pgd(defense, seed, BASE, swept=False), "pgd"), (grid.sap(defense, seed), FULL))
            paper = {name: self._measured(job).on(records).predicted[name] for job, name in jobs}
            right = worst_case(labels, paper) == labels
            shares.append(float(right.mean() - (panel.attacked[defense][seed] == labels).mean()))
        return float(np.mean(shares))

    def _judged(self, craft: Callable[[str, int], Job], situation: str) -> Callable[[str, int], Job]:
        """(defence, seed) to the job that judges it in a situation, by the job that crafts on (defence, seed)."""
        if situation == "II":
            return craft
        return lambda defense, seed: self._grid.judged_by(defense, seed, craft("none", seed))

    def _every(self, of: Of) -> dict[str, np.ndarray]:
        """Defence -> [S, N]."""
        return {defense: self._seeds(of, defense) for defense in self._grid.scope.defenses}

    def _seeds(self, of: Of, defense: str) -> np.ndarray:
        return np.stack([of(defense, seed) for seed in range(self._grid.scope.seeds)])

    def _saying(self, job_of: Callable[[str, int], Job], name: str) -> Of:
        """What a network's job says of each record under one name."""
        return lambda defense, seed: self._said(job_of(defense, seed), name)

    def _said(self, job: Job, name: str) -> np.ndarray:
        return self._measured(job).predicted[name]

    def _measured(self, job: Job) -> Measurement:
        if job.key not in self._read:
            self._read[job.key] = read_measurement(self._store.path(job))
        return self._read[job.key]
