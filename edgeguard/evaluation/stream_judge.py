"""What a watch says of a signal at the skin, hop by hop, and how often an attack makes it say something else."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from edgeguard.ecg.front_end import FrontEnd
from edgeguard.errors import InputError
from edgeguard.evaluation.intervals import rate, wilson
from edgeguard.evaluation.paired import paired_difference
from edgeguard.firmware_sim.sensor import SensorChain

_RESAMPLES = 2000

Decide = Callable[[np.ndarray], np.ndarray]
"""A stream float32 [m] in microvolts at the model's rate to logits [H, C], one row a hop."""


class WindowModel(Protocol):
    """What is deployed; `edgeguard.runtime.session.OnnxModel` has it."""

    @property
    def window(self) -> int:
        """Samples of one input."""

    @property
    def sampling_rate(self) -> float:
        """Hertz."""

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        """Float32 [B, C] from float32 [B, 1, T] in microvolts."""


class StreamingModel(Protocol):
    """What a streaming file is, opened; `edgeguard.runtime.streaming.StreamModel` has it."""

    @property
    def hop(self) -> int:
        """Samples of one step."""

    def step(self, samples: np.ndarray) -> np.ndarray | None:
        """Logits [C] from float32 [hop] in microvolts; None while the first window is not full."""

    def reset(self) -> None:
        """Begin a new stream."""


@dataclass(frozen=True)
class Heard:
    """What the watch says of N streams: classes as indices.

    Attributes:
        hops: int64 [N, H], a decision a hop, the first window beginning at a random phase.
        aligned: int64 [N], the decision on the window in which the attack's first window arrives.
    """

    hops: np.ndarray
    aligned: np.ndarray


class Watch:
    """Front end, and a file that decides every hop.

    Attributes:
        front_end: its numbers.
        window: samples of one decision.
        model_rate: hertz of these samples.
    """

    def __init__(
        self,
        model: WindowModel,
        front_end: FrontEnd,
        source_rate: float,
        *,
        hop: int,
        decide: Decide | None = None,
        seed: int = 0,
    ) -> None:
        """
        Args:
            source_rate: hertz of the signal at the skin.
            hop: samples between decisions.
            decide: what scores the stream; None: the window model, every hop.
            seed: of noise and phases.

        Raises InputError for a front end whose filters its rate cannot carry.
        """
        self.front_end = front_end
        self.window = model.window
        self.model_rate = model.sampling_rate
        self._model = model
        self._source_rate = source_rate
        self._hop = hop
        self._decide = decide or by_window(model, hop)
        self._seed = seed
        self._lag = SensorChain(front_end, source_rate, self.model_rate).delay

    def hear(self, ecg: np.ndarray) -> Heard:
        """What the watch decides on microvolts at the skin [N, 1, n]; stream i has the i-th noise and phase.

        The watch was on before the stretch that counts: windows begin `phase` samples into the stream, the phase
        uniform below a hop, so that no window lies where the attack's do. As many hops count for every stream.

        Raises InputError for streams shorter than a window and a hop.
        """
        needed = (self.window + self._hop) / self.model_rate
        if ecg.shape[-1] / self._source_rate < needed:
            raise InputError(f"--seconds: a window and a hop, {needed:g} s, needed; raise it")
        phases = np.random.default_rng(self._seed).integers(self._hop, size=len(ecg))
        hops, aligned = [], []
        for i, (signal, phase) in enumerate(zip(ecg[:, 0], phases.tolist(), strict=True)):
            stream = self._through(signal, i)
            hops.append(self._decide(stream[phase:]).argmax(1))
            start = min(self._lag, len(stream) - self.window)
            aligned.append(self._model.logits(stream[None, None, start : start + self.window])[0].argmax())
        shared = min(map(len, hops))
        return Heard(np.array([each[:shared] for each in hops], np.int64), np.array(aligned, np.int64))

    def _through(self, signal: np.ndarray, i: int) -> np.ndarray:
        chain = SensorChain(self.front_end, self._source_rate, self.model_rate, seed=self._seed + i)
        samples = [chain.push(signal).microvolts, chain.finish().microvolts]
        return np.concatenate(samples).astype(np.float32)


