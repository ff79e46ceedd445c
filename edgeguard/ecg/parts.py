"""The train, validation and test parts of anybody's records, for code outside of EdgeGuard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeguard.ecg.arrays import Data, Labels, Signals, check_labelled, records_of
from edgeguard.ecg.split import FRACTIONS, split


@dataclass(frozen=True, repr=False)
class Parts:
    """Which record belongs to which part.

    Attributes:
        source: of the records.
        train, validation, test: int64, places of the records in their source, sorted.
        names: of the records, by part.
        seed, fractions: that the parts were made from.
    """

    source: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    names: dict[str, tuple[str, ...]]
    seed: int
    fractions: tuple[float, float, float]

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(names)} {part}" for part, names in self.names.items())
        return f"Parts({self.source}, seed {self.seed}: {counts})"


def split_records(
    data: Data | None = None,
    *,
    ecg: Signals | None = None,
    labels: Labels | None = None,
    seed: int = 0,
    fractions: tuple[float, float, float] = FRACTIONS,
    test_records: Sequence[str] | None = None,
    sampling_rate: float | None = None,
    window: int | None = None,
    classes: Sequence[str] | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
) -> Parts:
    """Train, validation and test parts: seeded, stratified by class, records of equal content on one side.

    These are the parts that `edgeguard.train` makes of the same records with the same seed.

    Args:
        data: records, as `load_dataset` takes them; None: the fetched ones, else synthetic.
        ecg, labels: records instead of `data`, microvolts [N, T] or N arrays, with their classes; or of `data`, its
            reference CSV.
        seed: of the permutation.
        fractions: shares of train, validation and test; they sum to 1.
        test_records: names that make up the test part exactly.
        sampling_rate, window, classes, label_map, lead: of the records, as `load_dataset` takes them.

    Raises InputError for bad input, fractions that do not sum to 1, and an empty part.
    """
    dataset = records_of(
        data,
        ecg,
        labels,
        sampling_rate=sampling_rate,
        window=window,
        classes=classes,
        label_map=label_map,
        lead=lead,
    )
    check_labelled(dataset)
    made = split(dataset, seed=seed, fractions=fractions, test_records=test_records)
    names = {part: tuple(of) for part, of in made.names(dataset).items()}
    return Parts(dataset.source, made.train, made.validation, made.test, names, seed, fractions)
