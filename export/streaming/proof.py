"""Is a stream what its window model is? Both are run side by side over one long signal, hop by hop."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from edgeguard.ecg.record import CLASSES
from edgeguard.ecg.synthetic import synthesise
from edgeguard.errors import InputError
from edgeguard.runtime.session import OnnxModel
from edgeguard.runtime.streaming import StreamModel

EQUAL, CLOSE = "equal", "close"
TOLERANCE = 1e-4
"""Largest difference of a float stream's logits, relative to the largest logit of the decision (at least 1)."""
COST_HOPS = 2_000
SYNTHETIC = "synthetic ECG, noise, silence and rails"
"""What `proof_signal` is, for people."""
_SLOWEST = 100.0
_BATCH = 64


@dataclass(frozen=True)
class Proof:
    """What a proof run found.

    Attributes:
        hops: decisions compared.
        equal: how many of them were equal in every bit.
        difference: largest difference of logits, relative to the decision's largest logit, at least 1.
        decisions: how many of them named the same class.
    """

    hops: int
    equal: int
    difference: float
    decisions: int

    def holds(self, equality: str) -> bool:
        """Whether the stream is as equal as it should be."""
        if equality == EQUAL:
            return self.equal == self.hops
        return self.difference <= TOLERANCE and self.decisions == self.hops


@dataclass(frozen=True)
class Records:
    """Signals, each without a break, and where they come from.

    Attributes:
        source: for people.
        signals: float32 [n] microvolts each.
    """

    source: str
    signals: Sequence[np.ndarray]


@dataclass(frozen=True)
class Cost:
    """How far the decisions of a stream without padding are from those of its window file.

    Attributes:
        hops: decisions compared.
        changed: how many of them name another class.
        difference: largest difference of logits, relative to the decision's largest logit, at least 1.
        source: of the signal.
    """

    hops: int
    changed: int
    difference: float
    source: str

    @property
    def share(self) -> float:
        """Of the decisions that name another class."""
        return self.changed / self.hops if self.hops else 0.0


def measure_cost(window: OnnxModel, cropped: OnnxModel, records: Records, *, hop: int) -> Cost:
    """Compare a window model with the same model without its padding, whose stream is proven equal to it.

    Args:
        records: windows are taken hop by hop of each signal, COST_HOPS of them at most.
        hop: samples.

    Raises InputError where every record is shorter than a window.
    """
    ends = ((signal, end) for signal in records.signals for end in range(window.window, len(signal) + 1, hop))
    cuts = list(islice(ends, COST_HOPS))
    if not cuts:
        raise InputError(f"{records.source}: shorter than a window; give longer records to measure the stream on")
    changed = 0
    difference = 0.0
    for first in range(0, len(cuts), _BATCH):
        rows = [signal[end - window.window : end] for signal, end in cuts[first : first + _BATCH]]
        ecg = np.stack(rows)[:, None].astype(np.float32)
        expected, found = window.logits(ecg), cropped.logits(ecg)
        changed += int((expected.argmax(1) != found.argmax(1)).sum())
        largest = np.maximum(1.0, np.abs(expected).max(1))
        difference = max(difference, float((np.abs(found - expected).max(1) / largest).max()))
    return Cost(len(cuts), changed, difference, records.source)


def run_proof(window: OnnxModel, stream: StreamModel, signal: np.ndarray) -> Proof:
    """Compare a fresh stream with its window model at every hop.

    Args:
        signal: float32 [n], microvolts, n at least one window.

    Raises InputError for logits that are not numbers.
    """
    stream.reset()
    compared = equal = decisions = 0
    difference = 0.0
    for end in range(stream.hop, len(signal) + 1, stream.hop):
        found = stream.step(signal[end - stream.hop : end])
        if found is None:
            continue
        expected = window.logits(signal[None, None, end - stream.window : end])[0]
        if not (np.isfinite(found).all() and np.isfinite(expected).all()):
            raise InputError(f"{window.path}: gives logits that are not numbers; export it anew")
        compared += 1
        equal += bool(np.array_equal(found, expected))
        decisions += bool(found.argmax() == expected.argmax())
        difference = max(difference, float(np.abs(found - expected).max() / max(1.0, np.abs(expected).max())))
    stream.reset()
    return Proof(compared, equal, difference, decisions)


def proof_signal(window: int, hop: int, sampling_rate: float, *, hops: int, seed: int = 0) -> np.ndarray:
    """float32 [n] microvolts with `hops` decisions: all classes, and spells of loud noise, of silence and of a rail."""
    rng = np.random.default_rng(seed)
    samples = -(-window // hop) * hop + (hops - 1) * hop
    rate = max(sampling_rate, _SLOWEST)
    seconds = max(samples / rate / len(CLASSES), 2.0) + 1
    signal = np.concatenate([synthesise(label, rng, duration=seconds, sampling_rate=rate) for label in CLASSES])[
        :samples
    ]
    spell = max(window // 3, 1)
    for number, start in enumerate(range(window, samples, 2 * window)):
        part = slice(start, start + spell)
        size = len(signal[part])
        loud = rng.normal(0, 10 ** rng.uniform(1, 3.5), size)
        signal[part] = (loud, np.zeros(size), np.full(size, rng.choice([-1e4, 1e4])))[number % 3]
    return signal.astype(np.float32)
