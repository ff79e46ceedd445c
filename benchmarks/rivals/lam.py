"""The boundary attack that Lam et al. published for ECG, written anew from its description: one prediction a query.

Source: Lam et al. 2020, "Hard-Label Black-Box Adversarial Attack on Deep Electrocardiogram Classifier", and its
repository nesl/Black-box-ECG-attack: steps smoothed with a Hanning window of 41 samples, both step sizes .01 at first,
up to 25 proposals an iteration, both steps judged in every tenth. Targeted at the class of its start, as published; any
wrong label that it meets is counted. Its prints and plots are left out.
"""

from collections import deque
from contextlib import suppress
from itertools import count

import numpy as np
from rivals.ledger import Ledger, SpentError, Victims

_WINDOW = np.hanning(41) / np.hanning(41).sum()
_PROPOSALS, _CHECK_EVERY, _FACTOR = 25, 10, 1.5


def boundary(ledger: Ledger, victims: Victims) -> None:
    """One record after the other."""
    for record in range(len(victims.labels)):
        with suppress(SpentError):
            _Attack(ledger, victims, record).run()


class _Attack:
    def __init__(self, ledger: Ledger, victims: Victims, record: int) -> None:
        self._ledger, self._record, self._target = ledger, np.array([record]), victims.targets[record]
        self._original, self._point = victims.originals[record], victims.starts[record]
        self._spherical_step = self._source_step = 0.01
        self._spherical: deque[bool] = deque(maxlen=100)
        self._source: deque[bool] = deque(maxlen=30)

    def run(self) -> None:
        """Until the ledger stops it."""
        for iteration in count(1):
            for _ in range(_PROPOSALS):
                on_sphere, candidate = self._propose()
                if iteration % _CHECK_EVERY == 0:
                    self._spherical.append(self._ask(on_sphere))
                    self._source.append(self._ask(candidate))
                    adversarial = self._source[-1]
                else:
                    adversarial = self._ask(candidate)
                if adversarial:
                    self._point = candidate
                    break
            self._adapt()

    def _ask(self, point: np.ndarray) -> bool:
        return bool(self._ledger.ask(self._record, point[None])[0].argmax() == self._target)

    def _propose(self) -> tuple[np.ndarray, np.ndarray]:
        towards = self._original - self._point
        distance = np.linalg.norm(towards)
        noise = np.convolve(_WINDOW, np.random.randn(towards.size).astype(np.float32), mode="same")[None]
        noise -= np.vdot(noise, towards / distance) * (towards / distance)
        noise *= self._spherical_step * distance / np.linalg.norm(noise)
        on_sphere = self._original + (noise - towards) / np.sqrt(1 + self._spherical_step**2)
        back = self._original - on_sphere
        radius = np.linalg.norm(back)
        length = max(0.0, self._source_step * distance + radius - distance)
        return on_sphere, on_sphere + length / radius * back

    def _adapt(self) -> None:
        if change := _change(self._spherical):
            self._spherical_step *= change
            self._source_step *= change
        if change := _change(self._source):
            self._source_step *= change


def _change(outcomes: deque[bool]) -> float | None:
    """Factor for a step size once its queue is full, which is emptied then."""
    rate = np.mean(outcomes) if len(outcomes) == outcomes.maxlen else 0.3
    if 0.2 <= rate <= 0.5:
        return None
    outcomes.clear()
    return _FACTOR if rate > 0.5 else 1 / _FACTOR
