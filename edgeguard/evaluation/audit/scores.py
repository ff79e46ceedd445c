"""Accuracy of every form, clean and attacked, and what the audited file may lose."""

from typing import Any

import numpy as np

from edgeguard.ecg.record import ALARM
from edgeguard.evaluation.audit.checks import needed_text, rate_check, records_to_decide
from edgeguard.evaluation.audit.forms import Forms
from edgeguard.evaluation.audit.result import Check, Rate, Score, Survival
from edgeguard.evaluation.audit.thresholds import Thresholds
from edgeguard.evaluation.audit.verdict import decide
from edgeguard.evaluation.audit.white_box import Judgements
from edgeguard.evaluation.evaluate import Evaluation
from edgeguard.evaluation.inferiority import has_nothing_to_lose
from edgeguard.evaluation.intervals import accuracy_rate, f1_rate, rate
from edgeguard.evaluation.metrics import confusion_matrix
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.survival import needed_records, outcome, survival

WORST = "worst case"


def clean_classes(evaluation: Evaluation) -> np.ndarray:
    """int64 [N]: what each clean record was called."""
    return next(entry.predicted for entry in evaluation.judged if entry.attack.name == "clean")


def clean_logits(evaluation: Evaluation) -> np.ndarray:
    """float32 [N, C]: the answers to clean records."""
    return next(
        entry.logits for entry in evaluation.judged if entry.attack.name == "clean" and entry.logits is not None
    )


def under(evaluation: Evaluation, attack: str) -> np.ndarray:
    """int64 [N]: the first wrong class under any attack of that family, else the true one."""
    found = evaluation.labels.copy()
    for entry in evaluation.judged:
        if entry.attack.family == attack:
            found = np.where(found == evaluation.labels, entry.predicted, found)
    return found


def all_scores(judged: Judgements) -> tuple[Score, ...]:
    """Clean, each attack and the worst case, of every form at every budget."""
    scores = []
    for form, by_eps in judged.items():
        first = next(iter(by_eps.values()))
        scores.append(_score(form, 0.0, "clean", first.labels, clean_classes(first), len(first.classes)))
        for eps, evaluation in by_eps.items():
            names = dict.fromkeys(entry.attack.family for entry in evaluation.judged if entry.gradient is not None)
            found = {name: under(evaluation, name) for name in names}
            if found:
                found[WORST] = evaluation.worst_case()
            scores += [
                _score(form, eps, name, evaluation.labels, predicted, len(evaluation.classes))
                for name, predicted in found.items()
            ]
    return tuple(scores)


def score_checks(forms: Forms, judged: Judgements, demands: Thresholds) -> tuple[Check, ...]:
    """What is demanded of clean records, and of the worst case at the smallest budget."""
    eps, evaluation = next(iter(judged[forms.form].items()))
    labels, clean = evaluation.labels, clean_classes(evaluation)
    confusion = confusion_matrix(labels, clean, len(evaluation.classes))
    accuracy, f1 = Rate(**accuracy_rate(confusion)), Rate(**f1_rate(confusion))
    checks = [
        rate_check("clean_accuracy", "clean", accuracy, demands.clean_accuracy, sense="least", what="clean accuracy"),
        rate_check("clean_f1", "clean", f1, demands.clean_f1, sense="least", what="clean macro F1"),
    ]
    if ALARM in evaluation.classes:
        place = evaluation.classes.index(ALARM)
        found = Rate(**rate(int(confusion[place, place]), int(confusion[place].sum())))
        what = f"clean sensitivity for {ALARM}"
        checks.append(rate_check("af_sensitivity", "clean", found, demands.af_sensitivity, sense="least", what=what))
    if forms.reference is not None:
        reference = next(iter(judged[forms.reference].values()))
        lost = paired_difference(clean == labels, clean_classes(reference) == labels)
        checks.append(_loss_check(lost, forms, demands))
    if not evaluation.gradients():
        reason = f"no white-box attack was possible: {forms.lacking}"
        return *checks, Check("robustness_loss", "white-box", None, None, demands.robustness_loss, reason)
    worst = evaluation.worst_case() == labels
    robust = Rate(**rate(int(worst.sum()), len(worst)))
    what = f"accuracy in the worst case at {eps:g} uV"
    checks.append(
        rate_check("attacked_accuracy", "white-box", robust, demands.attacked_accuracy, sense="least", what=what)
    )
    return *checks, _robustness_check(clean == labels, worst, eps, demands)


