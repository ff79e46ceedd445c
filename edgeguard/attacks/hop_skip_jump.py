"""HopSkipJump in its plain form: the boundary's normal from the labels of white probes around a point on it.

Chen, Jordan, Wainwright, "HopSkipJumpAttack: A Query-Efficient Decision-Based Attack", 2020, arXiv 1904.02144, L2,
untargeted or targeted. Step for step as in its reference code (Jianbo-Lab/HSJA); bisection threshold and probe size
are the Adversarial Robustness Toolbox's, HSJA's own shrink with the number of samples. Two things differ: a start is
another record and not uniform noise, since microvolts have no bounds, and the first probe is measured by the span
of the record for the same reason.

The probes are white and shrink with the distance. Once their root mean square is well below the step of a quantised
input they say nothing any more: the attack stalls, and the file seems robust. `smooth-geo` does not.
"""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np

from edgeguard.attacks.noise import white_bank
from edgeguard.attacks.walk import Norm, Request, Task, Walk, ask, bisect

BLOCK = 16
"""Probes asked at a time."""
NOWHERE = 0.5
"""Length, in microvolts, of a perturbation that rounds to none in every sample."""
_HALVINGS = 20
"""Of a step that leaves the adversarial side, before it is given up."""


@dataclass(frozen=True)
class HopSkipJump:
    """Settings of the attack.

    Attributes:
        probes: of the first estimate; that of iteration t takes sqrt(t) times as many.
        most_probes: of an estimate.
        probe: length of a probe, relative to the distance.
        first_probe: the same of the first estimate, relative to the span of the record, largest less smallest sample.
        threshold: at which bisection stops, relative to the distance, times the root of the number of samples.
    """

    probes: int = 100
    most_probes: int = 10_000
    probe: float = 0.01
    first_probe: float = 0.1
    threshold: float = 0.01

    name = "hopskipjump"
    norm: ClassVar[Norm] = "l2"

    def walk(self, task: Task) -> Walk:
        """The attack on one record; it returns only where there is nothing to attack, else the budget ends it."""
        original, valid = task.original, int(task.mask.sum())
        for start in task.starts:
            if (yield from ask(start)):
                delta = start - original
                break
        else:
            return "no start"

        halvings = int(np.ceil(np.log2(np.sqrt(max(valid, 1)) / self.threshold)))
        for iteration in count(1):
            delta = delta * np.float32((yield from bisect(original, delta, queries=halvings)))
            distance = float(np.linalg.norm(delta))
            if distance < NOWHERE:
                return "at the original"
            size = self.probe * distance if iteration > 1 else self.first_probe * float(np.ptp(original[task.mask]))
            probes = int(min(self.probes * np.sqrt(iteration), self.most_probes))
            normal = yield from estimate_normal(original + delta, _white_probes(task, size, probes))
            step = distance / np.sqrt(iteration)
            for _ in range(_HALVINGS):
                stepped = delta + np.float32(step) * normal
                if (yield from ask(original + stepped)):
                    delta = stepped
                    break
                step /= 2
        raise AssertionError("unreachable")


def estimate_normal(centre: np.ndarray, probes: Iterable[np.ndarray]) -> Generator[Request, np.ndarray, np.ndarray]:
    """The direction from a boundary point [1, T] towards the adversarial side, float32 [1, T], of length 1 or 0.

    The sum of the probes, weighted with their labels +-1 less the mean label (equation 16 of the paper); the mean
    stays where all labels are equal, as in the reference code.

    Args:
        probes: blocks [K, 1, T] of differences to the centre, all of about one length.
    """
    sums = np.zeros((2, *centre.shape), np.float32)
    hits = asked = 0
    for block in probes:
        told = yield Request(centre + block, centre)
        # one pass over the block gives the sum of the probes that hit, and that of all
        sums += np.tensordot(np.stack([told, np.ones_like(told)]).astype(np.float32), block, axes=1)
        hits += int(told.sum())
        asked += len(told)
    return unit(sums[0] - np.float32(mean_told(hits, asked)) * sums[1])


def mean_told(hits: int, asked: int) -> float:
    """What to take from labels told, 0 or 1, before they weigh their probes: their mean, or 1/2 where all are equal.

    With label = 2 told - 1, told less the mean of told is half of label less mean label; where all labels are equal,
    the reference code keeps them as they are.
    """
    return hits / asked if 0 < hits < asked else 0.5


def unit(direction: np.ndarray) -> np.ndarray:
    """The direction, made one long; zeros stay zeros."""
    length = np.linalg.norm(direction)
    return direction / length if length else direction


def _white_probes(task: Task, size: float, number: int) -> Iterator[np.ndarray]:
    """Blocks [K, 1, T] of white noise on the valid samples, each row of length `size`."""
    bank = white_bank(task.original.shape[-1])
    for first in range(0, number, BLOCK):
        noise = bank.draw(task.rng, min(BLOCK, number - first))[:, None] * task.mask
        yield noise * (np.float32(size) / np.linalg.norm(noise, axis=-1, keepdims=True))
