"""One black-box attack, from what was named to figures and files."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from edgeguard.attacks.campaign import (
    Campaign,
    Tasks,
    attack_file,
    choose_records,
    targets_of,
    witnesses_of,
)
from edgeguard.attacks.catalogue import make_attack
from edgeguard.attacks.walk import Attack
from edgeguard.ecg.arrays import Data, Labels, Signals, check_labelled, records_of
from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.evaluation.transfer import choose_pairs, judge_transfer, transfer_summary
from edgeguard.evaluation.zoo.located import located
from edgeguard.report.attack_result import AttackResult
from edgeguard.report.black_box import figures, write_comparison, write_report
from edgeguard.runtime.model_spec import StatedFacts, stated_facts
from edgeguard.runtime.newest import newest_model
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.telling import Say, log, no_bars
from edgeguard.runtime.typed_json import to_json

STATE = "state.npz"
"""Answers of an interrupted attack, in its folder."""


def attack_model(
    model: str | Path | None = None,
    *,
    data: Data | None = None,
    labels: Labels | None = None,
    ecg: Signals | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
    part: str = "test",
    attack: str = "smooth-geo",
    queries: int = 1000,
    samples: int = 64,
    target: str | None = None,
    pairs: int | None = None,
    smoothing: int | None = None,
    high_hz: float | None = None,
    compare: str | Path | None = None,
    transfer: Sequence[str | Path] = (),
    white_box: bool = False,
    seed: int = 0,
    workers: int = 1,
    out: str | Path | None = None,
    threads: int = 1,
    classes: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    window: int | None = None,
    unit: str | None = None,
    threshold: float | None = None,
    say: Say = log,
) -> AttackResult:
    """Attack an ONNX file by asking it for labels, and nothing else; any single-lead classifier, without torch.

    Args:
        model: the file; None: the newest one under `runs/`.
        data, labels: records, and their reference CSV; None: those of the run in the file's folder, or the default.
        ecg: records instead of `data`: microvolts [N, T], or N arrays of lengths of their own; `labels` are then their
            classes, and `sampling_rate` is theirs.
        label_map: label of the data -> class of the model.
        lead: name or number of the signal to take of records that have several.
        part: `test`: records that the file's network was not trained or chosen on, as far as is known; or `all`.
        attack: `smooth-geo` (smallest smooth L2), `rays-sap` (smallest eps of a smooth perturbation), `boundary` (Lam
            et al. 2020) or `hopskipjump` (plain, for comparison).
        queries: labels asked a record.
        samples: records to attack, stratified.
        target: class to turn every record into; None: any wrong one.
        pairs: instead of `samples`, so many records for every ordered pair of classes.
        smoothing: of `boundary`, samples of the Hanning window that smooths a random step.
        high_hz: of `smooth-geo`, highest frequency of a perturbation, hertz.
        compare: another file to attack alike, and to compare with record by record.
        transfer: files that name what fooled the first.
        white_box: hold `rays-sap` against the file's own gradient, through its twin; needs torch.
        seed: of the choice of records and of the attack.
        workers: threads that attack; results do not depend on it.
        out: folder of witnesses, pictures and result.json, where an interrupted attack goes on; None: nothing is kept.
        threads: of ONNX Runtime.
        classes, sampling_rate, window, unit: of a file that does not say; hertz, samples, `uV`, `mV` or `V`. The others
            are taken to be like it where they do not say otherwise.
        threshold: probability from which a file's single output means the second class.
        say: receives a line now and then.

    Raises InputError for anything that cannot be.
    """
    if white_box and attack != "rays-sap":
        raise InputError(f"--white-box: {attack} makes L2 small, not eps; add --attack rays-sap")
    chosen = make_attack(attack, smoothing=smoothing, high_hz=high_hz)
    file = open_model(
        located(newest_model() if model is None else model),
        threads=threads,
        classes=classes,
        sampling_rate=None if ecg is not None else sampling_rate,
        assumed=StatedFacts(sampling_rate=sampling_rate),
        window=window,
        unit=unit,
        threshold=threshold,
    )
    others = [
        open_model(located(path), threads=threads, assumed=stated_facts(file.spec))
        for path in (*(() if compare is None else (compare,)), *transfer)
    ]
    for one in (file, *others):
        say(f"model: {one.path}")
    _check_classes(file, others)
    dataset = records_of(
        data,
        ecg,
        labels,
        file=file.path,
        window=file.window,
        classes=file.classes,
        sampling_rate=file.sampling_rate,
        ecg_rate=sampling_rate,
        label_map=label_map,
        lead=lead,
        seed=seed,
    )
    check_labelled(dataset)
    for note in dataset.notes:
        say(f"note: {note}")
    tasks = _tasks(
        file,
        dataset,
        part=part,
        samples=samples,
        pairs=pairs,
        target=target,
        seed=seed,
        say=say,
    )
    settings: dict[str, Any] = dict(queries=queries, seed=seed, workers=workers, say=say)
    folder = None if out is None else Path(out)
    campaign, found = _one(file, dataset, tasks, chosen, folder, **settings)
    if white_box:
        found["white_box"] = _against_white_box(campaign)
    if compare is not None:
        beside = None if folder is None else folder / "compared"
        second, found["compared"] = _one(others.pop(0), dataset, tasks, chosen, beside, **settings)
        found["comparison"] = write_comparison(campaign, second, folder)
    if others:
        found["transfer"] = _transferred(campaign, others)
    return replace(AttackResult.from_json(to_json(found)), examples=witnesses_of(campaign))


def _check_classes(file: OnnxModel, others: Sequence[OnnxModel]) -> None:
    for other in others:
        if other.classes != file.classes:
            theirs, ours = ",".join(other.classes), ",".join(file.classes)
            raise InputError(f"{other.path}: its classes are {theirs}, not {ours}; name a file of the same classes")


def _tasks(
    file: OnnxModel,
    dataset: Dataset,
    *,
    part: str,
    samples: int,
    pairs: int | None,
    target: str | None,
    seed: int,
    say: Say,
) -> Tasks:
    """The records to attack, and what each is to be turned into."""
    if pairs and target:
        raise InputError("--target: --pairs turns records into every class; leave one of the two out")
    if not pairs:
        records, origin = choose_records(file, dataset, part=part, samples=samples, seed=seed)
        say(f"records: {len(records)} of {origin}")
        return Tasks(records, targets_of(file, target, len(records)))
    pool, origin = choose_records(file, dataset, part=part, samples=len(dataset), seed=seed)
    chosen = choose_pairs(file, dataset, pool, count=pairs, seed=seed)
    say(f"pairs: {len(chosen)} of {origin}")
    return Tasks(chosen.originals, chosen.targets, chosen.starts(dataset))


def _one(
    file: OnnxModel,
    dataset: Dataset,
    tasks: Tasks,
    attack: Attack,
    out: Path | None,
    *,
    queries: int,
    seed: int,
    workers: int,
    say: Say,
) -> tuple[Campaign, dict[str, Any]]:
    """What the attack on one file found, and its figures; with a folder, its files too."""
    state = None if out is None else out / STATE
    if state is not None and state.exists():
        say(f"going on from {state}")
    started = time.perf_counter()
    with _bar(file.path.name, len(tasks.records) * queries, "query") as bar:
        campaign = attack_file(
            file,
            dataset,
            tasks,
            attack=attack,
            queries=queries,
            seed=seed,
            workers=workers,
            state=state,
            progress=bar.update,
        )
    seconds = time.perf_counter() - started
    return campaign, figures(campaign, seconds=seconds) if out is None else write_report(campaign, out, seconds=seconds)


def _against_white_box(campaign: Campaign) -> dict[str, Any]:
    from edgeguard.evaluation.against_white_box import against_white_box

    with _bar("white box", len(campaign.traces), "record") as bar:
        compared = against_white_box(campaign, progress=bar.update)
    return {**compared, "check": to_json(compared["check"])}


def _transferred(campaign: Campaign, others: list[OnnxModel]) -> list[dict[str, Any]]:
    """What the file attacked and the others make of the records that fooled it."""
    found = witnesses_of(campaign)
    originals, adversarial = found.original[:, None], found.adversarial[:, None]
    judged = judge_transfer(campaign.model, originals, adversarial, found.labels, [campaign.model, *others])
    return transfer_summary(judged, victim_sha256=campaign.model.sha256)


def _bar(title: str, total: int, unit: str) -> Any:
    return tqdm(total=total, desc=title, unit=unit, disable=no_bars(), leave=False)
