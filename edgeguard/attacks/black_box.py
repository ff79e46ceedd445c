"""A black-box attack on records: each from its own starts, with its own budget and its own random numbers."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.attacks import scheduler
from edgeguard.attacks.journal import Journal, load_journal, save_journal
from edgeguard.attacks.meter import MaskingMeter
from edgeguard.attacks.oracle import Classifier, LabelOracle, ThreatModel, to_codes
from edgeguard.attacks.own_black_box import OwnAttack
from edgeguard.attacks.scheduler import Trace
from edgeguard.attacks.starts import nearest_starts, noise_starts
from edgeguard.attacks.walk import Attack, Task, Walk
from edgeguard.attacks.witnesses import ANY_WRONG

ADC_STEP_UV = 1.0
"""Perturbations are rounded to it: the step of the records' own ADC."""


@dataclass(frozen=True)
class BlackBoxResult:
    """What an attack found on N records.

    Attributes:
        originals: float32 [N, 1, T], the records in whole microvolts.
        predicted: int64 [N], labels that the model gives them; -1 where the budget covers no query.
        traces: record 0 .. N - 1 -> what was found, for the records attacked.
        ledger: int64 [N], queries a record.
        meter: what became of the attack's probes.
    """

    originals: np.ndarray
    predicted: np.ndarray
    traces: dict[int, Trace]
    ledger: np.ndarray
    meter: MaskingMeter


def attack_records(
    model: Classifier,
    ecg: np.ndarray,
    mask: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    attack: Attack,
    queries: int = 1000,
    sampling_rate: float = 300.0,
    step_uv: float = ADC_STEP_UV,
    targets: np.ndarray | None = None,
    starts: np.ndarray | None = None,
    attacked: np.ndarray | None = None,
    seed: int = 0,
    workers: int = 1,
    batch: int = scheduler.BATCH,
    lanes: int = scheduler.LANES,
    state: Path | None = None,
    model_id: str = "",
    progress: Callable[[int], object] | None = None,
) -> BlackBoxResult:
    """Attack the records that a model classifies correctly.

    The first query of a record is its original. Each record has its own random stream, made of its name, the attack's
    and `seed`, so its result depends neither on its company nor on `workers`, `batch` and `lanes`, as long as the
    model's logits do not.

    Args:
        ecg: float32 [N, 1, T], microvolts; rounded to whole ones.
        mask: bool [N, 1, T], False on padding.
        labels: int64 [N], true classes.
        names: N names; a name may come more than once.
        queries: budget a record.
        step_uv: the finest difference in a sample that the model can see, microvolts.
        targets: int64 [N], classes to turn the records into; None: any wrong class.
        starts: float32 [N, S, 1, T], start points; default: other records that the model puts into another class (the
            target class in a targeted attack), the nearest first, then noise.
        attacked: indices to attack; the others serve as start points only. Default all.
        workers: threads that ask the model.
        state: where an interrupted attack keeps its answers; those of the same attack there are taken up, and removed
            when the attack is done. None keeps nothing.
        model_id: what tells the model from others in `state`.
        progress: called with the number of queries just spent; records that are not attacked count as spent.

    Raises InputError for logits that are not numbers, a query outside the threat model, or answers of another attack.
    """
    originals = to_codes(ecg)
    everyone = np.arange(len(originals))
    identity = _identity(model_id, originals, mask, labels, names, targets, starts, attack, queries, seed)
    journal = Journal.empty(len(labels), queries)
    if state is not None:
        journal = load_journal(state, identity, like=journal)
    threat = ThreatModel(originals, mask)
    oracle = LabelOracle(model, labels, budget=queries, targets=targets, threat=threat, journal=journal)
    advance = progress or (lambda queries: None)
    predicted = _first_look(oracle, originals, advance)
    correct = predicted == oracle.labels
    if oracle.targets is not None:
        correct &= oracle.targets != oracle.labels
    chosen = [int(record) for record in (everyone if attacked is None else attacked) if correct[record]]
    advance((len(originals) - len(chosen)) * max(queries - 1, 0))

    def walk_on(record: int) -> Walk:
        goal = ANY_WRONG if oracle.targets is None else int(oracle.targets[record])
        rng = _stream(seed, attack.name, names[record], goal)
        if starts is not None:
            own = np.where(mask[record], starts[record], originals[record])
        else:
            usable = np.flatnonzero(oracle.is_adversarial(np.full(len(predicted), record), predicted))
            near = nearest_starts(originals, mask[record], record, usable, rng)
            own = np.concatenate([near, noise_starts(originals[record], mask[record], rng)])
        return attack.walk(Task(originals[record], mask[record], own, sampling_rate, max(step_uv, ADC_STEP_UV), rng))

    meter = MaskingMeter()
    traces = scheduler.run(
        oracle,
        chosen,
        walk_on,
        originals,
        batch=batch,
        lanes=lanes,
        workers=workers,
        codes=model.input_codes,
        meter=meter,
        progress=progress,
        save=None if state is None else lambda: save_journal(state, identity, journal),
    )
    if state is not None:
        state.unlink(missing_ok=True)
    return BlackBoxResult(originals, predicted, traces, oracle.ledger, meter)


def settings(attack: Attack) -> dict[str, Any]:
    """An attack's settings, by name."""
    own = attack.attack if isinstance(attack, OwnAttack) else attack
    return asdict(own) if is_dataclass(own) and not isinstance(own, type) else {}


def _first_look(oracle: LabelOracle, originals: np.ndarray, advance: Callable[[int], object]) -> np.ndarray:
    """int64 [N]: what the model says of the originals."""
    predicted = np.full(len(originals), -1, np.int64)
    if oracle.budget:
        for begin in range(0, len(originals), scheduler.BATCH):
            rows = np.arange(begin, min(begin + scheduler.BATCH, len(originals)))
            predicted[rows] = oracle.ask(rows, originals[rows]).labels
            advance(len(rows))
    return predicted


def _stream(seed: int, attack: str, name: str, target: int) -> np.random.Generator:
    """The random numbers of one record, attack, target and seed, whatever else is attacked."""
    key = hashlib.sha256(json.dumps([seed, attack, name, target]).encode()).digest()
    return np.random.Generator(np.random.Philox(key=np.frombuffer(key[:16], np.uint64)))


def _identity(
    model_id: str,
    originals: np.ndarray,
    mask: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    targets: np.ndarray | None,
    starts: np.ndarray | None,
    attack: Attack,
    queries: int,
    seed: int,
) -> str:
    """Hex digest of all that an attack's course depends on."""
    facts = [model_id, list(names), attack.name, settings(attack), queries, seed]
    digest = hashlib.sha256(json.dumps(facts).encode())
    for array in (originals, mask, labels, targets, starts):
        digest.update(b"none" if array is None else np.ascontiguousarray(array).data)
    return digest.hexdigest()
