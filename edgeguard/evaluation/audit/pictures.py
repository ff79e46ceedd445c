"""Attacked records to look at: the clearest changes of mind at the smallest budget, and what the file looks at."""

from dataclasses import dataclass
from itertools import islice, zip_longest

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from scipy.special import softmax
from torch import nn

from edgeguard.attacks.gradient import crafting, loss_and_gradient
from edgeguard.attacks.losses import margin
from edgeguard.ecg.record import ALARM
from edgeguard.evaluation.adversarial import craft, whole_codes
from edgeguard.evaluation.audit.forms import Forms
from edgeguard.evaluation.audit.records import Records
from edgeguard.evaluation.audit.result import Picture
from edgeguard.evaluation.audit.scores import clean_classes
from edgeguard.evaluation.evaluate import Evaluation, Judged

_SMOOTH_SECONDS = 0.02
_TRIES = 3
"""Candidates tried a picture: what is crafted alone may differ in the last bit from what was crafted in company."""


@dataclass(frozen=True)
class _Flip:
    """A record that an attack turned: its place in the evaluation, the attack, and the certainty of the wrong class."""

    place: int
    entry: Judged
    certainty: float


def draw_pictures(
    forms: Forms, records: Records, evaluation: Evaluation, *, count: int, seed: int
) -> tuple[Picture, ...]:
    """The most certain wrong answers to attacked records that the file has right, of every class in turn, A first.

    Args:
        evaluation: of the audited file at the smallest budget.
    """
    made = (_picture(forms, records, flip, seed) for flip in _in_turn(evaluation)[: _TRIES * count])
    return tuple(islice((picture for picture in made if picture is not None), count))


def saliency(network: nn.Module, ecg: np.ndarray, mask: np.ndarray, label: int, sampling_rate: float) -> np.ndarray:
    """float32 [T]: |gradient of the margin of `label` by the ecg|, smoothed over 20 ms; 0 on padding.

    Simonyan, Vedaldi & Zisserman 2014 (arXiv 1312.6034).

    Args:
        ecg, mask: float32 and bool [1, T].
    """
    with crafting(network) as forward:
        _, gradient = loss_and_gradient(forward, torch.from_numpy(ecg[None]), torch.tensor([label]), margin)
    weight = np.where(mask[0], np.abs(gradient[0, 0].numpy()), 0)
    return np.asarray(np.where(mask[0], gaussian_filter1d(weight, _SMOOTH_SECONDS * sampling_rate), 0), np.float32)


def _in_turn(evaluation: Evaluation) -> list[_Flip]:
    """Every flip: the best one of each class, then the second best, and so on."""
    flips, classes = _flips(evaluation), list(range(len(evaluation.classes)))
    if ALARM in evaluation.classes:
        classes.insert(0, classes.pop(evaluation.classes.index(ALARM)))
    own = [[flip for flip in flips if evaluation.labels[flip.place] == place] for place in classes]
    return [flip for turn in zip_longest(*own) for flip in turn if flip is not None]


def _flips(evaluation: Evaluation) -> list[_Flip]:
    """Each record that is right clean and wrong under an attack once, at its most certain; smooth attacks first."""
    right = clean_classes(evaluation) == evaluation.labels
    best: dict[int, _Flip] = {}
    for entry in evaluation.judged:
        if entry.gradient is None or entry.logits is None:
            continue
        shares = softmax(np.asarray(entry.logits, np.float64), axis=1)
        for place in np.flatnonzero(right & (entry.predicted != evaluation.labels)):
            flip = _Flip(int(place), entry, float(shares[place, entry.predicted[place]]))
            known = best.get(flip.place)
            if known is None or _rank(flip) > _rank(known):
                best[flip.place] = flip
    return sorted(best.values(), key=_rank, reverse=True)


def _rank(flip: _Flip) -> tuple[bool, float]:
    return flip.entry.attack.family != "pgd", flip.certainty


def _picture(forms: Forms, records: Records, flip: _Flip, seed: int) -> Picture | None:
    """None where the attack, crafted anew on this record alone, does not turn it."""
    source = next(source for source in forms.sources if source.name == flip.entry.gradient)
    dataset, file = records.dataset, forms.file
    record = records.index[flip.place]
    clean, mask, labels = dataset.batch(np.array([record]))
    label = int(labels[0])
    attack = flip.entry.attack
    adversarial = whole_codes(craft(source, dataset, np.array([record]), attack, seed), clean, attack.eps)
    before, after = softmax(file.logits(np.concatenate([clean, adversarial])).astype(np.float64), axis=1)
    if before.argmax() != label or after.argmax() == label:
        return None
    network = next((one.model for one in forms.audited.sources if one.twin_of), source.model)
    weigh = [saliency(network, ecg[0], mask[0], label, file.sampling_rate) for ecg in (clean, adversarial)]
    return Picture(
        record=dataset.names[record],
        true=file.classes[label],
        attack=attack.family,
        eps_uv=attack.eps,
        clean_class=file.classes[int(before.argmax())],
        attacked_class=file.classes[int(after.argmax())],
        clean_probability=float(before.max()),
        attacked_probability=float(after.max()),
        sampling_rate=file.sampling_rate,
        left=int(dataset.left[record]),
        length=int(dataset.length[record]),
        ecg=clean[0, 0],
        adversarial=adversarial[0, 0],
        clean_saliency=weigh[0],
        attacked_saliency=weigh[1],
    )
