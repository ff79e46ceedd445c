"""How many records does a verdict need, and what can a number of records tell?

Two classifiers judge the same n records. A share p_d of them is discordant: one classifier alone has the record right.
The exported network loses `loss`: it alone is right on a share (p_d - loss) / 2, the reference alone on
(p_d + loss) / 2. It survives where the lower end of Tango's 95 % interval of the difference lies above -margin.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import bisect
from scipy.stats import binom, norm

from edgeguard.errors import InputError
from edgeguard.evaluation.paired import restricted_variance, score, tango

LEVEL = 0.95
POWER = 0.8
DISCORDANT = (0.01, 0.03, 0.05, 0.10)
"""Shares to look at where none is known."""
_TAIL = 1e-12
# Margins are found to a ten-thousandth of a point; one a hundredth of a point from the loss takes millions of records.
_MARGIN = 1e-6
_CLOSEST = 1e-4


@dataclass(frozen=True)
class Need:
    """Records for a margin.

    Attributes:
        records: None where no number suffices.
        power: chance that they show survival, exact; None with `records`.
    """

    discordant: float
    records: int | None
    power: float | None


@dataclass(frozen=True)
class Reach:
    """What a number of records can tell.

    Attributes:
        difference, low, high: exported less reference with its 95 % interval, where the records come as expected.
        power: chance that they show survival at the margin asked for, exact.
        margin: the smallest that they decide with the power asked for; None where they decide none.
    """

    discordant: float
    difference: float
    low: float
    high: float
    power: float
    margin: float | None


def needs(margin: float, discordant: Sequence[float] = (), *, power: float = POWER, loss: float = 0.0) -> list[Need]:
    """The records that a margin needs, for each share of discordant records; shares throughout.

    Args:
        discordant: where empty, those of DISCORDANT that have room for the loss.

    Raises InputError for what is out of range.
    """
    found = []
    for share in _checked(margin, discordant, power, loss):
        records = needed_records(share, margin, power=power, loss=loss)
        reached = None if records is None else reached_power(records, share, margin, loss=loss)
        found.append(Need(share, records, reached))
    return found


def reaches(
    records: int, margin: float, discordant: Sequence[float] = (), *, power: float = POWER, loss: float = 0.0
) -> list[Reach]:
    """What so many records can tell, for each share of discordant records; as `needs`."""
    if records < 1:
        raise InputError(f"--records {records}: at least 1 needed")
    found = []
    for share in _checked(margin, discordant, power, loss):
        only_first, only_second = (records * part for part in _shares(share, loss))
        low, high = tango(only_first, only_second, records, LEVEL)
        reached = reached_power(records, share, margin, loss=loss)
        decided = decided_margin(records, share, power=power, loss=loss)
        found.append(Reach(share, 0.0 - loss, low, high, reached, decided))
    return found


def needed_records(discordant: float, margin: float, *, power: float = POWER, loss: float = 0.0) -> int | None:
    """Records at which `survives` falls with the given power; None where no number suffices, loss >= margin.

    n = (z_0.975 sqrt(v_0) + z_power sqrt(v_1))^2 / (margin - loss)^2, v_1 = p_d - loss^2 the variance of a record's
    difference and v_0 that under the hypothesis of a loss of the margin, at its maximum likelihood (Nam 1997; Liu et
    al. 2002). With v_0 = v_1 it is the textbook's 7.85 p_d / margin^2 at 80 % power, which falls short where the margin
    is near p_d: at 3 % and 2 points 589 records have a power of 74 %. Counts are few there, and this formula too may
    miss by some points: the number is then raised, by a hundredth at a time, until `reached_power` is high enough.

    Never less than what Tango's interval needs without a discordant record, its lower end being -z^2 / (n + z^2) then.

    Args:
        discordant: share of records that one network alone has right, p_d, at least |loss|.
        margin, loss: shares.
    """
    if margin <= max(loss, 0.0):
        return None
    z = norm.ppf((1 + LEVEL) / 2)
    only_first, only_second = _shares(discordant, loss)
    under_hypothesis = restricted_variance(only_first, only_second, 1, -margin)
    spread = z * math.sqrt(under_hypothesis) + norm.ppf(power) * math.sqrt(max(discordant - loss**2, 0.0))
    least = z**2 * (1 - margin) / margin
    records = math.ceil(max((spread / (margin - loss)) ** 2, least))
    while reached_power(records, discordant, margin, loss=loss) < power:
        records += max(1, records // 100)
    return records


def reached_power(records: int, discordant: float, margin: float, *, loss: float = 0.0) -> float:
    """Chance that so many records show survival: every outcome that does, weighted with its chance.

    The statistic grows with the records that the exported network alone has right. For each number of those that the
    reference alone has right, the smallest that shows survival is found by bisection.
    """
    # scipy's binomial overflows at chances of 1e-308; none below the tail makes a difference.
    only_first, only_second = (share if share > _TAIL else 0.0 for share in _shares(discordant, loss))
    z = norm.ppf((1 + LEVEL) / 2)
    least, most = binom.ppf([_TAIL, 1 - _TAIL], records, only_second).astype(int)
    second = np.arange(least, most + 1)
    below, enough = np.full(second.shape, -1), records - second + 1
    while (enough - below > 1).any():
        middle = (below + enough) // 2
        shown = score(middle, second, records, -margin) > z
        below, enough = np.where(shown, below, middle), np.where(shown, middle, enough)
    left = only_first / (1 - only_second) if only_second < 1 else 0.0
    shows = binom.sf(enough - 1, records - second, min(left, 1.0))
    return float(binom.pmf(second, records, only_second) @ shows)


def decided_margin(records: int, discordant: float, *, power: float = POWER, loss: float = 0.0) -> float | None:
    """The smallest margin at which so many records show survival with the given power; None where there is none."""

    def excess(margin: float) -> float:
        return reached_power(records, discordant, margin, loss=loss) - power

    start, end = max(loss, 0.0) + _MARGIN, 1 - _MARGIN
    if start >= end or excess(end) < 0:
        return None
    return start if excess(start) >= 0 else float(bisect(excess, start, end, xtol=_MARGIN)) + _MARGIN


def _shares(discordant: float, loss: float) -> tuple[float, float]:
    """Of records that the exported network, and that the reference alone has right."""
    return (discordant - loss) / 2, (discordant + loss) / 2


def _checked(margin: float, discordant: Sequence[float], power: float, loss: float) -> Sequence[float]:
    """The shares, or the usual ones that have room for the loss."""
    if not 0 < margin < 1:
        raise InputError(f"--margin {100 * margin:g}: above 0 and below 100 points needed")
    if not 0.5 <= power < 1:
        raise InputError(f"--power {100 * power:g}: at least 50 and below 100 per cent needed")
    if not -1 < loss < 1:
        raise InputError(f"--loss {100 * loss:g}: between -100 and 100 points needed")
    if 0 < margin - loss < _CLOSEST:
        raise InputError(
            f"--loss {100 * loss:g}: too near the margin of {100 * margin:g} points for any set of records"
        )
    for share in discordant:
        if not 0 <= share <= 1:
            raise InputError(f"--discordant {share:g}: a share between 0 and 1 needed; 3 % is 0.03")
        if share < abs(loss):
            raise InputError(f"--discordant {share:g}: no room for --loss {100 * loss:g}; give {abs(loss):g} or more")
    usual = [share for share in DISCORDANT if share >= abs(loss)]
    if not discordant and not usual:
        raise InputError(
            f"--loss {100 * loss:g}: name a share of discordant records, --discordant {abs(loss):g} or more"
        )
    return discordant or usual
