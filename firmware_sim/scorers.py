"""Two ways to score a stream: the newest window anew every hop, or one hop at a time by a file that remembers."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

from edgeguard.errors import InputError
from edgeguard.firmware_sim.ring import Ring
from edgeguard.firmware_sim.samples import State, saved


class WindowModel(Protocol):
    """What scores a whole window; `edgeguard.runtime.session.OnnxModel` does."""

    @property
    def window(self) -> int:
        """Samples of one input."""

    @property
    def sampling_rate(self) -> float:
        """Hertz."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the logits."""

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        """Float32 [B, C] from float32 [B, 1, T] in microvolts."""


@runtime_checkable
class StreamModel(Protocol):
    """What scores hop by hop; `edgeguard.runtime.streaming.StreamModel` does."""

    @property
    def window(self) -> int:
        """Samples that a score is about."""

    @property
    def hop(self) -> int:
        """Samples of one input."""

    @property
    def sampling_rate(self) -> float:
        """Hertz."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names in the order of the logits."""

    def step(self, samples: np.ndarray) -> np.ndarray | None:
        """Float32 [C] from float32 [hop] in microvolts; None while the first window is not full."""

    def reset(self) -> None:
        """Begin a new stream."""

    def state(self) -> State:
        """What `restore` takes."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""


class Scorer(Protocol):
    """What the engine drives; it is asked for logits at the end of a hop, and only for a window of real samples.

    Attributes:
        window: samples that a score is about.
        hop: samples between two scores.
        first: samples of the stream at the end of its first hop, 1 to `hop`.
    """

    window: int
    hop: int
    first: int

    def push(self, samples: np.ndarray) -> None:
        """Take samples [n] in microvolts, at most to the end of the hop."""

    def skip(self, count: int) -> None:
        """Pass over lost samples."""

    def end_hop(self, wanted: bool) -> np.ndarray | None:
        """A hop ends: logits [C] of the newest window where they are wanted."""

    def reset(self) -> None:
        """Begin a new stream."""

    def state(self) -> State:
        """What `restore` takes."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""


class WindowScorer:
    """Scores the newest window; hops are counted so that one ends where the first window does."""

    def __init__(self, model: WindowModel, hop: int) -> None:
        """`hop`: samples between two scores."""
        self.window, self.hop = model.window, hop
        self.first = model.window % hop or hop
        self._model = model
        self._ring = Ring(model.window)

    def push(self, samples: np.ndarray) -> None:
        """Into the ring."""
        self._ring.push(samples)

    def skip(self, count: int) -> None:
        """The ring starts anew: a window with a gap is never scored."""
        self._ring.clear()

    def end_hop(self, wanted: bool) -> np.ndarray | None:
        """The model runs only where its logits are wanted."""
        return self._model.logits(self._ring.latest()[None, None])[0] if wanted else None

    def reset(self) -> None:
        """An empty ring."""
        self._ring.clear()

    def state(self) -> State:
        """The ring."""
        return self._ring.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The ring."""
        self._ring.restore(state)


class StreamScorer:
    """Feeds every hop to a streaming model. Lost samples are fed as the last value, so that its clock goes on."""

    def __init__(self, model: StreamModel) -> None:
        self.window, self.hop, self.first = model.window, model.hop, model.hop
        self._model = model
        self._samples = np.zeros(model.hop, np.float32)
        self._filled = 0
        self._last = np.float32(0)

    def push(self, samples: np.ndarray) -> None:
        """Into the hop's buffer."""
        self._samples[self._filled : self._filled + len(samples)] = samples
        self._filled += len(samples)
        if len(samples):
            self._last = np.float32(samples[-1])

    def skip(self, count: int) -> None:
        """The last value is held."""
        self.push(np.full(count, self._last, np.float32))

    def end_hop(self, wanted: bool) -> np.ndarray | None:
        """The model runs at every hop: it must remember what it is not asked about."""
        self._filled = 0
        logits = self._model.step(self._samples)
        return logits if wanted else None

    def reset(self) -> None:
        """The model's initial state."""
        self._model.reset()
        self._filled = 0
        self._last = np.float32(0)

    def state(self) -> State:
        """The hop so far, and the model's state."""
        own = {"samples": self._samples.copy(), "filled": np.array(self._filled), "last": np.array(self._last)}
        return {**own, **{f"model.{name}": array for name, array in self._model.state().items()}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where `state` was taken."""
        self._samples = saved(state, "samples", self._samples.shape)
        self._filled = int(saved(state, "filled", ()))
        self._last = np.float32(saved(state, "last", ()))
        model = {name.removeprefix("model."): array for name, array in state.items() if name.startswith("model.")}
        self._model.restore(model)


def make_scorer(model: WindowModel | StreamModel, hop: float | None) -> WindowScorer | StreamScorer:
    """The scorer for a model.

    Args:
        hop: seconds; None: 1 s, or what the streaming file was compiled for.

    Raises InputError for a hop that is not a whole number of samples, or another than a streaming file's.
    """
    if not isinstance(model, StreamModel):
        return WindowScorer(model, hop_samples(1.0 if hop is None else hop, model.sampling_rate))
    if hop is not None and hop_samples(hop, model.sampling_rate) != model.hop:
        raise InputError(
            f"hop: {hop:g} s, the streaming file was compiled for {model.hop / model.sampling_rate:g} s; leave --hop "
            "out, or compile another with edgeguard export --streaming --hop"
        )
    return StreamScorer(model)


def hop_samples(hop: float, sampling_rate: float) -> int:
    """Samples of a hop of `hop` seconds; InputError unless it is a whole number, at least 1."""
    exact = hop * sampling_rate
    samples = round(exact) if 0 < exact < np.inf else 0
    if samples < 1 or abs(samples - exact) > 1e-6 * samples:
        raise InputError(
            f"hop: {hop:g} s is {exact:g} samples at {sampling_rate:g} Hz; "
            f"choose a multiple of 1/{sampling_rate:g} s with --hop"
        )
    return samples
