"""Is the attack blunt? Checks that tell a robust network from one whose gradient is merely of no use.

Each check is a pure function of arrays that an evaluation has at hand, and says one thing in one line. The list
follows Carlini et al. 2019 (arXiv 1902.06705), Athalye et al. 2018 (1802.00420) and Pintor et al. 2021 (2106.09947).
A bar on a share of records is missed when the share's whole 95 % interval lies on its wrong side; where the share alone
does, there are too few records to tell. A check that holds one attack against another cannot tell either where that
other attack turns no record at all: nothing could have tripped it, on whatever network.
"""

from collections.abc import Sequence

import numpy as np
from scipy.stats import binomtest

from edgeguard.evaluation.intervals import wilson
from edgeguard.evaluation.masking_check import Check

ONE_STEP_BAR = 0.005
UNBOUNDED_BAR = 0.02
GAIN_BAR = 0.005
OTHER_ATTACK_BAR = 0.01
STRONGER_BAR = 0.95
BATCH_BAR = 1e-4


def zero_gradients(largest: np.ndarray, right: np.ndarray) -> Check:
    """Records that count as robust although cross-entropy has no gradient at them: signed steps from there go nowhere.

    Logits of hundreds, as distillation at a high temperature leaves them, saturate the softmax in float32 (Carlini &
    Wagner 2016, arXiv 1607.04311). One such record is one too many.

    Args:
        largest: float [N], the largest magnitude of the gradient of cross-entropy by a record's samples.
        right: bool [N], whether the network has the record right.
    """
    flat = ~(largest > 0) & right
    return _rare(
        "zero_gradients",
        flat,
        0.0,
        "records are right and have no gradient under cross-entropy",
        "its robust accuracy is masked; count the margin loss or rescaled logits instead",
    )


def one_step_beats_many(right_one: np.ndarray, right_many: np.ndarray) -> Check:
    """Records that one large step fools and many small ones do not; bool [N] each, right under the attack.

    Here and below, of records that are right unattacked.
    """
    return _beaten(
        "one_step_beats_many",
        right_many,
        right_one,
        ONE_STEP_BAR,
        "one step",
        "records fall to one step and not to many",
        "the loss is rugged or the steps do not fit; add steps, restarts or another loss",
    )


def straight_through(
    labels: np.ndarray,
    through: np.ndarray,
    true: np.ndarray | None,
    *,
    eps: float | None = None,
    input_step: float | None = None,
) -> Check:
    """Whether the straight-through gradient leads anywhere that the true gradient does not.

    Rounding has no gradient, so that on a quantised file an attack on the true one stands still. The straight-through
    attack must leave a larger margin (best wrong logit less the right one) on nearly every record, and fool no fewer.
    It does not where its gradient is as blind, and where the perturbation never reaches the network because the input's
    quantiser rounds it away: then neither attack finds anything, which says nothing about the network.

    Args:
        labels: int64 [N].
        through, true: logits [N, C] of the deployed file under either attack; `true` is None where nothing is rounded.
        eps, input_step: of the attack and of the file's input quantiser, microvolts; told in the message.
    """
    name = "straight_through"
    if true is None:
        return Check(name, None, None, STRONGER_BAR, "not needed: nothing is rounded on the way")
    step = "" if input_step is None else f" of {input_step:g} uV"
    size = "" if eps is None else f" {eps:g} uV"
    why = f"the input's step{step} may swallow eps{size}; attack with a larger eps or export a finer step"
    ours, theirs = margins(labels, through), margins(labels, true)
    return _stronger(
        name, ours, theirs, "the straight-through gradient leads further than the true one on {share} records", why
    )


def identity_at_zero(ecg: np.ndarray, adversarial: np.ndarray) -> Check:
    """With eps = 0 an attack must return the records themselves: float32 [N, 1, T] each, microvolts."""
    changed = (ecg != adversarial).reshape(len(ecg), -1).any(1)
    return _rare(
        "identity_at_zero",
        changed,
        0.0,
        "records change at eps = 0",
        "the attack leaves its ball; every figure is too low",
    )


def unbounded(right: np.ndarray) -> Check:
    """Without a bound on eps an attack fools every record: bool [N], right under a perturbation of any size."""
    return _rare(
        "unbounded",
        right,
        UNBOUNDED_BAR,
        "records stand whatever eps is",
        "the gradient does not lead to the boundary; the attack is too weak to measure robustness",
    )


def still_gains(right: np.ndarray, right_more: np.ndarray, *, what: str) -> Check:
    """Whether an attack that goes on finds more: bool [N] each, right under it and under the longer one.

    Args:
        what: `steps` or `restarts`.
    """
    return _beaten(
        f"more_{what}",
        right,
        right_more,
        GAIN_BAR,
        f"the attack of more {what}",
        f"records fall only to more {what}",
        f"the attack has not converged; add {what}",
    )


def black_box_beats_white_box(right_white: np.ndarray, right_black: np.ndarray) -> Check:
    """Records that fall to an attack which sees no gradient, and not to one which does: bool [N] each."""
    return _beaten(
        "black_box",
        right_white,
        right_black,
        OTHER_ATTACK_BAR,
        "the black-box attack",
        "records fall to the black-box attack alone",
        "the gradient is masked; craft on another source or another loss, and count both",
    )


