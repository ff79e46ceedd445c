"""What is measured for which table and figure of the ADT paper: its evaluation as a graph of jobs."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from edgeguard.evaluation.portfolio import portfolio
from edgeguard.evaluation.profiles import PROFILE_VERSIONS
from edgeguard.evaluation.reproduction.graph import Job
from edgeguard.evaluation.reproduction.scope import (
    ALPHA,
    BASE,
    EPS,
    KERNELS,
    LENGTHS,
    LOSS,
    OWN_QUERIES,
    PAIRS,
    QUERIES,
    SMOOTH_STEPS,
    STEPS,
    STRICT_EPS,
    Point,
    Scope,
    curve_points,
)

_ATTACK, _BOUNDARY = (
    "edgeguard.evaluation.reproduction.attack_jobs",
    "edgeguard.evaluation.reproduction.boundary_jobs",
)
_EXPORT_UNITS = 600
"""Forward passes that an export's checks take, roughly."""


class Grid:
    """The jobs of a scope. Asked twice, a method gives equal jobs: the same work, and the same folder.

    Args:
        networks: (defence, seed) to the job that has the network.
        about: of the records, from `about_records`.
        records: how many test records there are.
        hints, resources: of every job on a network.
    """

    def __init__(
        self,
        scope: Scope,
        networks: Callable[[str, int], Job],
        about: dict[str, Any],
        *,
        records: int,
        hints: dict[str, Any],
        resources: Mapping[str, float],
    ) -> None:
        self.scope = scope
        self._network, self._about, self._hints, self._resources = networks, about, hints, resources
        self.judged = min(scope.limit or records, records)
        self.swept = min(scope.sweep_limit or self.judged, self.judged)
        self._all = records

    def jobs(self) -> list[Job]:
        """Everything that the scope needs, each job once."""
        wanted = [
            job for seed in range(self.scope.seeds) for name in self.scope.defenses for job in self._of(name, seed)
        ]
        if 6 in self.scope.tables:
            wanted += self._black_box()
        return list(dict.fromkeys(wanted))

    def clean(self, defense: str, seed: int) -> Job:
        """Clean records."""
        everyone = self._limit(self.judged)
        return self._job("judge_clean", {}, (defense, seed), title=f"clean: {defense}", units=3, limit=everyone)

    def pgd(self, defense: str, seed: int, point: Point, *, swept: bool) -> Job:
        """PGD crafted on the network and judged by it.

        Args:
            swept: for Figures 5 and 6; the tables' own point is measured on the tables' records anyway.
        """
        point = point.same
        base = point == BASE
        return self._job(
            "attack_pgd",
            {"eps": point.eps, "alpha": point.alpha, "steps": STEPS, "loss": LOSS, "keep": base or defense == "none"},
            (defense, seed),
            title=f"PGD {point.eps:g} uV, steps of {point.alpha:g}: {defense}",
            units=2 * STEPS + 1,
            limit=self._limit(self.swept if self.scope.only_curves or (swept and not base) else self.judged),
        )

    def sap(self, defense: str, seed: int) -> Job:
        """SAP of every length, crafted on the network and judged by it."""
        settings = {"eps": EPS, "alpha": ALPHA, "after": list(LENGTHS), "kernels": KERNELS, "loss": LOSS}
        return self._job(
            "attack_sap",
            {**settings, "keep": defense == "none"},
            (defense, seed),
            needs=(self.pgd(defense, seed, BASE, swept=False),),
            title=f"SAP: {defense}",
            units=2 * SMOOTH_STEPS + len(LENGTHS),
            limit=self._limit(self.judged),
        )

    def judged_by(self, defense: str, seed: int, crafted: Job) -> Job:
        """What a defended network says to what was crafted on the undefended one of its seed (situation I)."""
        if defense == "none":
            return crafted
        return self._job(
            "judge_transfer",
            {"kernels": KERNELS},
            (defense, seed),
            needs=(crafted,),
            title=f"{crafted.title} -> {defense}",
            units=len(LENGTHS),
            limit=crafted.arguments["limit"],
        )

    def strict(self, defense: str, seed: int) -> Job:
        """The strict profile's attacks by gradients, crafted on the network and judged by it."""
        attacks = portfolio(("pgd", "sap"), profile="strict", eps=STRICT_EPS)
        steps = sum(attack.gradients for attack in attacks)  # of a record that stands to the end
        return self._job(
            "attack_strict",
            {"eps": STRICT_EPS, "profile_version": PROFILE_VERSIONS["strict"]},
            (defense, seed),
            title=f"strict: {defense}",
            units=2 * steps + 3 * len(attacks),
            limit=self._limit(self.swept),
        )

    def exported(self, defense: str, seed: int) -> Job:
        """The network's float32 file."""
        return Job(
            "edgeguard.evaluation.reproduction.network_jobs:export_network",
            {"records": self._about},
            needs=(self._network(defense, seed),),
            title=f"export {defense} seed {seed}",
            cost=_EXPORT_UNITS,
            hints=self._hints,
        )

    def boundary(self, defense: str, seed: int) -> Job:
        """The boundary attack on the network's file; only what fools an undefended one is needed further."""
        budgets = [OWN_QUERIES, QUERIES] if defense == "none" else [OWN_QUERIES]
        settings = {"pairs": PAIRS, "budgets": budgets, "seed": 0}
        return Job(
            f"{_BOUNDARY}:attack_boundary",
            {"records": self._about, "limit": self._limit(self.judged), **settings},
            needs=(self.exported(defense, seed),),
            title=f"boundary attack: {defense} seed {seed}",
            cost=float(12 * PAIRS * budgets[-1]),
            hints=self._hints,
        )

    def boundary_judged_by(self, defense: str, seed: int, victim: int) -> Job:
        """What a file says to what fooled the undefended one of another seed."""
        return Job(
            f"{_BOUNDARY}:judge_boundary",
            {},
            needs=(self.exported(defense, seed), self.boundary("none", victim)),
            title=f"boundary attack: none seed {victim} -> {defense} seed {seed}",
            cost=float(2 * 12 * PAIRS),
            hints=self._hints,
        )

    def _of(self, defense: str, seed: int) -> Iterable[Job]:
        """White-box jobs of one network."""
        tables, figures = set(self.scope.tables), set(self.scope.figures)
        first = (defense, seed) == ("none", 0)
        if tables & {2, 3, 4, 5} or (1 in figures and first):
            yield self.clean(defense, seed)
        if tables & {4}:
            yield self.judged_by(defense, seed, self.pgd("none", seed, BASE, swept=False))
        if tables & {5}:
            yield self.pgd(defense, seed, BASE, swept=False)
        if 2 in tables or 3 in figures:
            yield self.judged_by(defense, seed, self.sap("none", seed))
        if 3 in figures:
            yield self.judged_by(defense, seed, self.pgd("none", seed, BASE, swept=False))
        if 3 in tables or 4 in figures or (1 in figures and first):
            yield self.pgd(defense, seed, BASE, swept=False)
            yield self.sap(defense, seed)
        if self.scope.has_strict:
            yield self.strict(defense, seed)
        for point in curve_points():
            if 5 in figures:
                yield self.judged_by(defense, seed, self.pgd("none", seed, point, swept=True))
            if 6 in figures:
                yield self.pgd(defense, seed, point, swept=True)

    def _black_box(self) -> Iterable[Job]:
        for victim in self.scope.undefended:
            for defense, seed in self.files():
                if (defense, seed) != ("none", victim):
                    yield self.boundary_judged_by(defense, seed, victim)
        for defense, seed in self.files():
            yield self.boundary(defense, seed)

    def files(self) -> list[tuple[str, int]]:
        """(defence, seed) of every file of Table 6."""
        defended = [(name, seed) for name in self.scope.defenses if name != "none" for seed in range(self.scope.seeds)]
        return [("none", seed) for seed in self.scope.undefended] + defended

    def _limit(self, count: int) -> int | None:
        return None if count == self._all else count

    def _job(
        self,
        function: str,
        settings: dict[str, Any],
        network: tuple[str, int],
        *,
        title: str,
        units: float,
        limit: int | None,
        needs: tuple[Job, ...] = (),
    ) -> Job:
        """A white-box job on one network; `units` are forward units a record."""
        return Job(
            f"{_ATTACK}:{function}",
            {"records": self._about, "limit": limit, **settings},
            needs=(self._network(*network), *needs),
            title=f"{title} seed {network[1]}",
            cost=float(units * (limit or self._all)),
            resources=self._resources,
            hints=self._hints,
        )
