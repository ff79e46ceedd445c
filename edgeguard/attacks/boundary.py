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

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import scipy.fft

from edgeguard.attacks import scheduler
from edgeguard.attacks.oracle import LabelOracle, to_codes
from edgeguard.attacks.scheduler import Trace, Walk
from edgeguard.errors import InputError

_CANDIDATES = 64
"""Records that are compared by distance when starts are chosen."""
_NOISE_BLOCK = 8
_SPECTRAL_STARTS = 10
_SMALLEST_STEP = 1e-7
_LARGEST_SOURCE_STEP = 0.5
_LARGEST_SPHERICAL_STEP = 1.0


@dataclass(frozen=True)
class BoundaryOptions:
    """Settings of the walk.

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
        starts: start points tried, nearest first.
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
    starts: int = 10
    spectral_starts: bool = False
    bisections: int = 10
    patience: int = 100


@dataclass(frozen=True)
class BoundaryResult:
    """An attack on N records.

    Attributes:
        originals: float32 [N, 1, T], whole microvolts.
        predicted: int64 [N], labels that the model gives the originals; -1 where the budget is 0.
        traces: record -> what the attack on it found; records that the model got wrong anyway are missing.
    """

    originals: np.ndarray
    predicted: np.ndarray
    traces: dict[int, Trace]


def boundary_attack(
    oracle: LabelOracle,
    ecg: np.ndarray,
    mask: np.ndarray,
    names: tuple[str, ...] | list[str],
    *,
    attacked: np.ndarray | None = None,
    seed: int = 0,
    options: BoundaryOptions | None = None,
    lanes: int = scheduler.LANES,
    progress: Callable[[int], object] | None = None,
) -> BoundaryResult:
    """Attack the records that the oracle's model classifies correctly.

    The first query of a record is its original. Start points are other records of the set that the model puts
    into another class (the target class in a targeted attack). Each record has its own random stream, made of
    `seed` and its name, so its result depends neither on which others are attacked beside it nor on `lanes`.

    Args:
        oracle: of these N records, untouched.
        ecg: float32 [N, 1, T], microvolts; rounded to whole ones.
        mask: bool [N, 1, T], False on padding.
        names: N names.
        attacked: indices to attack; the others serve as start points only. Default all.
        progress: called with the queries just spent; records that are not attacked count as spent.

    Raises InputError for an even smoothing window.
    """
    options = options or BoundaryOptions()
    if options.smoothing and options.smoothing % 2 == 0:
        raise InputError(f"smoothing: {options.smoothing} is even; a Hanning window of odd length needed")
    originals = to_codes(ecg)
    everyone = np.arange(len(originals))
    if oracle.budget < 1:
        return BoundaryResult(originals, np.full(len(originals), -1, np.int64), {})
    predicted = oracle.ask(everyone, originals)
    advance = progress or (lambda queries: None)
    advance(len(originals))
    correct = predicted == oracle.labels
    if oracle.targets is not None:
        correct &= oracle.targets != oracle.labels
    walks = {}
    for i in everyone if attacked is None else attacked:
        if correct[i]:
            rng = _stream(seed, names[i])
            usable = np.flatnonzero(oracle.is_adversarial(np.full(len(predicted), i), predicted))
            starts = nearest_starts(originals, mask[i], int(i), usable, rng, options.starts)
            walks[int(i)] = boundary_walk(originals[i], mask[i], starts, rng, options)
    advance((len(originals) - len(walks)) * (oracle.budget - 1))
    traces = scheduler.run(oracle, walks, originals, lanes=lanes, progress=advance)
    return BoundaryResult(originals, predicted, traces)


def nearest_starts(
    ecg: np.ndarray, mask: np.ndarray, record: int, usable: np.ndarray, rng: np.random.Generator, number: int
) -> np.ndarray:
    """Start points float32 [K, 1, T] for one record, nearest first; the original where mask is False.

    Args:
        ecg: float32 [N, 1, T].
        mask: bool [1, T] of the record.
        record: its index.
        usable: indices of records with another predicted class; at most 64, drawn by `rng`, are compared.
        number: of start points at most.
    """
    drawn = rng.permutation(usable)[:_CANDIDATES]
    starts = np.where(mask, ecg[drawn], ecg[record])
    distance = np.linalg.norm(starts - ecg[record], axis=(1, 2))
    return starts[np.argsort(distance, kind="stable")[:number]]


def boundary_walk(
    original: np.ndarray,
    mask: np.ndarray,
    starts: np.ndarray,
    rng: np.random.Generator,
    options: BoundaryOptions,
) -> Walk:
    """The attack on one record: yields points float32 [1, T], is sent whether each is adversarial.

    With delta the difference to the original, eta smooth noise orthogonal to it and of length p |delta|, a
    random step stays on the sphere of radius |delta|, and a whole step scales its result by 1 - q:

        delta' = (1 - q) (delta + eta) / sqrt(1 + p^2),  |delta'| = (1 - q) |delta|

    Returns why it ended.
    """
    if options.spectral_starts and len(starts):
        starts = np.concatenate([_spectral_mixtures(original, mask, starts[0]), starts])
    for start in starts:
        if (yield start):
            delta = start - original
            break
    else:
        return "no start"
    delta *= yield from _bisect(original, delta, options.bisections)

    noise = smooth_noise(rng, original.shape[-1], options.smoothing)
    p, q = options.spherical_step, options.source_step
    spherical: deque[bool] = deque(maxlen=options.spherical_queue)
    source: deque[bool] = deque(maxlen=options.source_queue)
    idle = 0
    for iteration in count():
        checking = iteration % options.check_every == 0
        distance = _length(delta)
        idle += 1
        for _ in range(options.proposals):
            on_sphere = _random_step(delta, next(noise) * mask, distance, p)
            if checking:
                spherical.append((yield original + on_sphere))
                if not spherical[-1]:
                    continue
            nearer = on_sphere * np.float32(1 - q)
            hit = yield original + nearer
            if checking:
                source.append(hit)
            if hit and _length(nearer) < distance:
                delta = nearer
                idle = 0
                break
        wanted = p * _adapt(spherical, options)
        stepped = float(np.clip(wanted, options.smallest_spherical_step, _LARGEST_SPHERICAL_STEP))
        q = min(q * stepped / p * _adapt(source, options), _LARGEST_SOURCE_STEP)
        p = stepped
        if q < _SMALLEST_STEP:
            return "converged"
        if idle >= options.patience:
            return "stalled"
    raise AssertionError("unreachable")


def smooth_noise(rng: np.random.Generator, length: int, window: int) -> Iterator[np.ndarray]:
    """Endless float32 [1, length]: white Gaussian noise, filtered with a Hanning window of `window` samples.

    A window of 0 leaves it white. The scale is arbitrary. The spectrum of the filtered noise is drawn
    directly, which saves most of the random numbers: bins where the window passes less than a hundredth of
    the amplitude stay at zero.
    """
    if not window:
        while True:
            yield from rng.standard_normal((_NOISE_BLOCK, 1, length), dtype=np.float32)
    size = scipy.fft.next_fast_len(length + window - 1, real=True)
    gain = np.abs(scipy.fft.rfft(np.hanning(window), size))
    gain = gain[: np.flatnonzero(gain > 1e-2 * gain[0])[-1] + 1].astype(np.float32)
    gain[0] *= np.sqrt(2)  # a real bin holds its whole variance in one number
    while True:
        draw = rng.standard_normal((_NOISE_BLOCK, 1, 2 * len(gain)), dtype=np.float32)
        yield from scipy.fft.irfft(draw.view(np.complex64) * gain, size, axis=-1)[..., :length]


def _stream(seed: int, name: str) -> np.random.Generator:
    digest = np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32)
    return np.random.default_rng([seed, *digest.tolist()])


def _bisect(original: np.ndarray, delta: np.ndarray, queries: int) -> Generator[np.ndarray, bool, np.float32]:
    """The smallest scale of delta that was seen to be adversarial, after bisection in [0, 1]."""
    low, high = 0.0, 1.0
    for _ in range(queries):
        middle = (low + high) / 2
        if (yield original + np.float32(middle) * delta):
            high = middle
        else:
            low = middle
    return np.float32(high)


def _random_step(delta: np.ndarray, noise: np.ndarray, distance: float, p: float) -> np.ndarray:
    """delta moved by p |delta| along noise, orthogonally to it, and brought back to its length."""
    along = float(np.vdot(noise, delta)) / distance**2
    across = np.sqrt(max(_length(noise) ** 2 - (along * distance) ** 2, 0.0))
    scale = 1 / np.sqrt(1 + p**2)
    share = scale * p * distance / across if across else 0.0
    return np.float32(scale - share * along) * delta + np.float32(share) * noise


def _adapt(outcomes: deque[bool], options: BoundaryOptions) -> float:
    """Factor for a step size once its queue is full: up above half successes, down below a fifth."""
    if len(outcomes) < (outcomes.maxlen or 0):
        return 1.0
    rate = sum(outcomes) / len(outcomes)
    if 0.2 <= rate <= 0.5:
        return 1.0
    outcomes.clear()
    return options.factor if rate > 0.5 else 1 / options.factor


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
