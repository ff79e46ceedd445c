"""The audited file, its float forms, and the networks whose gradient attacks all of them alike."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import numpy as np

from edgeguard.ecg.origin import Named, trained_on
from edgeguard.errors import InputError
from edgeguard.evaluation.comparison import share_sources
from edgeguard.evaluation.contender import Contender, check_same_spec
from edgeguard.evaluation.run_export import export_model
from edgeguard.evaluation.sources import Source, check_agreement, sources_of
from edgeguard.evaluation.subject import Subject, file_subject, open_subject, run_subject
from edgeguard.export.exporter import write_float
from edgeguard.models.run import load_run
from edgeguard.runtime.loading import ModelFile, read_model_file
from edgeguard.runtime.model_spec import StatedFacts, stated_facts
from edgeguard.runtime.session import OnnxModel, open_model
from edgeguard.runtime.telling import Say

TORCH, FP32, INT8 = "torch", "fp32", "int8"


@dataclass(frozen=True)
class Forms:
    """One network in all its forms.

    Attributes:
        form: of the audited file, `int8` or `fp32`.
        judged: form -> who is judged, the audited file first; all of them under the sources of all.
        reference: the float form that the audited file is held against; None without one.
        lacking: one line, why there is no attack or no reference; None where nothing is lacking.
    """

    form: str
    judged: dict[str, Contender]
    reference: str | None
    lacking: str | None = None

    @property
    def audited(self) -> Contender:
        """The file in question."""
        return self.judged[self.form]

    @property
    def file(self) -> OnnxModel:
        """The same, opened."""
        file = self.audited.subject.file
        assert file is not None
        return file

    @property
    def sources(self) -> tuple[Source, ...]:
        """What crafts; none where nothing is at hand."""
        return self.audited.sources

    @property
    def compared_with(self) -> str | None:
        """The reference, for people: its form and where it is."""
        return None if self.reference is None else f"{self.reference} {self.judged[self.reference].subject.name}"


def open_forms(
    model: Path,
    reference: Path | None,
    *,
    profile: str,
    out: Path,
    data: Named,
    say: Say,
    threads: int = 1,
    assumed: StatedFacts | None = None,
    **facts: Unpack[StatedFacts],
) -> Forms:
    """The file, or the int8 file of a run, with the float forms that are at hand.

    Args:
        reference: a run or a float file; None: the run and the float file beside the file, the latter made of the run
            where it is not there.
        profile: of the attacks, whose default gradient sources are meant.
        out: folder for files that have to be made.
        data: that a run without an int8 file is calibrated on, where it is not what its own options name.
        threads: of ONNX Runtime.
        assumed: facts that hold where neither the file nor `facts` has them.
        facts: what the file does not say of itself; a reference that does not say them either has the same.

    Raises InputError for what is no classifier file, or forms that are not of one network.
    """
    audited = _audited(model, out=out, data=data, say=say, threads=threads, assumed=assumed, **facts)
    assert audited.file is not None
    quantised = audited.file.is_quantised
    form = INT8 if quantised else FP32
    if reference is not None and not quantised:
        raise InputError(f"--reference {reference}: {audited.name} computes in float itself; leave it out")
    others = _float_forms(audited, reference, out=out, threads=threads) if quantised else {}
    for name, other in others.items():
        check_same_spec(audited, other, mend=f"name its own {name} form with --reference")
    own, lacking = _sources(audited, profile, None if quantised else ("twin",))
    chief = next((name for name in (FP32, TORCH) if name in others), None)
    first = Contender(audited, audited, own)
    if chief is None:
        lacking = lacking or (f"{audited.name}: no float form of it is at hand; name one with --reference")
        return Forms(form, {form: first}, None, lacking if quantised or not own else None)
    against, why = _sources(others[chief], profile, ("parent",) if others[chief].run else ("twin",))
    second = Contender(others[chief], others[chief], against)
    if len({source.identity for source in (*own, *against)}) > 1:
        shared: Sequence[Contender] = share_sources([first, second])
    else:
        lacking = f"{lacking or why or audited.name}: attacks can be crafted on one of the two forms alone"
        shared = [replace(one, sources=own or against) for one in (first, second)]
    rest = {
        name: Contender(other, other, tuple(replace(source, twin_of=None) for source in shared[0].sources))
        for name, other in others.items()
        if name != chief
    }
    return Forms(form, {form: shared[0], chief: shared[1], **rest}, chief, lacking)


def with_agreeing_twins(forms: Forms, ecg: np.ndarray) -> Forms:
    """The forms without twins that do not compute what their files do on float32 [B, 1, T]; `lacking` tells of them."""
    dropped: dict[str, str] = {}
    for one in forms.judged.values():
        for source in one.sources:
            if source.twin_of is not None:
                try:
                    check_agreement(source, one.crafting, ecg)
                except InputError as error:
                    dropped[source.identity] = str(error)
    if not dropped:
        return forms
    kept = {
        name: replace(one, sources=tuple(source for source in one.sources if source.identity not in dropped))
        for name, one in forms.judged.items()
    }
    return replace(forms, judged=kept, lacking=next(iter(dropped.values())))


def _audited(
    model: Path,
    *,
    out: Path,
    data: Named,
    say: Say,
    threads: int,
    assumed: StatedFacts | None,
    **facts: Unpack[StatedFacts],
) -> Subject:
    """The file; of a run its own int8 file, made where there is none. Either with its run, where that is at hand."""
    if not model.is_dir():
        return open_subject(model, threads=threads, assumed=assumed, **facts)
    run = load_run(model)
    found = [
        file for folder in (model, out) for file in _files_of(run.weights_sha256, None, folder) if file.is_quantised
    ]
    if found:
        say(f"file: {found[0].path}")
        return replace(file_subject(open_model(found[0], threads=threads)), run=run)
    say(f"{model}: has no int8 file; exporting one into {out}")
    named = trained_on(run.config["options"], data)
    made = export_model(model, int8=True, data=named.data, labels=named.labels, out=out, say=say)
    assert made.int8 is not None
    return replace(file_subject(open_model(made.int8, threads=threads)), run=run)


def _float_forms(audited: Subject, reference: Path | None, *, out: Path, threads: int) -> dict[str, Subject]:
    """Form -> the run and the float file of the audited file's network, as far as they are at hand."""
    file, assumed = audited.file, stated_facts(audited.spec)
    assert file is not None
    if reference is not None:
        named = open_subject(reference, threads=threads, assumed=assumed)
        if named.file is not None and named.file.is_quantised:
            raise InputError(f"--reference {reference}: computes on codes itself; name the file's float form")
        if named.file is not None:
            return {FP32: named, **({TORCH: run_subject(named.run)} if named.run else {})}
        assert named.run is not None
        run = named.run
    else:
        found = _files_of(audited.weights_sha256, file.metadata.float_sha256, file.path.parent, without=file.path)
        beside = [open_model(one, threads=threads, assumed=assumed) for one in found if not one.is_quantised][:1]
        if beside and audited.run is None:
            return {FP32: file_subject(beside[0])}
        if audited.run is None:
            return {}
        run = audited.run
        if beside:
            return {FP32: replace(file_subject(beside[0]), run=run), TORCH: run_subject(run)}
    try:
        made = write_float(run, out / f"{file.path.stem.removesuffix('-int8')}-fp32.onnx")
    except InputError:
        return {TORCH: run_subject(run)}
    return {FP32: replace(file_subject(open_model(made)), run=run), TORCH: run_subject(run)}


def _files_of(
    weights_sha256: str | None, float_sha256: str | None, folder: Path, *, without: Path | None = None
) -> list[ModelFile]:
    """The window files in a folder that say they were exported from the weights, or are the float file named.

    Args:
        without: a file that is known already.
    """
    found = []
    for path in sorted(folder.glob("*.onnx")) if weights_sha256 or float_sha256 else []:
        if without is not None and path.resolve() == without.resolve():
            continue
        try:
            file = read_model_file(path)
            about = file.stated
        except InputError:
            continue
        exported = weights_sha256 is not None and about.parent_sha256 == weights_sha256
        if (exported or file.sha256 == float_sha256) and about.hop is None:
            found.append(file)
    return found


def _sources(subject: Subject, profile: str, chosen: tuple[str, ...] | None) -> tuple[tuple[Source, ...], str | None]:
    """What crafts against a subject, and one line where that is not all, or nothing."""
    try:
        return sources_of(subject, profile=profile, chosen=chosen if subject.is_file else None)
    except InputError as error:
        if chosen is not None and subject.run is not None:
            return _sources(subject, profile, None)
        return (), str(error)
