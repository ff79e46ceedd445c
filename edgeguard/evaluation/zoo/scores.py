"""What a network is worth in each of its forms: in torch, as float file, in int8, as the stream a watch runs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.record import ALARM
from edgeguard.ecg.split import stratified
from edgeguard.ecg.unseen import unseen_records
from edgeguard.evaluation.contender import Contender, open_contender
from edgeguard.evaluation.evaluate import Evaluation, evaluate_contenders
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate
from edgeguard.evaluation.masking_run import check_budgets
from edgeguard.evaluation.metrics import challenge_classes, confusion_matrix
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.evaluation.profiles import PROFILE_VERSIONS
from edgeguard.evaluation.sources import Source
from edgeguard.evaluation.subject import Subject, training_of
from edgeguard.runtime.streaming import StreamModel, open_stream
from edgeguard.runtime.typed_json import to_json

SCHEMA = "edgeguard.scores/2"
TORCH, FP32, INT8, STREAMING = "torch", "fp32", "int8", "int8-streaming"


@dataclass(frozen=True)
class Forms:
    """A network's forms, each a path: the run folder and three files."""

    torch: Path
    fp32: Path
    int8: Path
    streaming: Path


@dataclass(frozen=True)
class Trial:
    """One evaluation of every form.

    Attributes:
        profile: `paper` or `strict`.
        eps: microvolts.
        records: at most so many, stratified; None: the whole test part.
    """

    profile: str
    eps: float
    records: int | None = None


def score_forms(
    forms: Forms,
    dataset: Dataset,
    trials: Sequence[Trial],
    *,
    checks: bool = True,
    seed: int = 0,
    threads: int = 1,
) -> dict[str, Any]:
    """Scores of all forms on the network's own test part, ready for `scores.json`.

    In profile `paper` each form is attacked by its own gradient, a stream by its int8 file's. In `strict` what was
    crafted on the run and on the int8 file's twin is judged on every form.

    Args:
        checks: whether to run the masking checks on the int8 file, with the attacks and records of the first trial of
            each budget.

    Raises InputError for a form that cannot be opened, and for a twin that does not compute what ONNX Runtime does.
    """
    contenders = _contenders(forms, threads=threads)
    unseen = unseen_records(dataset, training_of(contenders[TORCH].subject), part="test")
    everything, which = unseen.index, unseen.line
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    checked: dict[float, tuple[list[Attack], np.ndarray]] = {}
    for trial in trials:
        index = _limited(dataset, everything, trial, seed)
        attacks = portfolio(profile=trial.profile, eps=trial.eps)
        entrants = contenders if trial.profile == "paper" else _sharing(contenders)
        judged = evaluate_contenders(list(entrants.values()), dataset, index, attacks, seed=seed)
        found = dict(zip(entrants, judged, strict=True))
        own = {form: _row(form, trial, evaluation) for form, evaluation in found.items()}
        own[STREAMING]["stream"] = _agreement(found[STREAMING], found[INT8])
        rows += own.values()
        differences += [_difference(trial, found[INT8], found[other], other) for other in (TORCH, FP32)]
        checked.setdefault(trial.eps, (attacks, index))
    return {
        "schema": SCHEMA,
        "data": dataset.source,
        "records": which,
        "rows": rows,
        "differences": differences,
        "stream": _streamed(rows),
        "checks": _checks(contenders[INT8], dataset, checked, seed) if checks else [],
    }


def _checks(
    int8: Contender, dataset: Dataset, checked: dict[float, tuple[list[Attack], np.ndarray]], seed: int
) -> list[dict[str, Any]]:
    """The masking checks at every budget, on the records of the first one."""
    _, index = next(iter(checked.values()))
    budgets = {eps: attacks for eps, (attacks, _) in checked.items()}
    found: list[dict[str, Any]] = to_json(check_budgets(int8, dataset, index, budgets, seed=seed))
    return found


