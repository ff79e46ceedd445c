"""The whole audit of one file: from a name to a verdict."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

import edgeguard
from edgeguard.ecg.arrays import Data, Labels, Signals, records_of
from edgeguard.ecg.origin import Named
from edgeguard.errors import InputError, unknown
from edgeguard.evaluation.audit.findings import Job, all_found, nothing_found
from edgeguard.evaluation.audit.forms import Forms, open_forms, with_agreeing_twins
from edgeguard.evaluation.audit.ladder import finite_check
from edgeguard.evaluation.audit.provenance import provenance, repeating_command
from edgeguard.evaluation.audit.records import choose_records, data_checks
from edgeguard.evaluation.audit.result import Audit, Check, ModelFacts
from edgeguard.evaluation.audit.sections import Sections
from edgeguard.evaluation.audit.sizes import SIZES
from edgeguard.evaluation.audit.thresholds import load_thresholds
from edgeguard.evaluation.audit.verdict import (
    asks_robustness,
    claims_robustness,
    export_verdict,
    overall,
    required_verdicts,
    robustness_verdict,
)
from edgeguard.evaluation.audit.white_box import profiles_at
from edgeguard.evaluation.plausibility import implausible
from edgeguard.evaluation.profiles import PROFILE_VERSIONS
from edgeguard.evaluation.subject import Subject
from edgeguard.models.run import CONFIG
from edgeguard.runtime.files import write_bytes
from edgeguard.runtime.model_spec import StatedFacts
from edgeguard.runtime.telling import Say, log

SECTIONS = "sections"
"""Folder, in that of the audit, of what was found so far."""
_GRAVITY = (
    *("ladder", "data", "survival", "white-box", "masking", "black-box"),
    *("clean", "stream", "confidence"),
)
_AGREEING = 256
"""Records on which a twin must agree with its file before it may attack."""


def run_audit(
    model: Path,
    *,
    data: Data | None = None,
    labels: Labels | None = None,
    ecg: Signals | None = None,
    label_map: Mapping[str, str] | None = None,
    lead: str | int | None = None,
    size: str = "default",
    reference: Path | None = None,
    thresholds: Path | None = None,
    require: str | Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    out: Path,
    threads: int = 1,
    say: Say = log,
    **facts: Unpack[StatedFacts],
) -> Audit:
    """Is the file still accurate, and still robust, after export, streaming and attack?

    Findings are kept in `out` section by section: an interrupted audit, called again, goes on.

    Args:
        model: an ONNX file, or a run, whose int8 file is audited, and exported first where there is none.
        data: records, as `edgeguard.ecg.sources.load_dataset` takes them; None: those that the file's run names, or
            the default ones.
        labels: reference CSV of the data, where it is not inside or beside them; of `ecg`, its classes.
        ecg: records instead of `data`, microvolts; `sampling_rate` of the facts is then theirs.
        label_map: label of the data -> class of the model.
        lead: name or number of the signal to take of records that have several.
        size: `quick`, `default` or `full`.
        reference: run or float file to hold an int8 file against; None: what lies beside it.
        thresholds: TOML file that overrides single keys of `thresholds.toml`; robustness is then judged.
        require: `export`, `robustness` or both: verdicts that must hold; None: export where there is a float form,
            else robustness.
        limit: records to judge, in place of the size's number.
        seed: of the choice of records, of random starts and of what is synthetic.
        out: folder for findings, adversarial records, golden vectors and the streaming file.
        say: receives a line a section.
        threads: of ONNX Runtime.
        facts: what the file does not say of itself.

    Returns:
        The audit; `files` has what lies in `out` so far. `edgeguard.report.audit_files.write_audit` writes the rest.

    Raises InputError for anything that cannot be, and for a folder that cannot be written, before long work.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    required_verdicts(require, compared=True)  # refuses another name before long work
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: at least 1 needed")
    wanted, demands = SIZES[size], load_thresholds(thresholds, size=size)
    check_writable(out)
    stated = {**facts, "sampling_rate": None} if ecg is not None else facts
    forms = open_forms(
        model,
        reference,
        profile=wanted.profile,
        out=out,
        data=_named(data, labels),
        say=say,
        threads=threads,
        assumed=StatedFacts(sampling_rate=facts.get("sampling_rate")),
        **stated,
    )
    spec = forms.file.spec
    dataset = records_of(
        data,
        ecg,
        labels,
        file=model / CONFIG if model.is_dir() else model,
        window=spec.window,
        classes=spec.classes,
        sampling_rate=spec.sampling_rate,
        ecg_rate=facts.get("sampling_rate"),
        label_map=label_map,
        lead=lead,
        seed=seed,
    )
    for note in dataset.notes:
        say(f"note: {note}")
    most = wanted.records if limit is None else limit
    records = choose_records(forms, dataset, limit=most, calibration=wanted.calibration_records, seed=seed)
    say(f"data: {records.dataset.source}, {records.part}")
    ecg = records.dataset.batch(records.index[:_AGREEING])[0]
    finite = finite_check(forms.file, ecg)
    if finite.holds:
        forms = with_agreeing_twins(forms, ecg)
    if forms.lacking:
        say(f"note: {forms.lacking}")
    common = {
        "version": edgeguard.__version__,
        "judged": {name: _content(one.subject) for name, one in forms.judged.items()},
        "records": records.digest,
        "seed": seed,
    }
    warnings: tuple[str, ...] = ()
    if finite.holds:
        subject = forms.audited.subject
        predicted = np.concatenate(
            [
                subject.judge(dataset.batch(part)[0], dataset.labels[part])
                for part in np.array_split(records.index, -(-len(records.index) // 64))
            ]
        )
        warnings = implausible(subject.logits, dataset, records.index, predicted, unit=spec.unit)
    for warning in warnings:
        say(f"warning: {warning}")
    job = Job(forms, records, demands, wanted, Sections(out / SECTIONS, common, say), seed, out)
    found, checks = all_found(job) if finite.holds else nothing_found(job)
    checks = in_order([finite, *checks, *data_checks(records.facts(), demands)])
    compared = forms.reference is not None
    named = required_verdicts(require, compared=compared)
    judged = thresholds is not None or claims_robustness(forms.file.metadata.defense) or asks_robustness(require)
    export = export_verdict(checks, size=size, compared=compared)
    robustness = robustness_verdict(checks, size=size, judged=judged)
    decisive = overall(export, robustness, named)
    profiles = profiles_at(demands.eps_uv, wanted.profile)
    command = repeating_command(
        model,
        **{"quick": size == "quick", "full": size == "full", "reference": reference, "lead": lead},
        **_shown(data, labels, label_map),
        **{"thresholds": thresholds, "limit": limit, "seed": seed, "out": out},
        require=require if require is None or isinstance(require, str) else ",".join(require),
        **{"threads": threads, **facts, "classes": ",".join(facts.get("classes") or ()) or None},
    )
    return Audit(
        verdict=decisive.verdict,
        reasons=decisive.reasons,
        export=export,
        robustness=robustness,
        required=named,
        compared=compared,
        judged=judged,
        size=size,
        profile=wanted.profile,
        profile_version=" and ".join(dict.fromkeys(PROFILE_VERSIONS[name] for name in profiles.values())),
        model=_model_facts(forms),
        data=records.facts(),
        thresholds=demands.to_json(),
        checks=checks,
        warnings=warnings,
        provenance=provenance(command, seed=seed, seconds=job.sections.seconds),
        **found,
    )


def _named(data: Data | None, labels: Labels | None) -> Named:
    """What can be named of the records that a run without an int8 file is calibrated on."""
    return Named(
        str(data) if isinstance(data, str | Path) else None,
        Path(labels) if isinstance(labels, str | Path) else None,
    )


def _shown(data: Data | None, labels: Labels | None, label_map: Mapping[str, str] | None) -> dict[str, Any]:
    """The records as options of a command, as far as they have a name."""
    pairs = ",".join(f"{label}={name}" for label, name in (label_map or {}).items())
    return {
        "data": data if data is None or isinstance(data, str | Path) else data.source,
        "labels": labels if isinstance(labels, str | Path) else None,
        "label_map": pairs or None,
    }


def in_order(checks: Iterable[Check]) -> tuple[Check, ...]:
    """The gravest section first, so that a verdict's reasons are in that order."""
    return tuple(sorted(checks, key=lambda check: _GRAVITY.index(check.section)))


def check_writable(folder: Path) -> None:
    """Make the folder; InputError where nothing can be written into it."""
    trial = folder / ".writable"
    write_bytes(trial, b"")
    trial.unlink()


def _content(subject: Subject) -> str:
    """Hex digest of what is judged, of a file with the weights that lie outside of it."""
    return subject.sha256 if subject.file is None else subject.file.file.content_sha256


def _model_facts(forms: Forms) -> ModelFacts:
    file = forms.file
    about = file.metadata
    return ModelFacts(
        path=str(file.path),
        form=forms.form,
        sha256=file.sha256,
        bytes=file.path.stat().st_size,
        defense=about.defense,
        arch=about.architecture,
        classes=file.classes,
        sampling_rate=file.sampling_rate,
        window=file.window,
        input_step_uv=file.input_step_uv,
        parent=about.parent_sha256,
        compared_with=forms.compared_with,
        unit=file.spec.unit,
        threshold=file.spec.threshold,
        external=file.file.external,
    )
