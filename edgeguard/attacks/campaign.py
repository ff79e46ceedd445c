"""A black-box attack on a deployed file: which records, and what is kept of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeguard.attacks.black_box import BlackBoxResult, attack_records, settings
from edgeguard.attacks.oracle import RAIL_UV
from edgeguard.attacks.scheduler import Trace
from edgeguard.attacks.walk import Attack
from edgeguard.attacks.witnesses import ANY_WRONG, Witnesses, narrowest_band
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.origin import Named, load_named
from edgeguard.ecg.split import stratified
from edgeguard.ecg.unseen import file_training, unseen_records
from edgeguard.errors import InputError, unknown
from edgeguard.runtime.session import OnnxModel


@dataclass(frozen=True)
class Campaign:
    """An attack on one file, done.

    Attributes:
        model: that was attacked.
        dataset: that the records come from.
        attack: that was run.
        records: int64 [N], indices into the data set.
        labels: int64 [N], true labels as indices into the model's classes.
        targets: int64 [N], labels to reach; None for an untargeted attack.
        found: what came of it, record 0 .. N - 1.
        budget: queries allowed a record.
        seed: of the choice of records and of the attack.
    """

    model: OnnxModel
    dataset: Dataset
    attack: Attack
    records: np.ndarray
    labels: np.ndarray
    targets: np.ndarray | None
    found: BlackBoxResult
    budget: int
    seed: int

    @property
    def traces(self) -> list[Trace]:
        """Of the records that were attacked."""
        return list(self.found.traces.values())

    @property
    def skipped(self) -> int:
        """Records that were not attacked, because the model gets them wrong anyway or has them in the target class."""
        return len(self.records) - len(self.found.traces)

    @property
    def names(self) -> list[str]:
        """Of the N records."""
        return [self.dataset.names[i] for i in self.records]


@dataclass(frozen=True)
class Tasks:
    """What an attacker sets out to do.

    Attributes:
        records: int64 [N], indices into a data set; one may come more than once.
        targets: int64 [N], classes to turn them into, as indices into the model's; None: any wrong one.
        starts: float32 [N, S, 1, T], where to start; None: other records of the set, and noise.
    """

    records: np.ndarray
    targets: np.ndarray | None = None
    starts: np.ndarray | None = None


def targets_of(model: OnnxModel, target: str | None, number: int) -> np.ndarray | None:
    """int64 [number]: one class for all records; None where none is named.

    Raises InputError for a target that is no class of the model.
    """
    if target is None:
        return None
    if target not in model.classes:
        raise unknown("--target", target, model.classes, problem=f"no class of {model.path}")
    return np.full(number, model.classes.index(target))


def load_windows(model: OnnxModel, named: Named, *, seed: int = 0) -> Dataset:
    """The records of a data source as the model takes them: its classes, sampling rate and window.

    Args:
        seed: of synthetic records.

    Raises InputError as `edgeguard.ecg.sources.load_dataset` does.
    """
    return load_named(named, seed=seed, window=model.window, classes=model.classes, sampling_rate=model.sampling_rate)


def choose_records(
    model: OnnxModel, dataset: Dataset, *, part: str = "test", samples: int = 64, seed: int = 0
) -> tuple[np.ndarray, str]:
    """Records to attack: a seeded draw that keeps the shares of the classes.

    Args:
        part: `test`: those that the file's network was not trained or chosen on, as far as that is known; or `all`.
        samples: how many at most.

    Returns:
        (int64 indices, rising; where they come from, for people).

    Raises InputError where the file's network has seen every record.
    """
    unseen = unseen_records(dataset, file_training(model), part=part)
    return stratified(dataset.labels, unseen.index, samples, seed=seed), f"{dataset.source}: {unseen.line}"


def attack_file(
    model: OnnxModel,
    dataset: Dataset,
    tasks: Tasks,
    *,
    attack: Attack,
    queries: int = 1000,
    seed: int = 0,
    workers: int = 1,
    state: Path | None = None,
    progress: Callable[[int], object] | None = None,
) -> Campaign:
    """Attack the records that a file classifies correctly, each with `queries` of its own; see `attack_records`.

    Args:
        dataset: in the model's classes.

    Raises InputError for records of other classes.
    """
    if dataset.classes != model.classes:
        ours, theirs = ",".join(model.classes), ",".join(dataset.classes)
        raise InputError(f"{dataset.source}: records of classes {theirs}, {model.path} has {ours}; load them for it")
    ecg, mask, labels = dataset.batch(tasks.records)
    model.keep_invariant_batches(ecg)
    found = attack_records(
        model,
        ecg,
        mask,
        labels,
        [dataset.names[i] for i in tasks.records],
        attack=attack,
        queries=queries,
        sampling_rate=model.sampling_rate,
        step_uv=model.input_step_uv or 0.0,
        targets=tasks.targets,
        starts=tasks.starts,
        seed=seed,
        workers=workers,
        state=state,
        model_id=model.sha256,
        progress=progress,
    )
    return Campaign(model, dataset, attack, tasks.records, labels, tasks.targets, found, queries, seed)


def witnesses_of(campaign: Campaign) -> Witnesses:
    """The adversarial records that a campaign found, for `save_witnesses`."""
    found = {row: trace for row, trace in campaign.found.traces.items() if trace.nearest_l2 is not None}
    rows = np.fromiter(found, np.int64, len(found))
    chosen = campaign.records[rows]
    targets = np.full(len(campaign.records), ANY_WRONG) if campaign.targets is None else campaign.targets
    model, dataset = campaign.model, campaign.dataset

    def points(nearest: list[np.ndarray | None]) -> np.ndarray:
        return np.array(nearest, np.float32).reshape(len(rows), model.window)

    return Witnesses(
        attack=campaign.attack.name,
        settings=json.dumps(settings(campaign.attack)),
        model_sha256=model.sha256,
        classes=tuple(model.classes),
        sampling_rate=model.sampling_rate,
        budget=campaign.budget,
        seed=campaign.seed,
        fingerprint=dataset.fingerprint,
        rail_uv=RAIL_UV,
        eps_uv=None,
        tasks=tuple(campaign.names),
        ledger=campaign.found.ledger,
        rows=rows,
        labels=campaign.labels[rows],
        targets=targets[rows],
        left=dataset.left[chosen].astype(np.int64),
        length=dataset.length[chosen].astype(np.int64),
        original=campaign.found.originals[rows, 0],
        adversarial=points([trace.nearest_l2 for trace in found.values()]),
        adversarial_linf=points([trace.nearest_linf for trace in found.values()]),
        l2_uv=np.array([trace.l2[-1] for trace in found.values()], np.float64),
        linf_uv=np.array([trace.linf[-1] for trace in found.values()], np.float64),
        found_at=np.array([trace.queries[-1] for trace in found.values()], np.int64),
        band_hz=_bands(campaign, found),
    )


def _bands(campaign: Campaign, found: dict[int, Trace]) -> np.ndarray:
    """float64 [M]: upper edge in hertz of the band that the attack keeps to, or widened to; NaN without one."""
    high_hz = settings(campaign.attack).get("high_hz")
    if high_hz is None:
        return np.full(len(found), np.nan)
    bands = []
    for row, trace in found.items():
        original, record = campaign.found.originals[row], campaign.records[row]
        left, length = int(campaign.dataset.left[record]), int(campaign.dataset.length[record])
        nearest = [point for point in (trace.nearest_l2, trace.nearest_linf) if point is not None]
        parts = [(point - original)[0, left : left + length].astype(np.float64) for point in nearest]
        bands.append(narrowest_band(parts, high_hz, campaign.model.sampling_rate))
    return np.array(bands, np.float64)
