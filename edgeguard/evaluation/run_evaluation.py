"""One evaluation, from what was named to figures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from edgeguard.attacks.smoothing import KERNELS
from edgeguard.ecg.arrays import Data, Labels, Signals, check_labelled, records_of
from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError, unknown
from edgeguard.evaluation.comparison import compare_summary, evaluate_both, share_sources
from edgeguard.evaluation.contender import Contender, check_fit, open_contender, records_for_all
from edgeguard.evaluation.divergence_hunt import divergence_summary, hunt_records, parties
from edgeguard.evaluation.divergences import save_divergences
from edgeguard.evaluation.evaluate import evaluate_contenders, summary
from edgeguard.evaluation.masking_run import check_contender
from edgeguard.evaluation.plausibility import implausible
from edgeguard.evaluation.portfolio import ATTACKS, Attack, portfolio
from edgeguard.evaluation.profiles import PROFILE_VERSIONS
from edgeguard.evaluation.result import EvaluationResult, Predictions
from edgeguard.evaluation.subject import Subject
from edgeguard.evaluation.zoo.located import located
from edgeguard.models.run import newest_run
from edgeguard.runtime.model_spec import StatedFacts, stated_facts
from edgeguard.runtime.telling import Say, log
from edgeguard.runtime.typed_json import to_json

MARGIN = 0.02
"""Largest loss of worst-case accuracy that a comparison accepts unless told otherwise."""

_BATCH = 64

Model = str | Path | nn.Module
"""A run folder, an ONNX file, or a network from ecg [B, 1, T] in microvolts to logits [B, C]."""


def evaluate_model(
    model: Model | None = None,
    *,
    data: Data | None = None,
    ecg: Signals | None = None,
    labels: Labels | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
    part: str = "test",
    limit: int | None = None,
    attacks: Sequence[str] | None = None,
    profile: str | None = None,
    losses: Sequence[str] | None = None,
    gradients: Sequence[str] | None = None,
    eps: float = 10.0,
    alpha: float | None = None,
    steps: int | None = None,
    smooth_steps: int | None = None,
    kernels: str = "nest25",
    mask: str | None = None,
    source: Model | None = None,
    compare: Model | None = None,
    margin: float | None = None,
    hunt: str | Path | None = None,
    checks: bool = True,
    seed: int = 0,
    threads: int = 1,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    window: int | None = None,
    unit: str | None = None,
    threshold: float | None = None,
    say: Say = log,
) -> EvaluationResult:
    """Accuracy and F1 of a model, clean and under white-box attack, with 95 % intervals.

    A file is judged by ONNX Runtime and attacked through its twin; of a run or a network, that itself. A network is
    judged as a copy in eval mode, wherever its parameters lie.

    Args:
        model: what is judged; None: the newest finished run under `runs/`.
        data: records, as `load_dataset` takes them; None: those that the run was trained on, or the default ones.
        ecg: records instead of `data`: microvolts [N, T], or N arrays of lengths of their own.
        labels: of `data`, a reference CSV; of `ecg`, its classes.
        label_map: label of the data -> class of the model.
        lead: name or number of the signal to take of records that have several.
        part: `test`, or `all`: also records seen in training.
        limit: judge at most so many records, stratified.
        attacks: any of clean, pgd, sap, cw-smooth, square, and registered ones of your own; None: the profile's.
        profile: `paper`, `strict` or `full`; None: `strict` for a file, `paper` for a network and where a setting of
            the paper's profile is given.
        losses: any of ce, margin, dlr, rescaled (paper's profile); None: ce.
        gradients: what crafts on a file: any of twin, twin-pure, parent, mean, none; None: the profile's.
        eps: largest perturbation, microvolts.
        alpha, steps, smooth_steps, mask: of the paper's profile, by default 1 microvolt, 20, 40 and `loop` (padding
            masked in every step; `end`: only in the result).
        kernels: SAP's smoothing, `nest25` or `zip5`.
        source: crafts instead of the model itself (situation I).
        compare: to hold the model against, record by record, on what neither has seen in training.
        margin: largest loss of worst-case accuracy against `compare` that is accepted, a share of the records.
        hunt: .npz file to keep records in that one of the two gets right and the other wrong.
        checks: whether to look for gradient masking, on up to 64 records.
        seed: of random starts and `limit`.
        threads: of ONNX Runtime.
        classes, sampling_rate, window, unit: of a model that does not say; hertz, samples, `uV`, `mV` or `V`.
            `compare` and `source` are taken to be like the model where they do not say otherwise.
        threshold: probability from which a model's single output means the second class.
        say: receives a line now and then.

    Raises InputError for anything that cannot be, before long work where it can be seen then.
    """
    _check_choices(part=part, kernels=kernels, mask=mask or "loop")
    _check_counts(limit=limit, seed=seed)
    model, source, compare = (_as_model(one) for one in (model, source, compare))
    hunt = None if hunt is None else Path(hunt)
    _check_comparison(compare, margin, hunt)
    if model is None:
        model = newest_run()
        say(f"run: {model}")
    is_file = isinstance(model, Path) and model.suffix == ".onnx"
    own = any(value is not None for value in (losses, alpha, steps, smooth_steps, mask))
    profile = profile or ("strict" if is_file and not own else "paper")
    alpha, steps = 1.0 if alpha is None else alpha, 20 if steps is None else steps
    attacks_for = partial(
        portfolio,
        None if attacks is None else tuple(attacks),
        profile=profile,
        losses=None if losses is None else tuple(losses),
        eps=eps,
        alpha=alpha,
        steps=steps,
        smooth_steps=40 if smooth_steps is None else smooth_steps,
        kernels=kernels,
        mask_at=mask or "loop",
    )
    # What cannot be is refused before anything is opened; how many classes there are is known afterwards.
    chosen = attacks_for()
    if window is None and isinstance(model, nn.Module):
        window = _window(data, ecg)
    # With arrays, the sampling rate is theirs; a model that says its own has the records resampled.
    stated_rate = None if ecg is not None else sampling_rate
    facts = StatedFacts(classes=classes, sampling_rate=stated_rate, window=window, unit=unit, threshold=threshold)
    contenders = _opened(model, source, compare, chosen, profile, gradients, threads, facts, sampling_rate)
    chosen = attacks_for(classes=len(contenders[0].subject.classes))
    hunters = parties(contenders) if hunt else None
    notes = _notes(contenders, chosen, alpha=alpha, steps=steps)
    for note in notes:
        say(note)
    subject = contenders[0].subject
    dataset = records_of(
        data,
        ecg,
        labels,
        run_options=subject.run.config["options"] if subject.run else None,
        window=subject.window,
        classes=subject.classes,
        sampling_rate=subject.spec.sampling_rate,
        ecg_rate=sampling_rate,
        label_map=label_map,
        lead=lead,
    )
    check_labelled(dataset)
    for note in dataset.notes:
        say(f"note: {note}")
    check_fit(contenders, dataset)
    index, which = records_for_all(contenders, dataset, part=part, limit=limit, seed=seed)
    say(f"data: {dataset.source}, {which}")
    judge_all = evaluate_contenders if compare is None else evaluate_both
    results = judge_all(contenders, dataset, index, chosen, seed=seed)
    warnings = implausible(subject.logits, dataset, index, _clean(subject, dataset, index), unit=subject.spec.unit)
    for warning in warnings:
        say(f"warning: {warning}")
    report: dict[str, Any] = {
        "model": contenders[0].subject.name,
        "data": dataset.source,
        "n": len(index),
        "profile": profile,
        "profile_version": PROFILE_VERSIONS[profile],
        **summary(results[0]),
        "checks": check_contender(contenders[0], dataset, index, chosen, seed=seed) if checks else [],
        "classes": dataset.classes,
        "records": which,
        "notes": [*notes, *dataset.notes],
        **({"warnings": warnings} if warnings else {}),
    }
    if compare is not None:
        compared = compare_summary(results, margin=MARGIN if margin is None else margin, seed=seed)
        report["compare"] = {"model": contenders[1].subject.name, **compared}
    if hunt and hunters:
        found = hunt_records(*hunters, dataset, index, chosen)
        save_divergences(found, hunt, classes=dataset.classes, sampling_rate=dataset.sampling_rate)
        report["hunt"] = {**divergence_summary(found), "witnesses": str(hunt)}
    return replace(
        EvaluationResult.from_json(to_json(report)),
        predictions=Predictions(
            tuple(dataset.names[i] for i in index),
            results[0].labels,
            np.stack([entry.predicted for entry in results[0].judged]),
            results[0].worst_case(),
        ),
    )


def _clean(subject: Subject, dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """int64 [N]: the classes of clean records."""
    parts = [index[first : first + _BATCH] for first in range(0, len(index), _BATCH)]
    return np.concatenate([subject.judge(dataset.batch(part)[0], dataset.labels[part]) for part in parts])


def _opened(
    model: Path | nn.Module,
    source: Path | nn.Module | None,
    compare: Path | nn.Module | None,
    attacks: Sequence[Attack],
    profile: str,
    gradients: Sequence[str] | None,
    threads: int,
    facts: StatedFacts,
    assumed_rate: float | None,
) -> list[Contender]:
    """The model, and what it is compared with; InputError for an unfair comparison, before the records are read."""
    crafting: dict[str, Any] = dict(profile=profile, gradients=gradients, compared=compare is not None)
    assumed = StatedFacts(sampling_rate=assumed_rate)
    contenders = [open_contender(model, source, attacks, threads=threads, assumed=assumed, **crafting, **facts)]
    if compare is not None:
        theirs = stated_facts(contenders[0].subject.spec)
        contenders.append(open_contender(compare, source, attacks, threads=threads, assumed=theirs, **crafting))
    if gradients is not None and not any(one.crafting.is_file for one in contenders):
        crafter = contenders[0].crafting.name
        raise InputError(f"--gradient {','.join(gradients)}: {crafter} is a run and crafts on itself; leave it out")
    if compare is not None:
        share_sources(contenders)
    return contenders


def _window(data: Data | None, ecg: Signals | None) -> int | None:
    """Samples of a window, where the records that were given say so."""
    if isinstance(data, Dataset):
        return data.window
    return ecg.shape[1] if isinstance(ecg, np.ndarray) and ecg.ndim == 2 else None


def _notes(contenders: Sequence[Contender], attacks: Sequence[Attack], *, alpha: float, steps: int) -> list[str]:
    """What is not as it was asked for, and attacks that fall short of their budget."""
    notes = dict.fromkeys(one.note for one in contenders if one.note)
    short = dict.fromkeys(
        f"{attack.name}: {steps} steps of {alpha:g} uV cannot reach eps {attack.eps:g} uV; "
        "add steps or a larger --alpha"
        for attack in attacks
        if attack.family in ATTACKS and attack.reach < attack.eps
    )
    return [*notes, *short]


def _as_model(model: Model | None) -> Path | nn.Module | None:
    return located(model) if isinstance(model, str | Path) else model


def _check_choices(*, part: str, kernels: str, mask: str) -> None:
    for option, value, known in (
        ("split", part, ("test", "all")),
        ("kernels", kernels, KERNELS),
        ("mask", mask, ("loop", "end")),
    ):
        if value not in known:
            raise unknown(f"--{option}", value, known)


def _check_counts(*, limit: int | None, seed: int) -> None:
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: at least 1 needed")
    if seed < 0:
        raise InputError(f"--seed {seed}: at least 0 needed")


def _check_comparison(compare: Path | nn.Module | None, margin: float | None, hunt: Path | None) -> None:
    """Refuse what cannot be, before anything is opened."""
    if compare is None:
        for option, value in (("margin", None if margin is None else f"{100 * margin:g}"), ("hunt", hunt)):
            if value is not None:
                raise InputError(f"--{option} {value}: nothing to compare with; add --compare OTHER or leave it out")
    if margin is not None and not 0 < margin < 1:
        raise InputError(f"--margin {100 * margin:g}: above 0 and below 100 points needed")
    if hunt is not None:
        folder = next(parent for parent in hunt.absolute().parents if parent.exists())
        if hunt.suffix != ".npz" or hunt.is_dir() or not folder.is_dir():
            raise InputError(f"--hunt {hunt}: no place for a file of that name; give one that ends in .npz")
