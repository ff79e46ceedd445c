"""Did a network survive its export? The exported form against the reference, under one portfolio, record by record.

Accuracies of two networks under attack compare only where both had the same attacks with the same seeds and budgets,
crafted on each and judged by both: a network that was attacked less looks more robust. The claim is non-inferiority
against a margin that is fixed beforehand, not the absence of a significant difference.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from edgeguard.errors import InputError
from edgeguard.evaluation.evaluate import Evaluation
from edgeguard.evaluation.inferiority import has_nothing_to_lose, verdict_of
from edgeguard.evaluation.intervals import rate
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.sample_size import needed_records


class Trial(NamedTuple):
    """What was done to every record; equal where the very same adversarial records were judged.

    Attributes:
        attack: the attack with all its settings.
        crafted_on: the network whose gradient crafted; None for clean records.
        seed: of random starts.
    """

    attack: Hashable
    crafted_on: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """One network's answers.

    Attributes:
        name: of the network.
        right: bool [N] a trial: whether the network has each record right; ties are wrong.
    """

    name: str
    right: Mapping[Trial, np.ndarray]

    def worst_case(self, crafted_on: str | None = None) -> np.ndarray:
        """bool [N]: right under every trial, or under those of one crafting network."""
        chosen = [right for trial, right in self.right.items() if crafted_on in (None, trial.crafted_on)]
        return np.logical_and.reduce(chosen)


@dataclass(frozen=True)
class Survival:
    """The comparison, exported less reference; shares of the n records.

    Attributes:
        verdict: one of VERDICTS.
        message: the verdict in one line, with its figures.
        margin: largest loss of worst-case accuracy that is accepted, fixed beforehand.
        accuracy: worst case of each network, by name: a rate.
        table: records by (reference, exported): `both_right`, `only_reference`, `only_exported`, `both_wrong`.
        worst_case: `paired_difference` of the worst cases: difference, Tango's interval, exact McNemar p.
        clean: the same of clean records; None where they were not judged.
        transfer: worst case of each network, by crafting network and name: rates.
        needed: records for 80 % power at the share of discordant records that was seen, were the true difference zero;
            None where no number suffices.
    """

    verdict: str
    message: str
    margin: float
    n: int
    accuracy: dict[str, Any]
    table: dict[str, int]
    worst_case: dict[str, Any]
    clean: dict[str, Any] | None
    transfer: dict[str, dict[str, Any]]
    needed: int | None


def outcome(name: str, evaluation: Evaluation, *, seed: int = 0) -> Outcome:
    """An evaluation's answers; its gradient sources are the crafting networks."""
    right = {
        Trial(entry.attack, entry.gradient, seed): entry.predicted == evaluation.labels for entry in evaluation.judged
    }
    return Outcome(name, right)


def survival(reference: Outcome, exported: Outcome, *, margin: float = 0.02) -> Survival:
    """Whether the exported network is not inferior to the reference in the worst case.

    `survives`: the lower end of the 95 % interval of the paired difference (Tango 1998) lies above -margin.
    `degraded`: the upper end lies below -margin. Else `inconclusive`, with the number of records that would tell.

    Args:
        reference, exported: judged on the same records.
        margin: share of the records, above 0.

    Raises InputError for a margin out of range, and for an asymmetric comparison: other trials on one side than on the
    other, or attacks that were crafted on one network and not on the other.
    """
    if not 0 < margin < 1:
        raise InputError(f"--margin {100 * margin:g}: above 0 and below 100 points needed")
    check_symmetric(reference, exported)
    ours, theirs = exported.worst_case(), reference.worst_case()
    n = len(ours)
    found = paired_difference(ours, theirs)
    discordant = (found["only_first"] + found["only_second"]) / n if n else 0.0
    needed = needed_records(discordant, margin)
    nothing = has_nothing_to_lose(int(theirs.sum()), n, margin)
    verdict = verdict_of(found["low"], found["high"], margin, nothing_to_lose=nothing)
    sources = dict.fromkeys(trial.crafted_on for trial in exported.right if trial.crafted_on is not None)
    clean = next((trial for trial in exported.right if _is_clean(trial)), None)
    return Survival(
        verdict=verdict,
        message=_message(verdict, found, margin, needed, nothing),
        margin=margin,
        n=n,
        accuracy={one.name: rate(int(one.worst_case().sum()), n) for one in (reference, exported)},
        table={
            "both_right": int((ours & theirs).sum()),
            "only_reference": int((theirs & ~ours).sum()),
            "only_exported": int((ours & ~theirs).sum()),
            "both_wrong": int((~ours & ~theirs).sum()),
        },
        worst_case=found,
        clean=paired_difference(exported.right[clean], reference.right[clean]) if clean else None,
        transfer={
            source: {one.name: rate(int(one.worst_case(source).sum()), n) for one in (reference, exported)}
            for source in sources
        },
        needed=None if nothing else needed,
    )


def check_symmetric(reference: Outcome, exported: Outcome) -> None:
    """Raises InputError unless both were judged on the same records under the same trials, crafted alike on each."""
    for one, other in ((reference, exported), (exported, reference)):
        if missing := [trial for trial in one.right if trial not in other.right]:
            raise InputError(
                f"{other.name}: not judged under {_describe(missing[0])}, which {one.name} was; "
                "attack both with one portfolio, one seed and the same gradient sources"
            )
    crafted: dict[str, set[tuple[Hashable, int]]] = {}
    for trial in exported.right:
        if trial.crafted_on is not None:
            crafted.setdefault(trial.crafted_on, set()).add((trial.attack, trial.seed))
    if not crafted:
        raise InputError(f"{exported.name}: judged under no attack; there is nothing to compare")
    everything = set().union(*crafted.values())
    if len(crafted) == 1:
        raise InputError(f"attacks crafted on {next(iter(crafted))} alone; craft on both networks, judge both on both")
    for source, made in crafted.items():
        if lacking := everything - made:
            attack, seed = next(iter(lacking))
            raise InputError(
                f"{_describe(Trial(attack, source, seed))}: missing, though another network crafted it; "
                "craft the whole portfolio on each"
            )
    lengths = {len(right) for one in (reference, exported) for right in one.right.values()}
    if len(lengths) != 1:
        raise InputError(f"{exported.name} and {reference.name}: judged on different records; judge both on the same")


def _message(verdict: str, found: dict[str, Any], margin: float, needed: int | None, nothing: bool) -> str:
    points = "{:+.1f} [{:+.1f}, {:+.1f}] points".format(*(100 * found[key] for key in ("difference", "low", "high")))
    against = f"worst case {points}, n = {found['n']}, margin {100 * margin:g} points"
    if nothing and verdict == "inconclusive":
        return f"inconclusive: nothing to lose, as the reference is wrong already; {against}"
    if verdict != "inconclusive" or needed is None:
        return f"{verdict}: {against}"
    if needed <= found["n"]:
        return f"inconclusive: {against}; enough records for a difference of zero, but the loss itself nears the margin"
    needs = f"{needed} records for 80 % power at this share of discordant records"
    return f"inconclusive: {against}; {needs}, were the true difference zero"


def _is_clean(trial: Trial) -> bool:
    """A black-box search has no crafting network either, but an attack's name."""
    return trial.crafted_on is None and getattr(trial.attack, "name", "clean") == "clean"


def _describe(trial: Trial) -> str:
    crafted = f" crafted on {trial.crafted_on}" if trial.crafted_on else ""
    return f"{trial.attack}{crafted}, seed {trial.seed}"