def survivals(forms: Forms, judged: Judgements, demands: Thresholds, *, seed: int) -> tuple[Survival, ...]:
    """The audited file less its float form in the worst case, at every budget; none without a fair comparison."""
    if forms.reference is None or len(forms.sources) < 2:
        return ()
    found = []
    for eps, exported in judged[forms.form].items():
        reference = outcome(forms.reference, judged[forms.reference][eps], seed=seed)
        one = survival(reference, outcome(forms.form, exported, seed=seed), margin=demands.margin)
        paired = one.worst_case
        found.append(
            Survival(
                eps,
                one.verdict,
                one.message,
                one.margin,
                paired["difference"],
                paired["low"],
                paired["high"],
                one.n,
                paired["mcnemar_p"],
                one.table,
                one.needed,
            )
        )
    return tuple(found)


def survival_checks(forms: Forms, found: tuple[Survival, ...], demands: Thresholds) -> tuple[Check, ...]:
    """A check a budget; one that is undecided where an int8 file could not be held against a float form."""
    if not found:
        if forms.form != "int8":
            reason = "a float file: nothing was rounded, and nothing lost by it; its own robustness is what counts"
            return (Check("survival", "survival", True, None, None, reason),)
        return (Check("survival", "survival", None, None, -demands.margin, f"survival of export: {forms.lacking}"),)
    # A budget at which the float form is wrong already decides nothing: clean records and the other budgets do.
    return tuple(
        _stated(one, forms) if one.verdict == "inconclusive" and nothing_left(one) else _survival_check(one, forms)
        for one in found
    )


def nothing_left(one: Survival) -> bool:
    """Whether the float form is so often wrong at this budget that an export could not lose the margin."""
    right = one.table["both_right"] + one.table["only_reference"]
    return has_nothing_to_lose(right, one.n, one.margin)


def _stated(one: Survival, forms: Forms) -> Check:
    reason = f"{forms.form} less {forms.reference} at {one.eps_uv:g} uV, {one.message}"
    return Check(f"survival_{one.eps_uv:g}", "survival", None, one.difference, None, reason)


def _survival_check(one: Survival, forms: Forms) -> Check:
    return Check(
        f"survival_{one.eps_uv:g}",
        "survival",
        decide(one.difference, -one.margin, sense="least", low=one.low, high=one.high),
        one.difference,
        -one.margin,
        f"{forms.form} less {forms.reference} at {one.eps_uv:g} uV, {one.message}",
        one.needed if one.verdict == "inconclusive" and (one.needed or 0) > one.n else None,
        "least",
        one.low,
        one.high,
    )


def _loss_check(lost: dict[str, Any], forms: Forms, demands: Thresholds) -> Check:
    """Clean accuracy beside the float form."""
    bar, low, high = -demands.margin, lost["low"], lost["high"]
    holds = decide(lost["difference"], bar, sense="least", low=low, high=high)
    discordant = (lost["only_first"] + lost["only_second"]) / lost["n"]
    needed = needed_records(discordant, demands.margin) if holds is None else None
    if needed is not None and needed <= lost["n"]:
        needed = None  # enough for a difference of zero: the loss itself nears the margin
    points = "{:+.1f} [{:+.1f}, {:+.1f}] points".format(*(100 * lost[key] for key in ("difference", "low", "high")))
    reason = f"{forms.form} less {forms.reference} on clean records {points}, n = {lost['n']}"
    reason += f", margin {demands.margin_points:g} points" + (needed_text(needed) if holds is None else "")
    return Check("clean_loss", "clean", holds, lost["difference"], bar, reason, needed, "least", low, high)


def _robustness_check(clean: np.ndarray, worst: np.ndarray, eps: float, demands: Thresholds) -> Check:
    """What the file itself loses to the attacks: a file without robustness loses it whatever its export does."""
    lost = paired_difference(clean, worst)
    figure, low, high = lost["difference"], max(lost["low"], 0.0), lost["high"]
    holds = decide(figure, demands.robustness_loss, sense="most", low=low, high=high)
    needed = records_to_decide(Rate(figure, low, high, lost["n"]), demands.robustness_loss) if holds is None else None
    reason = (
        f"attacks of {eps:g} uV take {100 * figure:.1f} [{100 * low:.1f}, {100 * high:.1f}] points of "
        f"{100 * clean.mean():.1f}, n = {lost['n']}, at most {demands.robustness_loss_points:g} allowed"
        f"{needed_text(needed) if holds is None else ''}"
    )
    bar = demands.robustness_loss
    return Check("robustness_loss", "white-box", holds, figure, bar, reason, needed, "most", low, high)


def _score(form: str, eps: float, attack: str, labels: np.ndarray, predicted: np.ndarray, classes: int) -> Score:
    confusion = confusion_matrix(labels, predicted, classes)
    rows = tuple(tuple(row) for row in confusion.tolist())
    return Score(form, eps, attack, Rate(**accuracy_rate(confusion)), Rate(**f1_rate(confusion)), rows)
