"""The smallest eps at which a smooth perturbation fools a file, by its gradient; and whether a black box needs less.

An attack that sees no gradient searches the same perturbations (SAP's) with less to go by. Where it gets along with a
smaller eps than the attack that follows the gradient, the gradient misleads: it is masked (Athalye et al. 2018, arXiv
1802.00420).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from edgeguard.attacks.gradient import eval_mode, pgd_path
from edgeguard.attacks.losses import cross_entropy, margin
from edgeguard.attacks.smoothing import smooth, taps_like
from edgeguard.evaluation.masking import Check
from edgeguard.models.edge import EdgeNet

_LEAST = 1.0
_RAY = 8
_BATCH = 32

Judge = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(ecg float32 [B, 1, T] on whole microvolts, labels int64 [B]) to int64 [B], the class that the file gives each
record; as `Subject.judge`."""


NEARER = 0.95
"""A black box is nearer where it needs less than this share of the white box's perturbation, by a code at least."""
NEARER_BAR = 0.05
"""Share of the records on which it may be."""


@dataclass(frozen=True)
class Smallest:
    """Smallest smooth perturbations of B records; 0 where the file is wrong anyway, inf where none was found.

    Attributes:
        eps: float64 [B], of SAP, microvolts.
        linf: float64 [B], largest change of a sample, in whole ADC codes: the L-inf distance of what fooled the file.
    """

    eps: np.ndarray
    linf: np.ndarray


class _Smoothed(nn.Module):
    """A network of the perturbation before its smoothing, in units of each record's own eps.

    So that every record of a batch may have its own eps, and PGD on it is SAP's second stage (the ADT paper's eq. 10).
    """

    def __init__(self, model: Callable[[Tensor], Tensor], ecg: Tensor, mask: Tensor, eps: Tensor) -> None:
        super().__init__()
        self.model = model
        self.ecg, self.mask, self.eps, self.taps = ecg, mask, eps, taps_like(ecg)

    def waveform(self, unit: Tensor) -> Tensor:
        """The perturbation [B, 1, T] at an eps of one."""
        return smooth(unit * self.mask, self.taps) * self.mask

    def forward(self, unit: Tensor) -> Tensor:
        logits: Tensor = self.model(self.ecg + self.eps * self.waveform(unit))
        return logits


def smallest_eps(
    model: nn.Module,
    judge: Judge,
    ecg: np.ndarray,
    labels: np.ndarray,
    mask: np.ndarray,
    *,
    largest: float = 4096.0,
    tolerance: float = 0.02,
    steps: int = 40,
    progress: Callable[[int], object] | None = None,
) -> Smallest:
    """The smallest eps found for each record, microvolts.

    Bisection of log eps. At each eps SAP goes once with the margin, from the best perturbation so far, and once with
    cross-entropy, from zero, by steps that shrink as a cosine from 2 eps on; what fools the file is at once shrunk
    along its own ray. Only what the file itself answers on whole ADC codes counts.

    Args:
        model: whose gradient is followed: the file's run or its twin; ecg [B, 1, T] in microvolts to logits [B, C].
        judge: asks the file.
        ecg: float32 [B, 1, T], whole microvolts.
        labels: int64 [B].
        mask: bool [B, 1, T], False on padding.
        largest: where the bisection begins; a record that falls to no eps below it counts as one that never does.
        tolerance: width, relative to eps, at which the bisection ends.
        steps: of each SAP.
        progress: called with the number of records just done.
    """
    eps, linf = np.zeros(len(ecg)), np.zeros(len(ecg))
    right = np.flatnonzero(judge(ecg, labels) == labels)
    with eval_mode(model):
        network = model.folded() if isinstance(model, EdgeNet) else model
        for start in range(0, len(right), _BATCH):
            rows = right[start : start + _BATCH]
            search = _Search(network, judge, ecg[rows], labels[rows], mask[rows], steps)
            eps[rows] = search.run(largest, 1 + tolerance)
            linf[rows] = search.linf(eps[rows])
            if progress:
                progress(len(rows))
    return Smallest(eps, linf)


def compare_with_black_box(white: np.ndarray, black: np.ndarray) -> dict[str, Any]:
    """What an attack by labels alone needs, against what one by the gradient needs; both smooth, both as L-inf.

    Args:
        white: [N], `Smallest.linf`; records with 0, which the file has wrong anyway, are left out.
        black: [N], L-inf distances that `rays-sap` reached, inf where it found nothing.

    Returns:
        {"n", "ratio": {"median", "low_quartile", "high_quartile"} of black / white over the records that either fools,
        "below_one": share of ratios below 1, "check": `nearer_black_box`}. A ratio is inf where the black box found
        nothing, 0 where the white box did not; the figures are NaN for no records.
    """
    used = (white > 0) & (np.isfinite(white) | np.isfinite(black))
    white, black = white[used], black[used]
    ratio = np.where(np.isfinite(white), black / np.where(np.isfinite(white), white, 1.0), 0.0)
    # Of the values themselves: between a finite ratio and inf there is no middle.
    quartiles = np.quantile(ratio, [0.25, 0.5, 0.75], method="inverted_cdf") if len(ratio) else np.full(3, np.nan)
    low, median, high = (float(value) for value in quartiles)
    return {
        "n": len(ratio),
        "ratio": {"median": median, "low_quartile": low, "high_quartile": high},
        "below_one": float((ratio < 1).mean()) if len(ratio) else float("nan"),
        "check": nearer_black_box(white, black),
    }