def merged(known: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Scores with further ones in place of their own profile and budget; checks at other budgets are kept."""
    again = {_trial(row) for row in found["rows"]}
    together = {
        key: sorted([*(one for one in known[key] if _trial(one) not in again), *found[key]], key=_trial)
        for key in ("rows", "differences")
    }
    anew = {check.get("eps_uv") for check in found["checks"]}
    kept = [check for check in known["checks"] if check.get("eps_uv") not in (anew | {None} if anew else ())]
    checks = [*found["checks"], *kept]
    return {**known, **found, **together, "stream": _streamed(together["rows"]), "checks": checks}


def restricted(known: dict[str, Any], trials: Sequence[Trial]) -> dict[str, Any]:
    """Scores of these trials alone."""
    wanted = {(trial.profile, trial.eps) for trial in trials}
    kept = {key: [one for one in known[key] if _trial(one) in wanted] for key in ("rows", "differences")}
    return {**known, **kept, "stream": _streamed(kept["rows"])}


def _trial(entry: dict[str, Any]) -> tuple[str, float]:
    return entry["profile"], entry["eps_uv"]


def _agreement(stream: Evaluation, window: Evaluation) -> dict[str, int]:
    """Windows, clean and attacked, and those of them with the same logits in both, bit for bit."""
    equal = [
        np.array_equal(ours, theirs)
        for one, other in zip(stream.judged, window.judged, strict=True)
        for ours, theirs in zip(_logits(one), _logits(other), strict=True)
    ]
    return {"compared": len(equal), "equal": sum(equal)}


def _streamed(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    counts = [row["stream"] for row in rows if row["form"] == STREAMING]
    return {key: sum(count[key] for count in counts) for key in ("compared", "equal")}


def score_run(run: Path, dataset: Dataset, trial: Trial, *, seed: int = 0) -> dict[str, Any]:
    """The row of a run alone, as `score_forms` has it for `torch` in the paper's profile."""
    attacks = portfolio(profile=trial.profile, eps=trial.eps)
    contender = open_contender(run, None, attacks)
    index = unseen_records(dataset, training_of(contender.subject), part="test").index
    (evaluation,) = evaluate_contenders([contender], dataset, _limited(dataset, index, trial, seed), attacks, seed=seed)
    return _row(TORCH, trial, evaluation)


def _limited(dataset: Dataset, index: np.ndarray, trial: Trial, seed: int) -> np.ndarray:
    return index if trial.records is None else stratified(dataset.labels, index, trial.records, seed=seed)


def _contenders(forms: Forms, *, threads: int) -> dict[str, Contender]:
    """Form -> contender, each crafted on by itself."""
    attacks = portfolio()
    torch = open_contender(forms.torch, None, attacks)
    int8 = open_contender(forms.int8, None, attacks, gradients=("twin",), threads=threads)
    # The twin of a float file is its run, but for the rounding of sums.
    fp32 = open_contender(forms.fp32, None, attacks, gradients=("none",), threads=threads)
    fp32 = replace(fp32, sources=torch.sources)
    stream = _stream_subject(open_stream(forms.streaming), int8.subject)
    return {
        TORCH: torch,
        FP32: fp32,
        INT8: int8,
        STREAMING: replace(int8, subject=stream, crafting=int8.subject, sources=_borrowed(int8.sources)),
    }


def _sharing(contenders: dict[str, Contender]) -> dict[str, Contender]:
    """Every form attacked through the run and through the int8 file's twin."""
    (run,), (twin,) = contenders[TORCH].sources, contenders[INT8].sources
    own, borrowed = (run, twin), (run, *_borrowed([twin]))
    return {form: replace(one, sources=own if form == INT8 else borrowed) for form, one in contenders.items()}


def _borrowed(sources: Sequence[Source]) -> tuple[Source, ...]:
    """Another's twins, which are held against that other's file."""
    return tuple(replace(source, twin_of=None) for source in sources)


def _stream_subject(stream: StreamModel, window: Subject) -> Subject:
    """A stream as a classifier of windows: each is played from silence, and the decision at its end counts."""

    def logits(ecg: np.ndarray) -> np.ndarray:
        return np.stack([_played(stream, record[0]) for record in ecg])

    return replace(window, name=str(stream.path), logits=logits, sha256=stream.sha256)


def _played(stream: StreamModel, ecg: np.ndarray) -> np.ndarray:
    stream.reset()
    decision = None
    for first in range(0, len(ecg), stream.hop):
        decision = stream.step(ecg[first : first + stream.hop])
    assert decision is not None
    return decision


def _logits(entry: Any) -> np.ndarray:
    assert entry.logits is not None
    logits: np.ndarray = entry.logits
    return logits


def _about(trial: Trial) -> dict[str, Any]:
    version = PROFILE_VERSIONS[trial.profile]
    return {"profile": trial.profile, "profile_version": version, "eps_uv": trial.eps}


def _row(form: str, trial: Trial, evaluation: Evaluation) -> dict[str, Any]:
    """Clean, under PGD, under SAP and under all of them; of several attacks of a kind, right under each of them."""
    row: dict[str, Any] = {"form": form, **_about(trial), "n": len(evaluation.labels)}
    for name in ("clean", "pgd", "sap"):
        row[name] = _scores(evaluation, _of_kind(evaluation, name).worst_case())
    worst = evaluation.worst_case()
    return {**row, "worst_case": _scores(evaluation, worst), "recall": _recalls(evaluation, worst)}


def _of_kind(evaluation: Evaluation, name: str) -> Evaluation:
    return evaluation.of((name,))


def _scores(evaluation: Evaluation, predicted: np.ndarray) -> dict[str, Any]:
    """Accuracy, macro F1, the official F1, and what a watch that announces AF would see."""
    confusion = confusion_matrix(evaluation.labels, predicted, len(evaluation.classes))
    alarm, classes = evaluation.classes.index(ALARM), challenge_classes(evaluation.classes)
    found, called, true = (int(part.sum()) for part in (confusion[alarm, alarm], confusion[:, alarm], confusion[alarm]))
    return {
        "accuracy": accuracy_rate(confusion),
        "f1": f1_rate(confusion),
        "f1_nao": f1_rate(confusion, classes),
        "sensitivity": rate(found, true),
        "false_alarms": rate(called - found, int(confusion.sum()) - true),
    }


def _recalls(evaluation: Evaluation, predicted: np.ndarray) -> dict[str, Any]:
    """Class -> share of its records that no attack turned."""
    right = predicted == evaluation.labels
    own = {name: evaluation.labels == number for number, name in enumerate(evaluation.classes)}
    return {name: rate(int(right[mask].sum()), int(mask.sum())) for name, mask in own.items()}


def _difference(trial: Trial, int8: Evaluation, other: Evaluation, form: str) -> dict[str, Any]:
    """int8 less another form, record by record."""

    def right(evaluation: Evaluation) -> np.ndarray:
        good: np.ndarray = evaluation.worst_case() == evaluation.labels
        return good

    return {
        **_about(trial),
        "form": INT8,
        "reference": form,
        "clean": paired_difference(right(_of_kind(int8, "clean")), right(_of_kind(other, "clean"))),
        "worst_case": paired_difference(right(int8), right(other)),
    }
