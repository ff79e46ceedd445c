"""What a decision-based attack is: an object whose walk asks for points on one record, and is told labels."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

Norm = Literal["l2", "linf"]


@dataclass(frozen=True)
class Task:
    """One record under attack, and all that the attacker knows of it.

    Attributes:
        original: float32 [1, T], whole microvolts.
        mask: bool [1, T], False on padding.
        starts: float32 [S, 1, T], points that the file is likely to answer as the attacker wishes, nearest first;
            equal to the original where the mask is False. May be empty.
        sampling_rate: hertz.
        step_uv: the finest difference in a sample that the file can see, in microvolts: the step of its input
            quantiser, at least the one microvolt of the ADC.
        rng: the stream of this record, attack and seed, and of nothing else.
    """

    original: np.ndarray
    mask: np.ndarray
    starts: np.ndarray
    sampling_rate: float
    step_uv: float
    rng: np.random.Generator


@dataclass(frozen=True)
class Request:
    """Points whose labels a walk asks for, one query each.

    Attributes:
        points: float32 [K, 1, T], microvolts, equal to the original where the mask is False. They are rounded to whole
            ADC codes before they are asked, and copied: the walk may reuse the memory once it is told.
        centre: float32 [1, T] where the points are probes that estimate a gradient at it, else None. Probes are not
            noted as adversarial examples; the masking meter weighs them.
    """

    points: np.ndarray
    centre: np.ndarray | None = None


Walk = Generator[Request, np.ndarray, str]
"""An attack on one record: yields requests, is sent bool [K], whether each point is what the attacker wishes, and
returns why it ended. It may be closed at any yield, when the budget is spent."""


class Attack(Protocol):
    """A decision-based attack with its settings."""

    @property
    def name(self) -> str:
        """As on the command line; names the random stream too."""
        ...

    @property
    def norm(self) -> Norm:
        """The distance that it makes small."""
        ...

    def walk(self, task: Task) -> Walk:
        """The attack on one record. It depends on the task and on the answers alone, not on its company."""
        ...


def ask(point: np.ndarray) -> Generator[Request, np.ndarray, bool]:
    """Ask for one point [1, T]; returns whether it is what the attacker wishes."""
    told = yield Request(point[None])
    return bool(told[0])


def bisect(
    original: np.ndarray, delta: np.ndarray, *, low: float = 0.0, high: float = 1.0, queries: int = 10
) -> Generator[Request, np.ndarray, float]:
    """The smallest scale in [low, high] at which original + scale * delta was seen to be adversarial; high if none was.

    One query a halving.
    """
    for _ in range(queries):
        middle = (low + high) / 2
        if (yield from ask(original + np.float32(middle) * delta)):
            high = middle
        else:
            low = middle
    return high
