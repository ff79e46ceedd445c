"""Predictions to the rows of Tables 2 to 5 and of the strict profile's: pure functions, JSON-ready results.

Clean scores always stand beside attacked ones, and both definitions of the drop, labelled: `drop_own`, against a
network's own clean score, as the ADT paper takes it in situation I, and `drop_ref`, against the undefended clean score,
as it takes it in situation II.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any

import numpy as np

from edgeguard.evaluation.bootstrap import (
    SCORES,
    Resamples,
    Scores,
    difference,
    interval,
    relative_drop,
    spread,
)
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.multiple import holm
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.reproduction.order import agreement
from edgeguard.evaluation.reproduction.published import PublishedTable, implied_clean
from edgeguard.evaluation.seeds import pooled_score

Predicted = Mapping[str, np.ndarray]
"""Defence -> classes int64 [S, N], a row a seed."""


@dataclass(frozen=True)
class Panel:
    """What was measured for one table, on the same N records for all.

    Attributes:
        labels: int64 [N], true classes.
        classes: their names.
        clean, attacked: of every defence; the undefended one is "none".
        flat: defence -> bool [S, N], no gradient to attack the clean record by; empty where that was not looked at.
    """

    labels: np.ndarray
    classes: tuple[str, ...]
    clean: Predicted
    attacked: Predicted
    flat: Predicted

    @property
    def seeds(self) -> int:
        """Networks of each defence."""
        return len(next(iter(self.clean.values())))

    @property
    def missing(self) -> list[str]:
        """Classes that no record has: their F1 does not count where nothing is taken for them either."""
        return [name for place, name in enumerate(self.classes) if place not in self.labels]


def attack_table(panel: Panel, published: PublishedTable | None) -> dict[str, Any]:
    """Rows and order of one table.

    Args:
        published: the paper's table; None where it has none.

    Returns:
        {"n", "seeds", "missing_classes", "rows": a dict a defence, "order": {"accuracy", "f1": `agreement`}}. A row has
        `clean` and `attacked` {score: rate}, `lost` {score: clean less attacked}, `drop_own` and `drop_ref` {score:
        rate}, each score one of `bootstrap.SCORES`; `sd` over seeds or None, `by_seed`, `against_none` (None for
        itself), `zero_gradient`, and `paper`.
    """
    draws = Resamples(panel.labels, panel.classes)
    scored = {
        name: _Scored(
            *({score: draws.score(of[name], score) for score in SCORES} for of in (panel.clean, panel.attacked))
        )
        for name in panel.clean
    }
    rows = [_row(panel, name, scored, published) for name in panel.clean]
    tests = [row["against_none"] for row in rows if row["against_none"]]
    for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["holm_p"] = adjusted
    order = {}
    for score in ("accuracy", "f1"):
        theirs = {name: published.score(name, score) if published else None for name in panel.clean}
        order[score] = agreement({name: one.attacked[score] for name, one in scored.items()}, theirs)
    return {
        "n": len(panel.labels),
        "seeds": panel.seeds,
        "missing_classes": panel.missing,
        "rows": rows,
        "order": order,
    }


def worst_case(labels: np.ndarray, predicted: Mapping[str, np.ndarray]) -> np.ndarray:
    """int64 [N]: a record's true class where every attack left it right, else the first wrong class."""
    worst = labels.copy()
    for said in predicted.values():
        worst = np.where(worst == labels, said, worst)
    return worst


@dataclass(frozen=True)
class _Scored:
    """Scores of one defence, by their names."""

    clean: dict[str, Scores]
    attacked: dict[str, Scores]


def _row(panel: Panel, name: str, scored: Mapping[str, _Scored], published: PublishedTable | None) -> dict[str, Any]:
    one, reference = scored[name], scored["none"].clean
    pooled = {
        kind: {score: pooled_score(of[score], score, predicted, len(panel.classes)) for score in SCORES}
        for kind, of, predicted in (
            ("clean", one.clean, panel.clean[name]),
            ("attacked", one.attacked, panel.attacked[name]),
        )
    }
    row: dict[str, Any] = {
        "defense": name,
        **{kind: {score: asdict(found.mean) for score, found in of.items()} for kind, of in pooled.items()},
        "lost": {score: _less(one.clean[score], one.attacked[score]) for score in SCORES},
    }
    for kind, base, own in (("drop_own", one.clean, True), ("drop_ref", reference, False)):
        row[kind] = {
            score: interval(relative_drop(base[score], one.attacked[score], own=own), bounds=(-inf, 1.0))
            for score in SCORES
        }
    row["by_seed"] = {kind: {score: list(of[score].by_seed) for score in SCORES} for kind, of in pooled.items()}
    row["sd"] = None
    if panel.seeds > 1:
        row["sd"] = {kind: {score: of[score].sd for score in SCORES} for kind, of in pooled.items()}
    row["against_none"] = None if name == "none" else _against_none(panel, name, scored)
    flat = panel.flat.get(name)
    row["zero_gradient"] = None if flat is None else rate(int(flat.sum()), flat.size)
    row["paper"] = _paper(published, name) if published and name in published.scores else None
    return row


def _against_none(panel: Panel, name: str, scored: Mapping[str, _Scored]) -> dict[str, Any]:
    """The difference in attacked accuracy to the undefended network, and the chance of it where there is none.

    Of one seed by Tango's interval and the exact McNemar test; of several, which are paired too, with what differs
    from seed to seed in both, and each seed's McNemar beside it.
    """
    right, base = (panel.attacked[one] == panel.labels for one in (name, "none"))
    by_seed = [paired_difference(ours, theirs) for ours, theirs in zip(right, base, strict=True)]
    exact = [test["mcnemar_p"] for test in by_seed]
    if panel.seeds == 1:
        test = {
            "value": by_seed[0]["difference"],
            **{key: by_seed[0][key] for key in ("low", "high", "n")},
            "p": exact[0],
        }
    else:
        pair = [scored[one].attacked["accuracy"] for one in (name, "none")]
        test = {**_less(*pair), "p": spread(difference(*pair)).p_value()}
    return {**test, "mcnemar_p_by_seed": exact}


def _less(first: Scores, second: Scores) -> dict[str, Any]:
    """The first less the second, seed by seed and record by record."""
    return interval(difference(first, second), bounds=(-1.0, 1.0))


def _paper(published: PublishedTable, name: str) -> dict[str, Any]:
    scores = ("accuracy", "f1")
    kind = "drop_ref" if published.situation == "II" else "drop_own"
    return {
        "clean": {score: implied_clean(name, score) for score in scores},
        "attacked": {score: published.score(name, score) for score in scores},
        kind: {score: published.drop(name, score) for score in scores},
        "odd_drops": [score for score in scores if (name, score) in published.odd_drops],
    }
