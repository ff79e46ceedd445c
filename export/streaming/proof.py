"""Is a stream what its window model is? Both are run side by side over one long signal, hop by hop."""

from dataclasses import dataclass

import numpy as np

from edgeguard.ecg.record import CLASSES
from edgeguard.ecg.synthetic import synthesise
from edgeguard.errors import InputError
from edgeguard.runtime.session import OnnxModel
from edgeguard.runtime.streaming import StreamModel

EQUAL, CLOSE = "equal", "close"
TOLERANCE = 1e-4
"""Largest difference of a float stream's logits, relative to the largest logit of the decision (at least 1)."""
_SLOWEST = 100.0


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
