"""The records that a file is audited on, in its own classes, and whether there are enough of them."""

import hashlib
from dataclasses import dataclass

import numpy as np

from edgeguard.ecg.arrays import check_labelled
from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split_from, stratified
from edgeguard.errors import InputError
from edgeguard.evaluation.audit.forms import Forms
from edgeguard.evaluation.audit.result import Check, DataFacts
from edgeguard.evaluation.audit.thresholds import Thresholds
from edgeguard.evaluation.contender import records_for_all
from edgeguard.evaluation.subject import training_of
from edgeguard.evaluation.survival import needed_records


@dataclass(frozen=True)
class Records:
    """What is judged.

    Attributes:
        dataset: in the file's classes.
        index: int64 [N], records to judge.
        calibration: int64 [M], records that were validated on in training; none where they are not known.
        part: one line, which records of the source.
    """

    dataset: Dataset
    index: np.ndarray
    calibration: np.ndarray
    part: str

    @property
    def labels(self) -> np.ndarray:
        """int64 [N]."""
        return self.dataset.labels[self.index]

    @property
    def digest(self) -> str:
        """Hex; differs for other records or labels."""
        rows = [f"{self.dataset.content[i]} {self.dataset.labels[i]}" for i in (*self.index, *self.calibration)]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def facts(self) -> DataFacts:
        """For the report."""
        counts = np.bincount(self.labels, minlength=len(self.dataset.classes)).tolist()
        by_class = dict(zip(self.dataset.classes, counts, strict=True))
        return DataFacts(self.dataset.source, self.dataset.fingerprint, len(self.index), self.part, by_class)


def choose_records(forms: Forms, dataset: Dataset, *, limit: int | None, calibration: int, seed: int) -> Records:
    """The test part, or where the forms were trained on other data, what none of them has seen; stratified.

    Args:
        dataset: in the file's classes.
        limit: records to judge, at most.
        calibration: of the validation part, at most.

    Raises InputError for data that do not fit the file, or of which nothing is left.
    """
    file, subject = forms.file, forms.audited.subject
    check_labelled(dataset)
    # Forms of one network were trained on the same records.
    trained = {one.subject.weights_sha256 or one.subject.sha256: one for one in reversed(forms.judged.values())}
    known, part = records_for_all(list(reversed(trained.values())), dataset, part="test", seed=seed)
    if dataset.left_out:
        part = f"{part}, {sum(dataset.left_out.values())} of classes that the file lacks left out"
    if limit is not None and limit < len(known):
        known, part = stratified(dataset.labels, known, limit, seed=seed), f"{part}, {limit} of them"
    validation = np.empty(0, np.int64)
    if subject.split and training_of(subject).is_of(dataset):
        validation = split_from(dataset, subject.split).validation
    if len(known) == 0:
        raise InputError(f"{dataset.source}: no record of a class of {file.path} is left; give other data with --data")
    return Records(dataset, known, stratified(dataset.labels, validation, calibration, seed=seed), part)


def data_checks(facts: DataFacts, demands: Thresholds) -> tuple[Check, ...]:
    """Whether the records can decide anything: enough for the margin, and of every class of the file."""
    least = max(demands.records, needed_records(0.0, demands.margin) or 0)
    why = f"; fewer cannot show that no more than {demands.margin_points:g} points are lost"
    mend = "; its sensitivity cannot be told, give data that have some"
    return (
        _count_check("records", "records", facts.n, least, why),
        *(
            _count_check(f"records_{name}", f"records of class {name}", count, demands.class_records, mend)
            for name, count in facts.by_class.items()
        ),
    )


def _count_check(name: str, what: str, count: int, least: int, otherwise: str) -> Check:
    """Too few records decide nothing, which is not the file's fault."""
    reason = f"{count} {what}, {least} needed"
    if count >= least:
        return Check(name, "data", True, count, least, reason, None, "least")
    return Check(name, "data", None, count, least, reason + otherwise, least)
