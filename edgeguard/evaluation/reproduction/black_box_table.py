"""The rows of Table 6: what files say to records that fooled an undefended one, and how near an attack on each came.

The paper lets defended networks name what fooled undefended ones, and has no undefended row. Here the undefended file
of another seed is the first row: only beside it does a high accuracy say anything of a defence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeguard.evaluation.bootstrap import Resamples
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.metrics import scores
from edgeguard.evaluation.multiple import holm
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.reproduction.order import agreement
from edgeguard.evaluation.reproduction.published import TABLES


@dataclass(frozen=True)
class Said:
    """What one file says to the records of one victim.

    Attributes:
        victim: its seed.
        labels: int64 [N], classes of the originals.
        clean, attacked: int64 [N], classes given to the originals, and to what was made of them.
    """

    victim: int
    labels: np.ndarray
    clean: np.ndarray
    attacked: np.ndarray


@dataclass(frozen=True)
class Reached:
    """How near the boundary attack on one file came to its records.

    Attributes:
        pairs: how many records were attacked.
        l2: [N] microvolts, within a common budget; infinite where nothing fooled the file.
    """

    pairs: int
    l2: np.ndarray


def black_box_table(
    said: Mapping[str, Sequence[Said]],
    reached: Mapping[str, Sequence[Reached]],
    *,
    classes: tuple[str, ...],
) -> dict[str, Any]:
    """Rows of Table 6, and its order.

    Args:
        said: defence -> of all its seeds and all victims; for "none" of other victims than itself, perhaps nothing.
        reached: defence -> of the attack on each of its seeds.

    Returns:
        {"rows", "order": `agreement` in accuracy among defended files}. A row has `clean` and `attacked`
        {"accuracy": rate, "f1": number}, None where it was not asked; `against_control`, the paired difference in
        attacked accuracy to an undefended file of another seed on the same records, None without one; `itself`, the
        attack on its own file: {"pairs", "median_l2_uv": infinite where most withstood}; and `paper`. The intervals
        take pairs as independent, which those that share an original are not quite.
    """
    rows = [_row(name, said.get(name, ()), reached[name], classes) for name in reached]
    control = {one.victim: one for one in reversed(said.get("none", ()))}
    for row in rows:
        parts = said.get(row["defense"], ())
        beside = row["defense"] != "none" and row["attacked"] and all(part.victim in control for part in parts)
        row["against_control"] = _against(parts, [control[part.victim] for part in parts]) if beside else None
    tests = [row["against_control"] for row in rows if row["against_control"]]
    for test, adjusted in zip(tests, holm([test["p"] for test in tests]), strict=True):
        test["holm_p"] = adjusted
    defended = [row["defense"] for row in rows if row["defense"] != "none" and row["attacked"]]
    if not defended:
        return {"rows": rows, "order": {}}
    pooled = {name: _pool(said[name]) for name in defended}
    draws = Resamples(pooled[defended[0]].labels, classes)
    ours = {name: draws.score(one.attacked[None]) for name, one in pooled.items()}
    theirs = {name: TABLES[6].score(name, "accuracy") for name in defended}
    return {"rows": rows, "order": {"accuracy": agreement(ours, theirs)}}


def _row(name: str, said: Sequence[Said], reached: Sequence[Reached], classes: tuple[str, ...]) -> dict[str, Any]:
    pooled = _pool(said) if said else None
    asked = pooled is not None and len(pooled.labels) > 0
    l2 = np.concatenate([one.l2 for one in reached])
    return {
        "defense": name,
        "clean": _scored(pooled.labels, pooled.clean, classes) if asked and pooled else None,
        "attacked": _scored(pooled.labels, pooled.attacked, classes) if asked and pooled else None,
        "itself": {
            "pairs": sum(one.pairs for one in reached),
            "median_l2_uv": float(np.median(l2)) if len(l2) else float("nan"),
        },
        "paper": {metric: TABLES[6].score(name, metric) for metric in ("accuracy", "f1")},
    }


def _against(parts: Sequence[Said], control: Sequence[Said]) -> dict[str, Any]:
    """The first less the second, record by record."""
    right = [np.concatenate([one.attacked == one.labels for one in side]) for side in (parts, control)]
    found = paired_difference(*right)
    return {"value": found["difference"], **{key: found[key] for key in ("low", "high", "n")}, "p": found["mcnemar_p"]}


def _pool(parts: Sequence[Said]) -> Said:
    return Said(
        -1, *(np.concatenate([getattr(part, kind) for part in parts]) for kind in ("labels", "clean", "attacked"))
    )


def _scored(labels: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "accuracy": rate(int((labels == predicted).sum()), len(labels)),
        "f1": scores(labels, predicted, len(classes))["f1"],
    }
