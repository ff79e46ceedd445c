"""The boundary attack with smooth proposals: a black-box attack that sees labels only.

Source: Brendel et al. 2018 (arXiv 1712.04248), in the form of Lam et al. 2020 (nesl/Black-box-ECG-attack),
whose random steps are smoothed with a Hanning window of 41 samples. Repaired here:

- steps are relative to the distance, so the attack is free of scale and runs in microvolts;
- padding is never touched, neither by the start nor by a step;
- the source step stays below 1, and a step must come closer to be accepted;
- every query counts, also those for the start, and none is made beyond the budget;
- the walk ends when its source step is below 1e-7, or when nothing is accepted for long;
- after the start, bisection on the line to the original saves the walk its first hundreds of queries;
- first steps are large and adapt quickly. With the published ones (both .01, judged in every tenth iteration,
  queues of 100 and 30) a budget of a thousand queries is spent before a step size has changed once;
- the random step has a lower bound, so that it still reaches past the input codes of a quantised model.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import ClassVar

import numpy as np

from edgeguard.attacks.noise import NoiseBank, hanning_bank, white_bank
from edgeguard.attacks.walk import Norm, Task, Walk, ask, bisect
from edgeguard.errors import InputError

_NOISE_BLOCK = 8
_SPECTRAL_STARTS = 10
_SMALLEST_STEP = 1e-7
_LARGEST_SOURCE_STEP = 0.5
_LARGEST_SPHERICAL_STEP = 1.0


@dataclass(frozen=True)
class Boundary:
    """The attack and its settings.

    Attributes:
        smoothing: samples of the Hanning window that smooths a random step, odd; 0 for white steps.
        spherical_step: length of the first random step, relative to the distance.
        source_step: share of the distance that the first step towards the original takes off.
        smallest_spherical_step: the random step shrinks no further. On an int8 model smaller ones fall
            between the codes of the input, the walk sticks, and the model looks more robust than it is.
        factor: by which a step size is raised or lowered.
        proposals: at most so many random directions an iteration.
        check_every: iterations between two in which the random step alone is judged too.
        spherical_queue: outcomes of random steps that decide on both step sizes.
        source_queue: outcomes of whole steps that decide on the source step.
        spectral_starts: replace the original's spectrum step by step by that of the nearest start, from the
            highest frequency down, and begin with the first mixture that fools the model (Lam et al.).
        bisections: queries that bring the start to the boundary.
        patience: iterations without an accepted step after which the walk ends.
    """

    smoothing: int = 41
    spherical_step: float = 0.5
    source_step: float = 0.05
    smallest_spherical_step: float = 0.2
    factor: float = 1.5
    proposals: int = 25
    check_every: int = 2
    spherical_queue: int = 20
    source_queue: int = 10
    spectral_starts: bool = False
    bisections: int = 10
    patience: int = 100

    name = "boundary"
    norm: ClassVar[Norm] = "l2"

    def __post_init__(self) -> None:
        """Raises InputError for a smoothing window that is even."""
        if self.smoothing and self.smoothing % 2 == 0:
            raise InputError(f"smoothing: {self.smoothing} is even; a Hanning window of odd length needed")

    def walk(self, task: Task) -> Walk:
        """The attack on one record.

        With delta the difference to the original, eta smooth noise orthogonal to it and of length p |delta|, a
        random step stays on the sphere of radius |delta|, and a whole step scales its result by 1 - q:

            delta' = (1 - q) (delta + eta) / sqrt(1 + p^2),  |delta'| = (1 - q) |delta|
        """
        original, starts = task.original, task.starts
        if self.spectral_starts and len(starts):
            starts = np.concatenate([_spectral_mixtures(original, task.mask, starts[0]), starts])
        for start in starts:
            if (yield from ask(start)):
                delta = start - original
                break
        else:
            return "no start"
        delta *= np.float32((yield from bisect(original, delta, queries=self.bisections)))

        length = original.shape[-1]
        # A window of 3 weighs 0, 1, 0: one that leaves the noise white.
        bank = hanning_bank(length, window=self.smoothing) if self.smoothing > 3 else white_bank(length)
        noise = _draws(bank, task)
        p, q = self.spherical_step, self.source_step
        spherical: deque[bool] = deque(maxlen=self.spherical_queue)
        source: deque[bool] = deque(maxlen=self.source_queue)
        idle = 0
        for iteration in count():
            checking = iteration % self.check_every == 0
            distance = _length(delta)
            idle += 1
            for _ in range(self.proposals):
                on_sphere = _random_step(delta, next(noise), distance, p)
                if checking:
                    spherical.append((yield from ask(original + on_sphere)))
                    if not spherical[-1]:
                        continue
                nearer = on_sphere * np.float32(1 - q)
                hit = yield from ask(original + nearer)
                if checking:
                    source.append(hit)
                if hit and _length(nearer) < distance:
                    delta = nearer
                    idle = 0
                    break
            wanted = p * _adapt(spherical, self.factor)
            stepped = float(np.clip(wanted, self.smallest_spherical_step, _LARGEST_SPHERICAL_STEP))
            q = min(q * stepped / p * _adapt(source, self.factor), _LARGEST_SOURCE_STEP)
            p = stepped
            if q < _SMALLEST_STEP:
                return "converged"
            if idle >= self.patience:
                return "stalled"
        raise AssertionError("unreachable")


def _draws(bank: NoiseBank, task: Task) -> Iterator[np.ndarray]:
    """Endless noise [1, T], zero on padding."""
    while True:
        yield from bank.draw(task.rng, _NOISE_BLOCK)[:, None] * task.mask


def _random_step(delta: np.ndarray, noise: np.ndarray, distance: float, p: float) -> np.ndarray:
    """delta moved by p |delta| along noise, orthogonally to it, and brought back to its length."""
    along = float(np.vdot(noise, delta)) / distance**2
    across = np.sqrt(max(_length(noise) ** 2 - (along * distance) ** 2, 0.0))
    scale = 1 / np.sqrt(1 + p**2)
    share = scale * p * distance / across if across else 0.0
    return np.float32(scale - share * along) * delta + np.float32(share) * noise


def _adapt(outcomes: deque[bool], factor: float) -> float:
    """Factor for a step size once its queue is full: up above half successes, down below a fifth."""
    if len(outcomes) < (outcomes.maxlen or 0):
        return 1.0
    rate = sum(outcomes) / len(outcomes)
    if 0.2 <= rate <= 0.5:
        return 1.0
    outcomes.clear()
    return factor if rate > 0.5 else 1 / factor


def _spectral_mixtures(original: np.ndarray, mask: np.ndarray, start: np.ndarray) -> np.ndarray:
    """float32 [9, 1, T]: the original with ever more of the start's spectrum, from the top down."""
    ours, theirs = np.fft.rfft(original), np.fft.rfft(start)
    length = original.shape[-1]
    mixtures = []
    for i in range(1, _SPECTRAL_STARTS):
        cut = length // 2 - i * length // (2 * _SPECTRAL_STARTS)
        mixed = np.concatenate([ours[..., :cut], theirs[..., cut:]], axis=-1)
        mixtures.append(np.where(mask, np.fft.irfft(mixed, length), original))
    return np.stack(mixtures).astype(np.float32)


def _length(vector: np.ndarray) -> float:
    """Euclidean norm."""
    return float(np.sqrt(np.vdot(vector, vector)))
