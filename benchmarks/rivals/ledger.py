"""What every rival is measured by: a count of its queries that is not its own, and the best that it found by then."""

from dataclasses import dataclass
from time import perf_counter

import numpy as np

from edgeguard.attacks.oracle import to_codes
from edgeguard.runtime.session import OnnxModel


class SpentError(Exception):
    """Every record under attack has had its queries; the rival is stopped."""


@dataclass(frozen=True)
class Victims:
    """N records that the file classifies correctly, and where to begin with each.

    Attributes:
        names: N record names.
        originals: float32 [N, 1, T], whole microvolts.
        mask: bool [N, 1, T], False on padding.
        labels: int64 [N], what the file answers, and rightly.
        nearest: float32 [N, S, 1, T], the nearest other records that the file puts into another class; the original
            where the mask is False.
        targets: int64 [N], what the file answers to the first of them.
    """

    names: tuple[str, ...]
    originals: np.ndarray
    mask: np.ndarray
    labels: np.ndarray
    nearest: np.ndarray
    targets: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """float32 [N, 1, T]: the first of `nearest`, where a rival begins."""
        return np.asarray(self.nearest[:, 0])

    def bounds(self, records: slice = slice(None)) -> tuple[float, float]:
        """Smallest and largest sample of the originals and starts: the range that a rival clips to."""
        values = np.stack([self.originals[records], self.starts[records]])
        return float(values.min()), float(values.max())


class Ledger:
    """The file as a rival sees it: padding is the original's, samples are whole ADC codes, each row is a query.

    Attributes:
        l2: float64 [N, Q], microvolts: of the query with that number where it fooled the file, else infinite.
        queries: int64 [N], made so far; those beyond Q are answered, where a batch runs over, and not noted.
        best: float32 [N, 1, T], the nearest adversarial example of each record.
        own_seconds: that noting took, and that no rival is charged for.
    """

    def __init__(self, model: OnnxModel, victims: Victims, budget: int) -> None:
        self._model, self._victims, self._budget = model, victims, budget
        self.l2 = np.full((len(victims.labels), budget), np.inf)
        self.queries = np.zeros(len(victims.labels), np.int64)
        self.best = np.full_like(victims.originals, np.nan)
        self.own_seconds = 0.0

    def ask(self, records: np.ndarray, points: np.ndarray) -> np.ndarray:
        """float32 [B, C] logits of float [B, 1, T] microvolts, each row a query of its record.

        Raises SpentError where all of these records have had their queries before.
        """
        if (self.queries[records] >= self._budget).all():
            raise SpentError
        originals = self._victims.originals[records]
        points = to_codes(np.where(self._victims.mask[records], points, originals).astype(np.float32, copy=False))
        logits = self._model.logits(points)
        begin = perf_counter()
        fooled = logits.argmax(axis=1) != self._victims.labels[records]
        l2 = np.linalg.norm(points - originals, axis=(1, 2))
        for record, point, distance, hit in zip(records, points, l2, fooled, strict=True):
            if hit and self.queries[record] < self._budget:
                if distance < self.l2[record].min():
                    self.best[record] = point
                self.l2[record, self.queries[record]] = distance
            self.queries[record] += 1
        self.own_seconds += perf_counter() - begin
        return logits

    def curve(self) -> np.ndarray:
        """float64 [N, Q]: smallest L2 in microvolts within that many queries."""
        return np.minimum.accumulate(self.l2, axis=1)

    def roughness(self) -> np.ndarray:
        """float64 [N]: variance of the first differences of the nearest perturbation, square microvolts."""
        differences = np.diff(self.best - self._victims.originals, axis=-1).astype(np.float64)
        return np.asarray(differences.var(axis=(1, 2)))
