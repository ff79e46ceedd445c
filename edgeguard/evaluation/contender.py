"""Who is judged, who crafts against it, and on which records: what has to hold before an evaluation starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Unpack

import numpy as np
from torch import nn

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import stratified
from edgeguard.ecg.unseen import unseen_records
from edgeguard.errors import InputError
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.sources import BuildTwin, Source, sources_of
from edgeguard.evaluation.subject import Subject, open_subject, training_of
from edgeguard.export.twin import build_twin
from edgeguard.models.run import Run
from edgeguard.runtime.model_spec import StatedFacts, stated_facts


@dataclass(frozen=True)
class Contender:
    """A subject, and what crafts against it.

    Attributes:
        crafting: the subject itself, or the one named as source.
        sources: networks that craft, those of `crafting`; none where only clean records are judged.
        note: a line to say about the sources; None where all is as asked.
    """

    subject: Subject
    crafting: Subject
    sources: tuple[Source, ...] = ()
    note: str | None = None

    @property
    def crafter(self) -> Run | None:
        """The run that crafts, or that the crafting file was exported from; None where it is not at hand."""
        return self.crafting.run

    @property
    def situation(self) -> str:
        """`II` where the subject crafts against itself or its own run, `I` where another network does."""
        if self.crafting.sha256 == self.subject.sha256:
            return "II"
        weights = self.crafting.weights_sha256
        return "II" if weights is not None and weights == self.subject.weights_sha256 else "I"

    @property
    def title(self) -> str:
        """A short name: the run's defence, or the file's name."""
        run = None if self.subject.is_file else self.subject.run
        return str(run.config["defense"]) if run else Path(self.subject.name).name


def open_contender(
    model: Path | nn.Module,
    source: Path | nn.Module | None,
    attacks: Sequence[Attack],
    *,
    profile: str = "paper",
    gradients: Sequence[str] | None = None,
    compared: bool = False,
    build: BuildTwin = build_twin,
    threads: int | None = None,
    assumed: StatedFacts | None = None,
    **facts: Unpack[StatedFacts],
) -> Contender:
    """A run, a file or a network to judge, attacked by the source, or by itself where none is named.

    Args:
        profile: whose default gradient sources are meant.
        gradients: the sources of a file, chosen.
        compared: with another contender, whose sources attack this one too.
        build: makes a file's twin.
        threads, assumed, facts: of the model, as in `open_subject`; a source is assumed to be like the model.

    Raises InputError where an attack needs a network and none is at hand.
    """
    subject = open_subject(model, threads=threads, assumed=assumed, **facts)
    crafting = open_subject(source, threads=threads, assumed=stated_facts(subject.spec)) if source else subject
    if all(attack.name == "clean" for attack in attacks):
        return Contender(subject, crafting)
    if compared and gradients is None and crafting.is_file and crafting.run and not rounds(crafting):
        # The twin of a float file is its run but for the rounding of float sums, and would craft the same once more.
        gradients = ("parent",)
    sources, note = sources_of(crafting, profile=profile, chosen=gradients, build=build)
    return Contender(subject, crafting, sources, note)


def rounds(subject: Subject) -> bool:
    """Whether the subject is a file that computes on integer codes anywhere."""
    return subject.file is not None and subject.file.is_quantised


def check_same_spec(one: Subject, other: Subject, *, mend: str) -> None:
    """Raises InputError where two models do not take the same windows and give the same classes in the same order."""
    facts = [(each.window, each.spec.sampling_rate, each.classes) for each in (one, other)]
    if facts[0] != facts[1]:
        raise InputError(f"{other.name}: takes {_takes(other)}; {one.name} takes {_takes(one)}; {mend}")


def _takes(subject: Subject) -> str:
    return f"{subject.window} samples at {subject.spec.sampling_rate:g} Hz of classes {','.join(subject.classes)}"


def check_fit(contenders: Sequence[Contender], dataset: Dataset) -> None:
    """Raises InputError for a subject or a source that takes other windows or classes than the data have."""
    for taker in (subject for one in contenders for subject in (one.subject, one.crafting)):
        if (dataset.window, dataset.sampling_rate, dataset.classes) != (
            taker.window,
            taker.spec.sampling_rate,
            taker.classes,
        ):
            raise InputError(
                f"{taker.name}: takes {_takes(taker)}; {dataset.source} has {dataset.window} samples at "
                f"{dataset.sampling_rate:g} Hz of classes {','.join(dataset.classes)}; name a model for these data"
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
    allowed = [unseen_records(dataset, training_of(one.subject), part=part) for one in contenders]
    index, which = reduce(np.intersect1d, [one.index for one in allowed]), allowed[0].line
    if len(contenders) > 1:
        unknown = [one.subject.name for one, found in zip(contenders, allowed, strict=True) if not found.known]
        which = f"{len(index)} records that neither has seen in training or validation"
        if unknown:
            which = f"{len(index)} records; which of them {' and '.join(unknown)} was trained on is unknown"
    if len(index) == 0:
        names = " and ".join(one.subject.name for one in contenders)
        raise InputError(f"{dataset.source}: {names} have seen every record between them; give other data")
    if limit is not None and limit < len(index):
        index, which = stratified(dataset.labels, index, limit, seed=seed), f"{which}, {limit} of them"
    return index, which
