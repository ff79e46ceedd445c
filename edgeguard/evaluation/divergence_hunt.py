"""Divergences between two deployed networks: hunted, judged and counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from edgeguard.attacks.divergence import SHAPES, hunt, straddle
from edgeguard.attacks.losses import Loss
from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.evaluation.adversarial import whole_codes
from edgeguard.evaluation.contender import Contender
from edgeguard.evaluation.divergences import Divergences
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.sources import Source
from edgeguard.runtime.telling import no_bars

_BATCH = 32


@dataclass(frozen=True)
class Party:
    """One of two networks that are meant to be the same.

    Attributes:
        name: of the file or run.
        network: whose gradient guides the hunt, from [B, 1, T] microvolts to logits [B, C].
        judge: (ecg float32 [B, 1, T], labels int64 [B]) to classes int64 [B], as deployed; ties go to a wrong class.
        sha256: of what is judged.
    """

    name: str
    network: nn.Module
    judge: Callable[[np.ndarray, np.ndarray], np.ndarray]
    sha256: str


def parties(contenders: Sequence[Contender]) -> tuple[Party, Party]:
    """Two contenders with the gradients to hunt by: a file's twin, or where it has none its run.

    Raises InputError where a contender has no gradient that leads anywhere, or both have the same.
    """
    sources = [_guide(one) for one in contenders]
    first, second = (
        Party(one.subject.name, source.model, one.subject.judge, one.subject.sha256)
        for one, source in zip(contenders, sources, strict=True)
    )
    if sources[0].identity == sources[1].identity:
        raise InputError(
            f"--hunt: {first.name} and {second.name} have one gradient, {sources[0].name}; add twin to --gradient"
        )
    return first, second


def find_divergences(
    first: Party,
    second: Party,
    ecg: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    names: Sequence[str],
    *,
    eps: float = 10.0,
    steps: int = 40,
    shapes: Sequence[str] = SHAPES,
    loss: Loss = straddle,
    seed: int | None = None,
) -> Divergences:
    """Hunt on every record, in both directions and every shape; the records as they are count too, where they diverge.

    Only the parties' judges decide, on whole ADC codes.

    Args:
        ecg, labels, mask: float32 [N, 1, T] in microvolts, int64 [N], bool [N, 1, T].
        shapes: of `attacks.divergence.SHAPES`.
        loss: what the hunt climbs.
        seed: of a random start; None starts at the records.
    """
    found: dict[tuple[int, bool], tuple[np.ndarray, np.ndarray]] = {}
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    with tqdm(
        total=2 * len(shapes) * len(ecg), desc="divergence", unit="record", dynamic_ncols=True, disable=no_bars()
    ) as bar:
        for begin in range(0, len(ecg), _BATCH):
            rows = np.arange(begin, min(begin + _BATCH, len(ecg)))
            x, y, m = ecg[rows], labels[rows], mask[rows]
            _keep(found, first, second, rows, x, y)
            for shape in shapes:
                for right, wrong in ((first, second), (second, first)):
                    candidates = hunt(
                        right.network, wrong.network, *(torch.from_numpy(part) for part in (x, y, m)),
                        eps=eps, steps=steps, shape=shape, loss=loss, generator=generator,
                    )  # fmt: skip
                    _keep(found, first, second, rows, whole_codes(candidates.numpy(), x, eps), y)
                    bar.update(len(rows))
    keys = sorted(found)
    rows = np.array([row for row, _ in keys], np.int64)
    samples = ecg.shape[-1]
    return Divergences(
        parties=(first.name, second.name),
        sha256=(first.sha256, second.sha256),
        names=np.array([names[int(row)] for row in rows], str),
        labels=labels[rows],
        original=ecg[rows, 0],
        adversarial=np.array([found[key][0] for key in keys], np.float32).reshape(-1, samples),
        predicted=np.array([found[key][1] for key in keys], np.int64).reshape(-1, 2),
        eps=eps,
        tried=len(ecg),
    )


def hunt_records(
    first: Party, second: Party, dataset: Dataset, index: np.ndarray, attacks: Sequence[Attack]
) -> Divergences:
    """Hunt on records of a data set, within the attacks' eps and with as many steps as the longest of them."""
    ecg, mask, labels = dataset.batch(index)
    names = [dataset.names[record] for record in index]
    eps = max(attack.eps for attack in attacks)
    steps = max(attack.steps for attack in attacks if attack.name != "square")
    return find_divergences(first, second, ecg, labels, mask, names, eps=eps, steps=steps)


def divergence_summary(found: Divergences) -> dict[str, Any]:
    """Rates of the records hunted on: only the first party right, only the second, either."""
    only_first = found.only_first
    either = len(np.unique(found.names))
    return {
        "parties": list(found.parties),
        "eps_uv": found.eps,
        "only_first_right": rate(int(only_first.sum()), found.tried),
        "only_second_right": rate(int((~only_first).sum()), found.tried),
        "either": rate(either, found.tried),
    }


def _guide(contender: Contender) -> Source:
    guides = [source for source in contender.sources if source.name != "none"]
    if not guides:
        raise InputError(f"--hunt: {contender.subject.name} has no gradient to follow; add twin to --gradient")
    return min(guides, key=lambda source: source.twin_of is None)


def _keep(
    found: dict[tuple[int, bool], tuple[np.ndarray, np.ndarray]],
    first: Party,
    second: Party,
    rows: np.ndarray,
    ecg: np.ndarray,
    labels: np.ndarray,
) -> None:
    """Add the records that diverge, by (row, whether the second party is the right one); the first of each is kept."""
    predicted = np.stack([first.judge(ecg, labels), second.judge(ecg, labels)], 1)
    right = predicted == labels[:, None]
    for place in np.flatnonzero(right[:, 0] != right[:, 1]):
        found.setdefault((int(rows[place]), bool(right[place, 1])), (ecg[place, 0], predicted[place]))