def nearer_black_box(white: np.ndarray, black: np.ndarray) -> Check:
    """The masking alarm: records that the attack without a gradient fools by clearly less than the one with it.

    The white box searches to 2 % and both round to whole codes, so that a ratio just below 1 says nothing: a record
    counts where black < 0.95 white and black <= white - 1. The alarm needs more than 5 % of such records, and enough of
    them that the exact 95 % interval of their share (Clopper & Pearson 1934) lies above 5 %.

    Args:
        white, black: L-inf distances [N], microvolts, inf where nothing was found.
    """
    nearer = np.isfinite(black) & (black < NEARER * white) & (black <= white - 1)
    n, count = len(nearer), int(nearer.sum())
    name, fact = "smallest_eps", f"{count} of {n} records fall to less under the black box than under the white box"
    if n == 0:
        return Check(name, None, None, NEARER_BAR, "no records")
    share = count / n
    if share <= NEARER_BAR:
        return Check(name, True, share, NEARER_BAR, fact)
    if binomtest(count, n).proportion_ci(method="exact").low <= NEARER_BAR:
        return Check(name, None, share, NEARER_BAR, f"{fact}: too few records to tell from {100 * NEARER_BAR:g} %")
    advice = "the gradient is masked; craft on another source or another loss, and count both"
    return Check(name, False, share, NEARER_BAR, f"{fact}; {advice}")


class _Search:
    """The bisection of a batch of records, each at its own eps."""

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        judge: Judge,
        ecg: np.ndarray,
        labels: np.ndarray,
        mask: np.ndarray,
        steps: int,
    ) -> None:
        self.network, self.judge, self.steps = network, judge, steps
        self.ecg, self.labels, self.mask = ecg, labels, mask
        self.best = torch.zeros(ecg.shape)

    def run(self, largest: float, ratio: float) -> np.ndarray:
        """The smallest eps [B] of every record."""
        low, high = np.full(len(self.ecg), _LEAST), np.full(len(self.ecg), np.inf)
        while len(rows := np.flatnonzero(np.minimum(high, largest) > ratio * low)):
            eps = np.sqrt(low[rows] * np.minimum(high[rows], largest))
            reached = self.fool(rows, eps)
            high[rows] = np.minimum(high[rows], reached)
            low[rows] = np.where(np.isinf(reached), eps, np.minimum(low[rows], high[rows]))
        return high

    def linf(self, eps: np.ndarray) -> np.ndarray:
        """The L-inf distance [B] of the perturbations of the smallest eps [B], on whole ADC codes."""
        mask = torch.from_numpy(self.mask)
        waveform = (smooth(self.best * mask, taps_like(self.best)) * mask).numpy()
        scale = np.where(np.isfinite(eps), eps, 0)
        reached = np.abs(_codes(self.ecg, waveform, scale) - self.ecg).max((1, 2))
        return np.where(np.isfinite(eps), reached, np.inf)

    def fool(self, rows: np.ndarray, eps: np.ndarray) -> np.ndarray:
        """The smallest eps [R] on the ray of an adversarial perturbation within eps [R]; inf where SAP finds none."""
        ecg, mask = torch.from_numpy(self.ecg[rows]), torch.from_numpy(self.mask[rows])
        around = _Smoothed(self.network, ecg, mask, torch.as_tensor(eps, dtype=ecg.dtype)[:, None, None])
        reached = np.full(len(rows), np.inf)
        for loss, start in ((margin, self.best[rows]), (cross_entropy, None)):
            _, unit = pgd_path(
                around,
                torch.zeros_like(ecg),
                torch.from_numpy(self.labels[rows]),
                mask,
                eps=1.0,
                alpha=2.0,
                steps=self.steps,
                loss=loss,
                start=start,
                best=True,
                schedule="cosine",
            )
            along = self.shrink(rows, around.waveform(unit).numpy(), eps)
            better = torch.from_numpy(along < reached)[:, None, None]
            self.best[rows] = torch.where(better, unit, self.best[rows])
            reached = np.minimum(reached, along)
        return reached

    def shrink(self, rows: np.ndarray, waveform: np.ndarray, eps: np.ndarray) -> np.ndarray:
        """The smallest scale [R] of waveforms [R, 1, T] seen to fool the file, at most eps [R]; inf where none did."""
        high = np.where(self.fools(rows, waveform, eps), eps, np.inf)
        low, bound = eps / 2, np.array(eps)
        for _ in range(_RAY):
            middle = (low + bound) / 2
            fooled = self.fools(rows, waveform, middle) & np.isfinite(high)
            bound, low = np.where(fooled, middle, bound), np.where(fooled, low, middle)
            high = np.where(fooled, middle, high)
        return high

    def fools(self, rows: np.ndarray, waveform: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Whether each record with its waveform times its scale, on whole ADC codes, fools the file: bool [R]."""
        codes = _codes(self.ecg[rows], waveform, scale)
        return self.judge(codes, self.labels[rows]) != self.labels[rows]


def _codes(ecg: np.ndarray, waveform: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """float32 [B, 1, T]: records with their waveforms times a scale [B], on whole ADC codes."""
    return np.rint(ecg + scale[:, None, None].astype(np.float32) * waveform)