def by_window(model: WindowModel, hop: int) -> Decide:
    """The window file, asked about the newest window at every hop."""

    def decide(stream: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(stream, model.window)[::hop]
        return model.logits(windows[:, None])

    return decide


def by_streaming(model: StreamingModel) -> Decide:
    """The streaming file, given hop after hop."""

    def decide(stream: np.ndarray) -> np.ndarray:
        model.reset()
        steps = (model.step(stream[at : at + model.hop]) for at in range(0, len(stream) - model.hop + 1, model.hop))
        return np.stack([logits for logits in steps if logits is not None])

    return decide


@dataclass(frozen=True)
class Outcome:
    """An attack on N streams: what the watch said without it and with it, noise and phases being the same.

    Attributes:
        labels: int64 [N], true classes.
    """

    labels: np.ndarray
    clean: Heard
    attacked: Heard

    def success(self) -> dict[str, Any]:
        """{"hops", "records", "aligned"}: shares of what was right without the attack and is wrong with it.

        `hops`: of all decisions. `records`: by the most frequent decision of each. `aligned`: of the one window of
        each in which the attack's first window arrives.
        """
        return {
            "hops": clustered_rate(*self.fooled_hops()),
            "records": _share(*self.fooled_records()),
            "aligned": _share(self.attacked.aligned != self.labels, self.clean.aligned == self.labels),
        }

    def accuracy(self) -> dict[str, Any]:
        """{"hops", "records"}: shares of decisions, and of records by their most frequent decision, that are right."""
        right = self.attacked.hops == self.labels[:, None]
        return {
            "hops": clustered_rate(right.sum(1), np.full(len(right), right.shape[1])),
            "records": rate(int((majority(self.attacked.hops) == self.labels).sum()), len(self.labels)),
        }

    def fooled_hops(self) -> tuple[np.ndarray, np.ndarray]:
        """(int64 [N] decisions turned wrong, int64 [N] decisions that were right)."""
        right = self.clean.hops == self.labels[:, None]
        return (right & (self.attacked.hops != self.labels[:, None])).sum(1), right.sum(1)

    def fooled_records(self) -> tuple[np.ndarray, np.ndarray]:
        """(bool [N] wrong with the attack, bool [N] right without), by the most frequent decision."""
        return majority(self.attacked.hops) != self.labels, majority(self.clean.hops) == self.labels


def majority(hops: np.ndarray) -> np.ndarray:
    """int64 [N]: the most frequent class of each row of [N, H], the first of equals."""
    return np.array([np.bincount(row).argmax() for row in hops], np.int64)


def compare_outcomes(first: Outcome, second: Outcome) -> dict[str, Any]:
    """{"hops", "records"}: the first attack's success less the second's, on streams that both attacked.

    `hops` with a bootstrap over records, `records` with Tango's interval of paired proportions.
    """
    fooled, right = first.fooled_records()
    others, _ = second.fooled_records()
    (turned, asked), (theirs, _) = first.fooled_hops(), second.fooled_hops()
    total = int(asked.sum())
    low, high = bootstrap(turned - theirs, asked) if total else (-1.0, 1.0)
    value = float((turned - theirs).sum() / total) if total else float("nan")
    return {
        "hops": {"difference": value, "low": low, "high": high, "n": total, "records": int((asked > 0).sum())},
        "records": paired_difference(fooled[right], others[right]),
    }


def clustered_rate(successes: np.ndarray, asked: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """{"value", "low", "high", "n", "records"} of a share of hops, those of one record being anything but independent.

    The bootstrap over records. Where all agree it would have no width: a share of 0 or 1 has Wilson's interval, a
    record counting as one.

    Args:
        successes, asked: int64 [N] of each record.
    """
    total, records = int(asked.sum()), int((asked > 0).sum())
    value = float(successes.sum() / total) if total else float("nan")
    if 0 < value < 1:
        low, high = bootstrap(successes, asked, seed=seed)
    else:
        low, high = wilson(records if value == 1 else 0, records)
    return {"value": value, "low": low, "high": high, "n": total, "records": records}


def bootstrap(numerators: np.ndarray, asked: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of sum(numerators) / sum(asked) over records drawn anew (Field & Welsh 2007, clusters).

    Args:
        numerators, asked: int64 [N], of each record; some are asked.
    """
    drawn = np.random.default_rng(seed).multinomial(len(asked), np.full(len(asked), 1 / len(asked)), size=_RESAMPLES)
    counts = drawn @ asked
    low, high = np.percentile((drawn @ numerators)[counts > 0] / counts[counts > 0], [2.5, 97.5])
    return float(low), float(high)


def _share(fooled: np.ndarray, right: np.ndarray) -> dict[str, Any]:
    return rate(int((fooled & right).sum()), int(right.sum()))
