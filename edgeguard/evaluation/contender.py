"""Who is judged, who crafts against it, and on which records: what has to hold before an evaluation starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import stratified
from edgeguard.errors import InputError
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.subject import Subject, open_subject, records_to_judge
from edgeguard.models.run import Run


@dataclass(frozen=True)
class Contender:
    """A subject, and the one whose run crafts against it: itself or a source."""

    subject: Subject
    crafting: Subject

    @property
    def crafter(self) -> Run | None:
        """The run that crafts; None where it is not at hand."""
        return self.crafting.run

    @property
    def situation(self) -> str:
        """`II` where the subject's own network crafts, `I` where another does."""
        own = self.crafter is None or self.crafter.weights_sha256 == self.subject.weights_sha256
        return "II" if own else "I"

    @property
    def title(self) -> str:
        """A short name: the run's defence, or the file's name."""
        return str(self.subject.run.config["defense"]) if self.subject.run else Path(self.subject.name).name


def open_contender(model: Path, source: Path | None, attacks: Sequence[Attack]) -> Contender:
    """A run or a file to judge, attacked by the source, or by itself where none is named.

    Raises InputError where an attack needs a network and none is at hand.
    """
    subject = open_subject(model)
    contender = Contender(subject, open_subject(source) if source else subject)
    if contender.crafter is None and any(attack.name != "clean" for attack in attacks):
        raise InputError(
            f"{source or model}: its run is not beside it, so nothing can craft; "
            "name one with --source RUN, or --attack clean"
        )
    return contender


def check_fit(contenders: Sequence[Contender], dataset: Dataset) -> None:
    """Raises InputError for a subject or a source that takes other windows or classes than the data have."""
    for taker in (subject for one in contenders for subject in (one.subject, one.crafting)):
        if dataset.window != taker.window or dataset.classes != taker.classes:
            raise InputError(
                f"{taker.name}: takes {taker.window} samples of classes {','.join(taker.classes)}, "
                f"{dataset.source} has {dataset.window} of {','.join(dataset.classes)}; name a model for these data"
            )


def records_for_all(
    contenders: Sequence[Contender], dataset: Dataset, *, part: str, limit: int | None = None, seed: int = 0
) -> tuple[np.ndarray, str]:
    """Indices of the records on which every contender may be judged, and one line that says which.

    Args:
        part: "test", or for a single contender "all".
        limit: at most this many, stratified.

    Raises InputError where none is left, and for a comparison on records that either has seen.
    """
    if part == "all" and len(contenders) > 1:
        raise InputError("--split all: a comparison is on records that neither has seen; leave it out")
    allowed = [records_to_judge(one.subject, dataset, part=part) for one in contenders]
    index, which = reduce(np.intersect1d, [records for records, _ in allowed]), allowed[0][1]
    if len(contenders) > 1:
        which = f"{len(index)} records that neither has seen in training or validation"
    if len(index) == 0:
        names = " and ".join(one.subject.name for one in contenders)
        raise InputError(f"{dataset.source}: {names} have seen every record between them; give other data")
    if limit is not None and limit < len(index):
        index, which = stratified(dataset.labels, index, limit, seed=seed), f"{which}, {limit} of them"
    return index, which
