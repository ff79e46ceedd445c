"""Two contenders under one portfolio: each is attacked through every network that crafts against either."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.evaluation.contender import Contender
from edgeguard.evaluation.evaluate import Evaluation, evaluate_contenders, summary
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.sources import Source
from edgeguard.evaluation.survival import outcome, survival


def share_sources(contenders: Sequence[Contender]) -> list[Contender]:
    """Two contenders, each with the sources of both: attacked directly, and by transfer both ways.

    A source keeps the name that it has for the first contender. The second's own are called `other ...`, but for the
    float network that the first was exported from: that is its `parent`, whoever brings it.

    Raises InputError where no fair comparison comes of it: of a network with itself, on clean records alone, crafted on
    a third network, or crafted on one network only. What is not attacked by its own gradient looks too robust.
    """
    first, second = contenders
    compared = f"--compare {second.subject.name}"
    if first.subject.sha256 == second.subject.sha256:
        raise InputError(f"{compared}: the same network as {first.subject.name}; name another run or file")
    if any(one.crafting is not one.subject for one in contenders):
        raise InputError(f"--source {first.crafting.name}: a comparison crafts on both that it compares; leave it out")
    if not first.sources:
        raise InputError(f"{compared}: clean records tell nothing of robustness; add an attack, as --attack clean,pgd")
    known = {source.identity for source in first.sources}
    brought = [
        replace(source, name="parent" if source.identity == first.subject.weights_sha256 else f"other {source.name}")
        for source in second.sources
        if source.identity not in known
    ]
    shared = (*first.sources, *brought)
    if len(shared) == 1:
        raise InputError(f"{compared}: attacks would be crafted on {shared[0].name} alone; choose more with --gradient")
    return [replace(one, sources=tuple(_as_seen_by(one, source) for source in shared)) for one in contenders]


def evaluate_both(
    contenders: Sequence[Contender], dataset: Dataset, index: np.ndarray, attacks: Sequence[Attack], *, seed: int = 0
) -> list[Evaluation]:
    """Judge two contenders on the same records under the same attacks, crafted on the sources of both.

    What was crafted on the other one is situation I, unless both have the weights of one run.

    Raises InputError as `share_sources` does, and for a twin that does not compute what ONNX Runtime does.
    """
    shared = share_sources(contenders)
    evaluations = evaluate_contenders(shared, dataset, index, attacks, seed=seed)
    return [
        _with_situations(evaluation, one, other, shared[0].sources)
        for evaluation, one, other in zip(evaluations, contenders, reversed(contenders), strict=True)
    ]


def compare_summary(evaluations: Sequence[Evaluation], *, margin: float, seed: int = 0) -> dict[str, Any]:
    """Whether the first of two contenders survives beside the second, as the JSON contract names it.

    Args:
        evaluations: of both, from `evaluate_both`.
        margin: largest loss of worst-case accuracy that is accepted, as a share of the records.
        seed: of the evaluations' random starts.

    Returns:
        `attacks` of the second contender, the fields of `Survival`, where the first is `model` and the second `other`,
        and `holds`: whether the verdict is that it survives.
    """
    model, other = (outcome(name, one, seed=seed) for name, one in zip(("model", "other"), evaluations, strict=True))
    found = survival(other, model, margin=margin)
    attacks = summary(evaluations[1])["attacks"]
    return {"attacks": attacks, **asdict(found), "holds": found.verdict == "survives"}


def _with_situations(evaluation: Evaluation, one: Contender, other: Contender, shared: Sequence[Source]) -> Evaluation:
    borrowed = replace(one, crafting=other.crafting).situation
    situations: dict[str | None, str] = {
        source.name: one.situation if _is_own(source, one) else borrowed for source in shared
    }
    judged = [replace(entry, situation=situations.get(entry.gradient)) for entry in evaluation.judged]
    return replace(evaluation, judged=judged)


def _as_seen_by(contender: Contender, source: Source) -> Source:
    """Another's twin is held against that other's file, not against this contender's."""
    return source if _is_own(source, contender) else replace(source, twin_of=None)


def _is_own(source: Source, contender: Contender) -> bool:
    return source.identity in {own.identity for own in contender.sources}
