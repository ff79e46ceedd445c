"""The label oracle: all that a black-box attacker sees of a model, and the count of how often it looked."""

from typing import Protocol

import numpy as np

from edgeguard.errors import InputError


class Classifier(Protocol):
    """What the oracle needs of a model; `edgeguard.runtime.session.OnnxModel` is one."""

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        """float32 [B, C] of float32 [B, 1, T] microvolts."""
        ...


class BudgetError(RuntimeError):
    """A query was asked that the budget of its record does not cover; it was not made."""


def to_codes(ecg: np.ndarray) -> np.ndarray:
    """The samples as the ADC of a CinC-2017 recorder would write them: whole microvolts, float32."""
    return np.rint(ecg).astype(np.float32, copy=False)


class LabelOracle:
    """Answers labels, and nothing else, of N records that are under attack.

    Every row that the model sees is counted under its record, and none is seen beyond the budget. Samples are
    rounded to whole ADC codes first. When top logits are equal, the answer is the attacker's: the target, if
    there is one and it ties, else a wrong label.

    Attributes:
        labels: int64 [N], true labels.
        targets: int64 [N], the labels to reach; None for an untargeted attack.
        budget: queries allowed a record.
        ledger: int64 [N], queries made a record.
    """

    def __init__(
        self, model: Classifier, labels: np.ndarray, *, budget: int, targets: np.ndarray | None = None
    ) -> None:
        if budget < 0:
            raise InputError(f"queries: {budget} is below 0; give at least 1 a record")
        self._model = model
        self.labels = np.asarray(labels, np.int64)
        self.targets = None if targets is None else np.asarray(targets, np.int64)
        self.budget = budget
        self.ledger = np.zeros(len(self.labels), np.int64)

    def remaining(self, record: int) -> int:
        """Queries that the record's budget still covers."""
        return self.budget - int(self.ledger[record])

    def ask(self, records: np.ndarray, ecg: np.ndarray) -> np.ndarray:
        """Labels int64 [B] that the model gives.

        Args:
            records: int64 [B], the record under whose budget each row is asked.
            ecg: float32 [B, 1, T], microvolts.

        Raises:
            BudgetError: a record's budget would be overrun; then no row was asked.
            InputError: a sample is not finite; then no row was asked.
        """
        records = np.asarray(records, np.int64)
        if not np.isfinite(ecg).all():
            raise InputError("oracle: the query holds samples that are not finite; mend the attack or the record")
        asked = np.bincount(records, minlength=len(self.ledger))
        if (self.ledger + asked > self.budget)[asked > 0].any():
            raise BudgetError(f"the budget of {self.budget} queries a record does not cover this batch")
        self.ledger += asked
        return self._tell(records, self._model.logits(to_codes(ecg)))

    def is_adversarial(self, records: np.ndarray, told: np.ndarray) -> np.ndarray:
        """Bool [B]: the labels told are the attack's goal, the target or any wrong label."""
        if self.targets is not None:
            return np.asarray(told == self.targets[records])
        return np.asarray(told != self.labels[records])

    def _tell(self, records: np.ndarray, logits: np.ndarray) -> np.ndarray:
        top = logits == logits.max(axis=1, keepdims=True)
        rows = np.arange(len(logits))
        wanted = top.copy()
        wanted[rows, self.labels[records]] = False
        told = np.where(wanted.any(axis=1), wanted.argmax(axis=1), top.argmax(axis=1))
        if self.targets is not None:
            target = self.targets[records]
            told = np.where(top[rows, target], target, told)
        return told.astype(np.int64)