def transfer_beats_direct(right_direct: np.ndarray, right_transferred: np.ndarray | None) -> Check:
    """Records that fall to what was crafted on another network, and not to what was crafted on this one.

    Args:
        right_direct, right_transferred: bool [N] each; None where no other network is at hand.
    """
    name = "transfer"
    if right_transferred is None:
        return Check(name, None, None, OTHER_ATTACK_BAR, "no other network is at hand")
    return _beaten(
        name,
        right_direct,
        right_transferred,
        OTHER_ATTACK_BAR,
        "the transferred attack",
        "records fall to the transferred attack alone",
        "this network's own gradient is the worse guide; count both sources",
    )


def steps_reach(reach: float, eps: float) -> Check:
    """Whether the steps can reach the edge of the ball: `reach` is their largest perturbation, microvolts."""
    figure = reach / eps if eps > 0 else 1.0
    fact = f"the steps reach {reach:g} of {eps:g} uV"
    if figure < 1:
        return Check("reach", False, figure, 1.0, f"{fact}; add steps or enlarge alpha")
    return Check("reach", True, figure, 1.0, fact)


def noise_as_strong(labels: np.ndarray, attacked: np.ndarray, noisy: np.ndarray) -> Check:
    """Whether the attack leads further than random perturbations of the same size.

    Args:
        labels: int64 [N].
        attacked: logits [N, C] under the attack.
        noisy: logits [R, N, C] under R draws of noise within eps; each record's worst draw counts.
    """
    strongest = np.max([margins(labels, draw) for draw in noisy], axis=0)
    return _stronger(
        "random_noise",
        margins(labels, attacked),
        strongest,
        f"the attack leads further than {len(noisy)} draws of noise on {{share}} records",
        "its gradient carries no information; the robust accuracy is that of noise",
    )


def batch_invariance(alone: np.ndarray, together: np.ndarray) -> Check:
    """Whether a record's logits depend on its company: [N, C] each, judged one by one and as one batch."""
    name = "batch_invariance"
    if len(alone) == 0:
        return Check(name, None, None, BATCH_BAR, "no records")
    scale = np.maximum(np.abs(alone).max(1), np.finfo(np.float32).tiny)
    apart = np.abs(alone - together).max(1) / scale
    figure = float(np.where(np.isfinite(apart), apart, np.inf).max())
    fact = f"logits alone and in a batch differ by {figure:.2g} of the largest"
    if figure > BATCH_BAR:
        return Check(name, False, figure, BATCH_BAR, f"{fact}; the network mixes records, put it into eval mode")
    return Check(name, True, figure, BATCH_BAR, fact)


def evaluation_mode(in_training: Sequence[str]) -> Check:
    """Whether any layer that behaves otherwise in training was judged in train mode: the names of those that were."""
    figure = float(len(in_training))
    if in_training:
        message = f"{len(in_training)} layers in train mode, the first {in_training[0]}; call eval() before judging"
        return Check("evaluation_mode", False, figure, 0.0, message)
    return Check("evaluation_mode", True, figure, 0.0, "no layer is in train mode")


def margins(labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """float [N]: the best wrong logit less the right one; not below zero where the record is fooled, ties included."""
    rows = np.arange(len(labels))
    wrong = np.array(logits, np.float64)
    right = wrong[rows, labels]
    wrong[rows, labels] = -np.inf
    return np.asarray(wrong.max(1) - right)


def _rare(name: str, violations: np.ndarray, bar: float, fact: str, advice: str) -> Check:
    """A check that records of a kind are rarer than a bar."""
    n, count = len(violations), int(violations.sum())
    if n == 0:
        return Check(name, None, None, bar, "no records")
    share = count / n
    message = f"{count} of {n} {fact}"
    if share <= bar:
        return Check(name, True, share, bar, message)
    # Exact (Clopper & Pearson 1934): Wilson's interval would clear a bar of 0.5 % with one record in 32.
    if binomtest(count, n).proportion_ci(method="exact").low <= bar:
        return Check(name, None, share, bar, f"{message}: too few records to tell from {100 * bar:g} %")
    return Check(name, False, share, bar, f"{message}; {advice}")


def _beaten(
    name: str, right: np.ndarray, right_other: np.ndarray, bar: float, other: str, fact: str, advice: str
) -> Check:
    """A check that records that stand under an attack and fall to another are rarer than a bar: bool [N] each."""
    if len(right_other) and right_other.all():
        return Check(name, None, None, bar, f"{other} turns none of {len(right_other)} records: it cannot tell")
    return _rare(name, right & ~right_other, bar, fact, advice)


def _stronger(name: str, ours: np.ndarray, theirs: np.ndarray, fact: str, advice: str) -> Check:
    """A check that an attack leaves larger margins [N] than another on nearly every record, and fools no fewer."""
    n, count = len(ours), int((ours > theirs).sum())
    if n == 0:
        return Check(name, None, None, STRONGER_BAR, "no records")
    message = fact.format(share=f"{count} of {n}")
    if wilson(count, n)[1] < STRONGER_BAR or (ours >= 0).sum() < (theirs >= 0).sum():
        return Check(name, False, count / n, STRONGER_BAR, f"{message}; {advice}")
    if count / n < STRONGER_BAR:
        too_few = f"too few records to tell from {100 * STRONGER_BAR:g} %"
        return Check(name, None, count / n, STRONGER_BAR, f"{message}: {too_few}")
    return Check(name, True, count / n, STRONGER_BAR, message)
