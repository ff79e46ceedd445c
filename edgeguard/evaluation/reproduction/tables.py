"""Predictions to the rows of Tables 2 to 5 and of the strict profile's: pure functions, JSON-ready results.

Clean scores always stand beside attacked ones, and both definitions of the drop, labelled: `drop_own`, against a
network's own clean score, as the ADT paper takes it in situation I, and `drop_ref`, against the undefended clean score,
as it takes it in situation II.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate
from edgeguard.evaluation.metrics import confusion_matrix, drop_own, drop_ref
from edgeguard.evaluation.multiple import holm
from edgeguard.evaluation.paired import mcnemar, paired_difference
from edgeguard.evaluation.reproduction.draws import METRICS, Draws, interval, seed_scores
from edgeguard.evaluation.reproduction.order import agreement
from edgeguard.evaluation.reproduction.published import PublishedTable, implied_clean

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
        {"n", "seeds", "missing_classes", "rows": a dict a defence, "order": metric -> `agreement`}. A row has `clean`
        and `attacked` {metric: rate}, `lost` (clean less attacked), `drop_own` and `drop_ref` {metric: interval},
        `sd` over seeds or None, `by_seed`, `against_none` (None for itself), `zero_gradient`, and `paper`.
    """
    draws = Draws(panel.labels, panel.classes, seeds=panel.seeds)
    drawn = {name: (draws.scores(panel.clean[name]), draws.scores(panel.attacked[name])) for name in panel.clean}
    found = {name: _by_seed(panel, name) for name in panel.clean}
    rows = [_row(panel, name, found, drawn, published) for name in panel.clean]
    _adjust([row["against_none"] for row in rows if row["against_none"]])
    order = {}
    for metric in METRICS:
        ours = {name: float(found[name][1][metric].mean()) for name in panel.clean}
        theirs = {name: published.score(name, metric) if published else None for name in panel.clean}
        order[metric] = agreement(ours, {name: drawn[name][1][metric] for name in panel.clean}, theirs)
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


_Scores = dict[str, np.ndarray]
"""Metric -> [S] of seeds, or [R] of resamples."""
_Pair = tuple[_Scores, _Scores]
"""Clean and attacked."""


def _by_seed(panel: Panel, name: str) -> _Pair:
    clean, attacked = (seed_scores(panel.labels, of[name], panel.classes) for of in (panel.clean, panel.attacked))
    return clean, attacked


def _row(
    panel: Panel,
    name: str,
    found: Mapping[str, _Pair],
    drawn: Mapping[str, _Pair],
    published: PublishedTable | None,
) -> dict[str, Any]:
    (clean, attacked), (clean_drawn, attacked_drawn) = found[name], drawn[name]
    reference, reference_drawn = found["none"][0], drawn["none"][0]
    row: dict[str, Any] = {
        "defense": name,
        "clean": _rates(panel, panel.clean[name], clean_drawn),
        "attacked": _rates(panel, panel.attacked[name], attacked_drawn),
        "lost": {},
        "drop_own": {},
        "drop_ref": {},
    }
    for metric in METRICS:
        before, after = clean[metric], attacked[metric]
        base, base_drawn = float(reference[metric].mean()), reference_drawn[metric]
        before_drawn, after_drawn = clean_drawn[metric], attacked_drawn[metric]
        row["lost"][metric] = _ranged(np.mean(before - after), before_drawn - after_drawn)
        # The paper's mean over runs; in the draws the ratio of means, which differs from it in the second order.
        own = [drop_own(one, other) for one, other in zip(before, after, strict=True)]
        row["drop_own"][metric] = _ranged(np.mean(own), (before_drawn - after_drawn) / before_drawn)
        row["drop_ref"][metric] = _ranged(drop_ref(base, after.mean()), (base_drawn - after_drawn) / base_drawn)
    row["sd"] = {"clean": _sd(clean), "attacked": _sd(attacked)} if panel.seeds > 1 else None
    by_seed = {"clean": clean, "attacked": attacked}
    row["by_seed"] = {kind: {metric: of[metric].tolist() for metric in METRICS} for kind, of in by_seed.items()}
    gap = attacked_drawn["accuracy"] - drawn["none"][1]["accuracy"]
    row["against_none"] = None if name == "none" else _against_none(panel, name, gap)
    flat = panel.flat.get(name)
    row["zero_gradient"] = None if flat is None else rate(int(flat.sum()), flat.size)
    row["paper"] = None if published is None else _paper(published, name)
    return row


def _rates(panel: Panel, predicted: np.ndarray, drawn: _Scores) -> dict[str, Any]:
    """Metric -> rate: Wilson's interval for the accuracy of one seed, else the draws'."""
    scores = seed_scores(panel.labels, predicted, panel.classes)
    rates = {metric: {**_ranged(scores[metric].mean(), drawn[metric]), "n": len(panel.labels)} for metric in METRICS}
    if panel.seeds == 1:
        confusion = confusion_matrix(panel.labels, predicted[0], len(panel.classes))
        rates |= {"accuracy": accuracy_rate(confusion), "f1": f1_rate(confusion)}
    return rates


def _against_none(panel: Panel, name: str, gap: np.ndarray) -> dict[str, Any]:
    """The difference in attacked accuracy to the undefended network, and the chance of it where there is none.

    Of several seeds p is the largest of their McNemar's: small only where every seed shows the difference.
    """
    right = panel.attacked[name] == panel.labels
    base = panel.attacked["none"] == panel.labels
    if panel.seeds == 1:
        tested = paired_difference(right[0], base[0])
        return {**{key: tested[key] for key in ("difference", "low", "high")}, "mcnemar_p": tested["mcnemar_p"]}
    p = [mcnemar(int((a & ~b).sum()), int((b & ~a).sum())) for a, b in zip(right, base, strict=True)]
    ranged = _ranged(right.mean() - base.mean(), gap)
    return {"difference": ranged["value"], "low": ranged["low"], "high": ranged["high"], "mcnemar_p": max(p)}


def _adjust(tests: list[dict[str, Any]]) -> None:
    for test, p in zip(tests, holm([test["mcnemar_p"] for test in tests]), strict=True):
        test["holm_p"] = p


def _paper(published: PublishedTable, name: str) -> dict[str, Any]:
    metrics = ("accuracy", "f1")
    kind = "drop_ref" if published.situation == "II" else "drop_own"
    return {
        "clean": {metric: implied_clean(name, metric) for metric in metrics},
        "attacked": {metric: published.score(name, metric) for metric in metrics},
        kind: {metric: published.drop(name, metric) for metric in metrics},
        "odd_drops": [metric for metric in metrics if (name, metric) in published.odd_drops],
    }


def _ranged(value: Any, drawn: np.ndarray) -> dict[str, float]:
    low, high = interval(drawn)
    return {"value": float(value), "low": low, "high": high}


def _sd(scores: _Scores) -> dict[str, float]:
    return {metric: float(np.std(scores[metric], ddof=1)) for metric in METRICS}
