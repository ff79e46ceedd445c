"""The Adversarial Robustness Toolbox's decision-based attacks, as it ships them, one record at a time as it runs them.

Microvolts: both attacks are free of scale, but for HopSkipJump's first probe, a tenth of the range of the clip values.
"""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
from art.attacks.evasion import BoundaryAttack, HopSkipJump
from art.estimators.classification import BlackBoxClassifier
from rivals.ledger import Ledger, SpentError, Victims

_FOREVER = 10**6


def boundary(ledger: Ledger, victims: Victims) -> None:
    """Untargeted, default settings."""
    _run(
        ledger, victims, lambda classifier: BoundaryAttack(classifier, targeted=False, max_iter=_FOREVER, verbose=False)
    )


def hop_skip_jump(ledger: Ledger, victims: Victims) -> None:
    """Untargeted, L2, default settings."""
    _run(ledger, victims, lambda classifier: HopSkipJump(classifier, max_iter=_FOREVER, verbose=False))


def _run(
    ledger: Ledger, victims: Victims, attack: Callable[[BlackBoxClassifier], BoundaryAttack | HopSkipJump]
) -> None:
    classes = 1 + int(max(victims.labels.max(), victims.targets.max()))
    for record, (original, start) in enumerate(zip(victims.originals, victims.starts, strict=True)):

        def predict(points: np.ndarray, record: int = record) -> np.ndarray:
            return ledger.ask(np.full(len(points), record), points)

        bounds = victims.bounds(slice(record, record + 1))
        classifier = BlackBoxClassifier(predict, original.shape, classes, clip_values=bounds)
        with suppress(SpentError):
            attack(classifier).generate(original[None], x_adv_init=start[None].copy())
