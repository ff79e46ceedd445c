"""The label oracle: all that a black-box attacker sees of a model, and the count of how often it looked."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from edgeguard.attacks.journal import Journal
from edgeguard.errors import InputError

RAIL_UV = 32768.0
"""The largest sample that a record of 16-bit whole microvolts holds."""


class Classifier(Protocol):
    """What the oracle needs of a model; `edgeguard.runtime.session.OnnxModel` is one."""

    def logits(self, ecg: np.ndarray) -> np.ndarray:
        """float32 [B, C] of float32 [B, 1, T] microvolts."""
        ...

    def input_codes(self, ecg: np.ndarray) -> np.ndarray:
        """What the model can tell apart, [B, 1, T]: rows of equal codes have equal logits."""
        ...


def to_codes(ecg: np.ndarray) -> np.ndarray:
    """The samples as the ADC of a CinC-2017 recorder would write them: whole microvolts, float32."""
    return np.rint(ecg).astype(np.float32, copy=False)


class BudgetError(RuntimeError):
    """A query was asked that the budget of its record does not cover; it was not made."""


class Answer(NamedTuple):
    """What the oracle says of B points.

    Attributes:
        labels: int64 [B].
        repeated: bool [B], the model sees the very codes that this record was asked with before.
    """

    labels: np.ndarray
    repeated: np.ndarray


@dataclass(frozen=True)
class ThreatModel:
    """What the attacker may do to N records: write whole ADC codes within the rails, where a record has samples.

    Attributes:
        originals: float32 [N, 1, T], whole microvolts.
        mask: bool [N, 1, T], False on padding, which stays as it is.
        rail_uv: the largest magnitude of a sample, or what the record itself reaches.
    """

    originals: np.ndarray
    mask: np.ndarray
    rail_uv: float = RAIL_UV

    def check(self, records: np.ndarray, points: np.ndarray) -> None:
        """Raises InputError where points [B, 1, T] of these records [B] are outside."""
        rows = points.reshape(len(points), -1)
        reach = np.maximum(rows.max(axis=1), -rows.min(axis=1))
        if not np.isfinite(reach).all():
            raise InputError("oracle: the query holds samples that are not finite; mend the attack or the record")
        for row in np.flatnonzero(reach > self.rail_uv):
            if reach[row] > np.abs(self.originals[records[row]]).max():
                raise InputError(f"oracle: a sample of {reach[row]:g} uV is beyond the rail of {self.rail_uv:g} uV")
        for samples, record in zip(rows, records.tolist(), strict=True):
            for padding in self._padding[record]:
                if (samples[padding] != self.originals[record, 0, padding]).any():
                    raise InputError("oracle: the query changes padding; multiply the perturbation by the mask")

    @cached_property
    def _padding(self) -> list[list[slice]]:
        """The stretches of padding of each record."""
        edges = [np.flatnonzero(np.diff(~valid[0], prepend=False, append=False)) for valid in self.mask]
        return [[slice(*ends) for ends in record.reshape(-1, 2).tolist()] for record in edges]


class LabelOracle:
    """Answers labels, and nothing else, of N records that are under attack.

    Every point is counted under its record, also one whose answer is known because the model sees equal codes, and
    none is answered beyond the budget. Samples are rounded to whole ADC codes first. When top logits are equal, the
    answer is the attacker's: the target, if there is one and it ties, else a wrong label.

    Several threads may ask at a time, each for other records.

    Attributes:
        labels: int64 [N], true labels.
        targets: int64 [N], the labels to reach; None for an untargeted attack.
        budget: queries allowed a record.
        ledger: int64 [N], queries made a record.
        journal: the answers.
    """

    def __init__(
        self,
        model: Classifier,
        labels: np.ndarray,
        *,
        budget: int,
        targets: np.ndarray | None = None,
        threat: ThreatModel | None = None,
        journal: Journal | None = None,
    ) -> None:
        """`journal`: answers of an earlier, interrupted run of the very same attack.

        Raises InputError for a budget below 0.
        """
        if budget < 0:
            raise InputError(f"queries: {budget} is below 0; give at least 1 a record")
        self._model = model
        self._threat = threat
        self.labels = np.asarray(labels, np.int64)
        self.targets = None if targets is None else np.asarray(targets, np.int64)
        self.budget = budget
        self.ledger = np.zeros(len(self.labels), np.int64)
        self.journal = Journal.empty(len(self.labels), budget) if journal is None else journal
        self._seen: list[dict[int, int]] = [{} for _ in self.labels]

    def remaining(self, record: int) -> int:
        """Queries that the record's budget still covers."""
        return self.budget - int(self.ledger[record])

    def ask(self, records: np.ndarray, ecg: np.ndarray) -> Answer:
        """Labels that the model gives.

        Args:
            records: int64 [B], the record under whose budget each row is asked.
            ecg: float32 [B, 1, T], microvolts.

        Raises:
            BudgetError: a record's budget would be overrun; then no row was asked.
            InputError: a row is outside the threat model, or not finite; then no row was asked. Or the model's logits
                are not numbers.
        """
        records = np.asarray(records, np.int64)
        points = to_codes(ecg)
        if self._threat is not None:
            self._threat.check(records, points)
        elif not np.isfinite(points).all():
            raise InputError("oracle: the query holds samples that are not finite; mend the attack or the record")
        numbers = self._spend(records)
        codes = self._model.input_codes(points)
        # SipHash with 64 bits: among thousands of queries two differing rows share a hash once in 10^12 records.
        digests = [hash(row.tobytes()) for row in codes]
        told, known = self.journal.labels[records, numbers].tolist(), (numbers < self.journal.known[records]).tolist()
        repeated, fresh = np.zeros(len(records), bool), []
        for row, (record, digest) in enumerate(zip(records.tolist(), digests, strict=True)):
            seen = self._seen[record]
            if digest in seen:
                repeated[row] = True
                continue
            seen[digest] = told[row]
            if not known[row]:
                fresh.append(row)
        if fresh:
            asked = points if len(fresh) == len(points) else points[fresh]
            for row, label in zip(fresh, self._judge(records[fresh], asked), strict=True):
                self._seen[int(records[row])][digests[row]] = label
        labels = [self._seen[record][digest] for record, digest in zip(records.tolist(), digests, strict=True)]
        self.journal.labels[records, numbers] = labels
        np.maximum.at(self.journal.known, records, numbers + 1)
        return Answer(np.array(labels, np.int64), repeated)

    def forget(self, record: int) -> None:
        """Give back the memory of a record that is done."""
        self._seen[record] = {}

    def is_adversarial(self, records: np.ndarray, told: np.ndarray) -> np.ndarray:
        """Bool [B]: the labels told are the attack's goal, the target or any wrong label."""
        if self.targets is not None:
            return np.asarray(told == self.targets[records])
        return np.asarray(told != self.labels[records])

    def _spend(self, records: np.ndarray) -> np.ndarray:
        """Count the queries; the number of each within its record, from 0 on, int64 [B]."""
        numbers = np.empty(len(records), np.int64)
        spent = dict(zip(records.tolist(), self.ledger[records].tolist(), strict=True))
        for row, record in enumerate(records.tolist()):
            numbers[row] = spent[record]
            spent[record] += 1
        if len(numbers) and numbers.max() >= self.budget:
            raise BudgetError(f"the budget of {self.budget} queries a record does not cover this batch")
        for record, queries in spent.items():
            self.ledger[record] = queries
        return numbers

    def _judge(self, records: np.ndarray, points: np.ndarray) -> list[int]:
        """Labels as the attacker hears them; ties are his."""
        logits = self._model.logits(points)
        if np.isnan(logits).any():
            raise InputError("model: its logits are not numbers (NaN) on a record within the rails; export it anew")
        top = logits == logits.max(axis=1, keepdims=True)
        rows = np.arange(len(logits))
        wanted = top.copy()
        wanted[rows, self.labels[records]] = False
        told = np.where(wanted.any(axis=1), wanted.argmax(axis=1), top.argmax(axis=1))
        if self.targets is not None:
            target = self.targets[records]
            told = np.where(top[rows, target], target, told)
        return [int(label) for label in told]
