"""The sections of an audit in order: what each found, and the conditions that follow from it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from edgeguard.ecg.split import stratified
from edgeguard.evaluation.audit.black_box import Attacked, attack_by_labels, black_box_check
from edgeguard.evaluation.audit.confidence import (
    Answers,
    answers_of,
    confidence_checks,
    fit_temperature,
    judge_confidence,
)
from edgeguard.evaluation.audit.forms import Forms
from edgeguard.evaluation.audit.groups import by_class, by_noise, noise_levels
from edgeguard.evaluation.audit.ladder import Rungs, climb, ladder_checks
from edgeguard.evaluation.audit.masking import masking_checks
from edgeguard.evaluation.audit.pictures import draw_pictures
from edgeguard.evaluation.audit.records import Records
from edgeguard.evaluation.audit.result import Check, Confidence
from edgeguard.evaluation.audit.scores import all_scores, clean_logits, score_checks, survival_checks, survivals
from edgeguard.evaluation.audit.sections import Sections
from edgeguard.evaluation.audit.sizes import Size
from edgeguard.evaluation.audit.stream import Streamed, stream_checks, stream_file
from edgeguard.evaluation.audit.thresholds import Thresholds
from edgeguard.evaluation.audit.white_box import attacks_at, judge_forms
from edgeguard.evaluation.evaluate import Evaluation
from edgeguard.evaluation.masking_check import Check as MaskingCheck
from edgeguard.evaluation.masking_run import check_budgets
from edgeguard.evaluation.portfolio import Attack
from edgeguard.evaluation.subject import named
from edgeguard.export.golden import golden_paths, make_golden, save_golden
from edgeguard.runtime.telling import no_bars

_RUNGS = 9
_GOLDEN_ROWS = 8


@dataclass(frozen=True)
class Job:
    """What every section is given."""

    forms: Forms
    records: Records
    demands: Thresholds
    size: Size
    sections: Sections
    seed: int
    out: Path

    def first(self, count: int) -> np.ndarray:
        """So many of the records, stratified."""
        return stratified(self.records.dataset.labels, self.records.index, count, seed=self.seed)

    def windows(self, index: np.ndarray) -> np.ndarray:
        """float32 [N, 1, T] microvolts."""
        return self.records.dataset.batch(index)[0]


Found = tuple[dict[str, Any], Sequence[Check]]
"""Fields of `Audit` and checks."""


def nothing_found(job: Job) -> Found:
    """Of a file whose logits are not numbers: its ladder, and nothing that would need them."""
    rungs = job.sections.typed("ladder", Rungs, lambda: _climb(job, golden=False), {"golden": False})
    empty: dict[str, Any] = dict.fromkeys(("scores", "survival", "classes", "snr", "masking", "pictures"), ())
    return {**empty, **dict.fromkeys(("black_box", "stream", "bill", "confidence")), "ladder": rungs}, ladder_checks(
        rungs
    )


def all_found(job: Job) -> Found:
    """Every section."""
    forms, records, demands, sections = job.forms, job.records, job.demands, job.sections
    files: dict[str, str] = {}
    checks: list[Check] = []

    npz, header = golden_paths(forms.file.path, job.out)
    rungs = sections.typed("ladder", Rungs, lambda: _climb(job, golden=True), files=(npz, header))
    checks += ladder_checks(rungs)
    files |= {"golden": npz.name, "golden_header": header.name}

    attacks = attacks_at(demands.eps_uv, job.size.profile, classes=len(forms.file.classes))
    judged = judge_forms(forms, records, attacks, sections, seed=job.seed)
    own, smallest = judged[forms.form], demands.eps_uv[0]
    survived = survivals(forms, judged, demands, seed=job.seed)
    checks += [*score_checks(forms, judged, demands), *survival_checks(forms, survived, demands)]

    crafting = {
        "attacks": [asdict(attack) for wanted in attacks.values() for attack in wanted],
        "sources": [source.identity for source in forms.sources],
    }
    masking = sections.typed(
        "masking",
        tuple[MaskingCheck, ...],
        lambda: tuple(_masking(job, attacks)),
        {**crafting, "checked": job.size.checked},
    )
    checks += masking_checks(masking)

    attacked = sections.typed(
        "black-box",
        Attacked,
        lambda: _attacked(job),
        {"attacked": job.size.attacked, "queries": job.size.queries, "eps": demands.eps_uv},
        files=(job.out / "witnesses.npz",),
    )
    checks.append(black_box_check(attacked, judged, forms.form, records.index, demands))
    files["witnesses"] = "witnesses.npz"

    hops, seconds = job.size.proof_hops, job.size.stream_seconds
    stream = job.out / f"{forms.file.path.stem}-stream.onnx"
    streamed = sections.typed(
        "stream",
        Streamed,
        lambda: stream_file(forms.file, proof_hops=hops, seconds=seconds, seed=job.seed, out=job.out),
        {"hops": hops, "seconds": seconds},
        files=(stream,),
    )
    checks += stream_checks(streamed, demands)
    if streamed.file:
        files["stream"] = streamed.file

    confidence = sections.typed(
        "confidence",
        Confidence,
        lambda: _confidence(job, own[smallest]),
        {**crafting, "target": demands.abstention_accuracy},
    )
    checks += confidence_checks(confidence, demands)
    levels = sections.arrays("noise", lambda: {"db": noise_levels(records.dataset, records.index)}, section="groups")[
        "db"
    ]
    pictures = draw_pictures(forms, records, own[smallest], count=job.size.pictures, seed=job.seed)
    found = {
        "ladder": rungs,
        "scores": all_scores(judged),
        "survival": survived,
        "classes": by_class(own),
        "snr": by_noise(own, levels),
        "masking": masking,
        "black_box": attacked.summary,
        "stream": streamed.stream,
        "bill": streamed.bill,
        "confidence": confidence,
        "files": files,
        "pictures": pictures,
    }
    return found, checks


def _climb(job: Job, *, golden: bool) -> Rungs:
    file, ecg = job.forms.file, job.windows(job.first(64))
    with tqdm(total=_RUNGS, desc="ladder", unit="rung", disable=no_bars(), leave=False) as bar:
        rungs = climb(file, ecg, progress=bar.update)
    if golden:
        save_golden(make_golden(file, ecg[:_GOLDEN_ROWS]), *golden_paths(file.path, job.out))
    return rungs


def _masking(job: Job, attacks: Mapping[float, Sequence[Attack]]) -> Sequence[MaskingCheck]:
    if not job.forms.sources:
        return ()
    index = job.first(job.size.checked)
    return check_budgets(job.forms.audited, job.records.dataset, index, attacks, seed=job.seed)


def _attacked(job: Job) -> Attacked:
    index, queries = job.first(job.size.attacked), job.size.queries
    with tqdm(total=len(index) * queries, desc="black box", unit="query", disable=no_bars(), leave=False) as bar:
        return attack_by_labels(
            job.forms.file,
            job.records.dataset,
            index,
            queries=queries,
            eps_uv=job.demands.eps_uv,
            seed=job.seed,
            out=job.out,
            progress=bar.update,
        )


def _confidence(job: Job, evaluation: Evaluation) -> Confidence:
    """Of the audited file; temperature and threshold from validation records, where they are known."""
    labels, logits = evaluation.labels, clean_logits(evaluation)
    clean = answers_of(logits, named(logits, labels), labels)
    attacked = [
        answers_of(entry.logits, entry.predicted, labels)
        for entry in evaluation.judged
        if entry.gradient is not None and entry.logits is not None
    ]
    chosen_on: Answers | None = None
    if len(job.records.calibration):
        own = job.records.dataset.labels[job.records.calibration]
        known = job.forms.file.logits(job.windows(job.records.calibration))
        chosen_on = answers_of(known, named(known, own), own)
    else:
        known, own = logits, labels
    return judge_confidence(
        clean,
        attacked,
        chosen_on,
        temperature=fit_temperature(known, own),
        target=job.demands.abstention_accuracy,
        seed=job.seed,
    )
