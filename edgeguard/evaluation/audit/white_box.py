"""Every form of the network under one white-box portfolio, a piece of the records at a time."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial

import numpy as np

from edgeguard.evaluation.audit.forms import Forms
from edgeguard.evaluation.audit.records import Records
from edgeguard.evaluation.audit.sections import Arrays, Sections
from edgeguard.evaluation.contender import Contender
from edgeguard.evaluation.evaluate import Evaluation, Judged, evaluate_contenders
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.evaluation.subject import named

PIECE = 128
"""Records after which an interrupted evaluation goes on."""

_NAMES = ("clean", "pgd", "sap")
"""An audit has a black-box section of its own."""

Judgements = dict[str, dict[float, Evaluation]]
"""Form -> eps in microvolts -> what every attack at that budget did to it."""


def profiles_at(eps_uv: Sequence[float], profile: str) -> dict[float, str]:
    """Budget -> name of a profile: the one given at the smallest budget, `strict` at the others."""
    return {eps: profile if eps == eps_uv[0] else "strict" for eps in eps_uv}


def attacks_at(eps_uv: Sequence[float], profile: str, *, classes: int) -> dict[float, list[Attack]]:
    """Budget -> attacks, clean records first, by `profiles_at`.

    Args:
        classes: of the file.
    """
    return {
        eps: portfolio(_NAMES + (("cw-smooth",) if name == "full" else ()), profile=name, eps=eps, classes=classes)
        for eps, name in profiles_at(eps_uv, profile).items()
    }


def judge_forms(
    forms: Forms, records: Records, attacks: dict[float, list[Attack]], sections: Sections, *, seed: int
) -> Judgements:
    """Judge all forms on all records under all attacks, crafted on what crafts against any of them.

    Where nothing crafts, clean records alone are judged.
    """
    judged: Judgements = {form: {} for form in forms.judged}
    for eps, wanted in attacks.items():
        parts = []
        settings = {
            "attacks": [asdict(attack) for attack in wanted],
            "sources": [one.identity for one in forms.sources],
        }
        for first in range(0, len(records.index), PIECE):
            index = records.index[first : first + PIECE]
            kept = sections.arrays(
                f"white-box-{eps:g}-{first}",
                partial(_logits, forms, records, index, wanted, seed),
                {**settings, "first": first},
                section=f"white-box {eps:g} uV",
            )
            parts.append((index, kept))
        for form, one in forms.judged.items():
            pieces = [_evaluation(one, records, index, wanted, kept, form) for index, kept in parts]
            judged[form][eps] = joined(pieces)
    return judged


def joined(parts: Sequence[Evaluation]) -> Evaluation:
    """Evaluations of different records under the same attacks as one."""
    labels = np.concatenate([part.labels for part in parts])
    entries = [
        replace(
            entry,
            predicted=np.concatenate([part.judged[place].predicted for part in parts]),
            logits=np.concatenate([part.judged[place].logits for part in parts]),
        )
        for place, entry in enumerate(parts[0].judged)
    ]
    return Evaluation(parts[0].classes, labels, entries)


def _logits(forms: Forms, records: Records, index: np.ndarray, attacks: Sequence[Attack], seed: int) -> Arrays:
    """Form -> float32 [entries, N, C]."""
    made = evaluate_contenders(list(forms.judged.values()), records.dataset, index, attacks, seed=seed)
    return {
        form: np.stack([entry.logits for entry in evaluation.judged if entry.logits is not None])
        for form, evaluation in zip(forms.judged, made, strict=True)
    }


def _evaluation(
    one: Contender, records: Records, index: np.ndarray, attacks: Sequence[Attack], kept: Arrays, form: str
) -> Evaluation:
    """The entries in the order in which `evaluate_contenders` makes them."""
    labels = records.dataset.labels[index]
    plan: list[tuple[Attack, str | None]] = []
    for attack in attacks:
        crafted: list[str | None] = [source.name for source in one.sources]
        plan += [(attack, name) for name in (crafted if attack.name != "clean" else [None])]
    entries = [
        Judged(attack, None, named(logits, labels), gradient=name, logits=logits)
        for (attack, name), logits in zip(plan, kept[form], strict=True)
    ]
    return Evaluation(one.subject.classes, labels, entries)
