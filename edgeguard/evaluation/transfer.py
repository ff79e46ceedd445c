"""Do the adversarial records of one file fool others? Table 6 of the ADT paper, with the control that it lacks.

The paper attacks undefended networks with the targeted boundary attack of Lam et al. 2020 (nesl/Black-box-ECG-attack:
an original of class a, a start of class b, both called right) and lets the defended networks name the original class of
what it finds. Such points hug the boundary of another network, and every original is an easy one. Only beside an
undefended network of another seed, and beside the clean originals, does a high accuracy say anything of a defence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from edgeguard.attacks.oracle import to_codes
from edgeguard.attacks.witnesses import is_right
from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.evaluation.intervals import rate
from edgeguard.runtime.session import OnnxModel

_BATCH = 64
_TRIES = 16
"""Partners that are tried as the start of one original."""


@dataclass(frozen=True)
class Pairs:
    """N tasks of a targeted attack: turn an original of one class into the class of its partner.

    Attributes:
        originals, partners: int64 [N], indices into the data set.
        labels, targets: int64 [N], their classes as indices into the classes of the file attacked.
    """

    originals: np.ndarray
    partners: np.ndarray
    labels: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.originals)

    def starts(self, dataset: Dataset) -> np.ndarray:
        """float32 [N, 1, 1, T] microvolts: the partner where the original has samples, its padding elsewhere."""
        return _starts(dataset, self.originals, self.partners)[:, None]


@dataclass(frozen=True)
class Transfer:
    """What one file makes of the adversarial records of another.

    Attributes:
        model: path of the file.
        sha256: of the file.
        defense: as the file's metadata have it, "none" being a control; None where they do not say.
        clean, adversarial: bool [N], the file gives the original, or the adversarial record, the original's class.
    """

    model: str
    sha256: str
    defense: str | None
    clean: np.ndarray
    adversarial: np.ndarray


def choose_pairs(model: OnnxModel, dataset: Dataset, index: np.ndarray, *, count: int = 5, seed: int = 0) -> Pairs:
    """Pairs for every ordered pair of the model's classes: a seeded draw from what the model calls right.

    The start, which is the partner cut to the original's valid part, is of the target class for the model too. Within
    one ordered pair of classes no record appears twice on one side.

    Args:
        dataset: in the model's classes.
        index: int64, the records to draw from.
        count: pairs for an ordered pair of classes; fewer where the records do not suffice.

    Raises InputError for a count below 1, or when no pair can be made.
    """
    if count < 1:
        raise InputError(f"--pairs {count}: at least 1 needed")
    right = index[_right(model, dataset, index, dataset.labels[index])]
    pools = {label: right[dataset.labels[right] == label] for label in range(len(model.classes))}
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, int, int]] = []
    for label, target in permutations(pools, 2):
        originals, partners = rng.permutation(pools[label]), rng.permutation(pools[target]).tolist()
        found = 0
        for original in originals.tolist():
            if found == count:
                break
            tried = partners[:_TRIES]
            starts = _starts(dataset, np.full(len(tried), original), np.asarray(tried, np.int64))
            fits = is_right(model.logits(starts), np.full(len(tried), target))
            if fits.any():
                partner = partners.pop(int(fits.argmax()))
                rows.append((original, partner, label, target))
                found += 1
    if not rows:
        raise InputError(f"{model.path}: calls records of fewer than two classes right; give more records")
    return Pairs(*np.array(rows, np.int64).T)


def judge_transfer(
    victim: OnnxModel,
    originals: np.ndarray,
    adversarial: np.ndarray,
    labels: np.ndarray,
    others: Sequence[OnnxModel],
    *,
    progress: Callable[[int], object] | None = None,
) -> list[Transfer]:
    """Let other files name the original class of adversarial records. Ties count for the attacker.

    Args:
        originals, adversarial: float32 [N, 1, T] microvolts.
        labels: int64 [N], of the originals, as indices into the victim's classes.
        progress: called with the records that a file has just been asked about.

    Raises InputError for a file that takes other records than the victim, or lacks a class of theirs.
    """
    found = []
    for other in others:
        theirs = _labels_of(other, victim, labels)
        clean, attacked = (is_right(other.logits(ecg), theirs) for ecg in (originals, adversarial))
        found.append(Transfer(str(other.path), other.sha256, other.metadata.defense, clean, attacked))
        if progress:
            progress(len(labels))
    return found


def pool(parts: Sequence[Transfer]) -> Transfer:
    """One file's answers on the adversarial records of several victims, together."""
    first = parts[0]
    if any(part.sha256 != first.sha256 for part in parts):
        raise ValueError("answers of one file are needed")
    clean = np.concatenate([part.clean for part in parts])
    return Transfer(first.model, first.sha256, first.defense, clean, np.concatenate([p.adversarial for p in parts]))


def transfer_summary(found: Sequence[Transfer], *, victim_sha256: str | None = None) -> list[dict[str, Any]]:
    """A row a file: {"model", "sha256", "defense", "role", "clean", "adversarial", "fooled"}.

    `clean` and `adversarial` are rates of the original class named, on the originals and on what was made of them;
    `fooled` is the rate of adversarial records misread among those whose original is read right. `role` is "victim",
    "control" for an undefended file, else "file". Wilson's interval takes records as independent, which those that
    share an original are not quite.
    """
    return [
        {
            "model": one.model,
            "sha256": one.sha256,
            "defense": one.defense,
            "role": "victim" if one.sha256 == victim_sha256 else "control" if one.defense == "none" else "file",
            "clean": rate(int(one.clean.sum()), len(one.clean)),
            "adversarial": rate(int(one.adversarial.sum()), len(one.adversarial)),
            "fooled": rate(int((one.clean & ~one.adversarial).sum()), int(one.clean.sum())),
        }
        for one in found
    ]


def _right(model: OnnxModel, dataset: Dataset, index: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool [N]: the model calls the records by their labels."""
    right = np.zeros(len(index), bool)
    for begin in range(0, len(index), _BATCH):
        rows = slice(begin, begin + _BATCH)
        right[rows] = is_right(model.logits(to_codes(dataset.batch(index[rows])[0])), labels[rows])
    return right


def _starts(dataset: Dataset, originals: np.ndarray, partners: np.ndarray) -> np.ndarray:
    """float32 [N, 1, T] whole microvolts."""
    ecg, mask, _ = dataset.batch(originals)
    return to_codes(np.where(mask, dataset.batch(partners)[0], ecg))


def _labels_of(other: OnnxModel, victim: OnnxModel, labels: np.ndarray) -> np.ndarray:
    """int64 [N]: indices into the victim's classes as indices into those of another file."""
    for what, theirs, ours in (
        ("a window of samples", other.window, victim.window),
        ("a sampling rate in Hz", other.sampling_rate, victim.sampling_rate),
    ):
        if theirs != ours:
            raise InputError(f"--transfer {other.path}: has {what} of {theirs}, the victim {ours}; name a file like it")
    lacking = {victim.classes[label] for label in np.unique(labels)} - set(other.classes)
    if lacking:
        raise InputError(f"--transfer {other.path}: has no class {','.join(sorted(lacking))}; name a file with it")
    places = np.array([other.classes.index(name) if name in other.classes else -1 for name in victim.classes])
    return np.asarray(places[labels])
