"""What a watch does to an ecg that a label does not change: pace, polarity, and the noise of skin and electrode."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgeguard.ecg.synthetic_noise import baseline_wander, motion, muscle

PACE = 0.06
"""Largest change of pace, of beats and waves alike, as a share."""
INVERTED = 0.2
"""Share of records turned upside down, as by a watch worn on the other wrist."""
LEVELS_UV = {"wander": 60.0, "muscle": 15.0, "motion": 60.0}
"""Largest level of each noise, microvolts, as `edgeguard.ecg.synthetic_noise` takes it."""
NOISY = 0.5
"""Share of records that each noise is added to."""

_STREAM, _BANK_SEED = 2, 2017
_BANK = 2**18


@dataclass(frozen=True)
class Distortions:
    """What is done to each record of an epoch, in its order.

    Attributes:
        pace: float32 [n], what the sampling rate is multiplied by.
        sign: float32 [n], 1 or -1.
        level: float32 [n, K], microvolts of each noise.
        begin: int64 [n, K], where in its bank each noise begins.
    """

    pace: Tensor
    sign: Tensor
    level: Tensor
    begin: Tensor

    def part(self, rows: slice) -> "Distortions":
        """Those of a few records."""
        return Distortions(self.pace[rows], self.sign[rows], self.level[rows], self.begin[rows])


class Distorter:
    """Distorts batches on one device; noise is cut from banks of a quarter of an hour, the same for every training."""

    def __init__(self, window: int, sampling_rate: float, device: torch.device) -> None:
        self.window = window
        rng, length = np.random.default_rng(_BANK_SEED), max(_BANK, 2 * window)
        banks = (
            baseline_wander(rng, length, sampling_rate, 1.0),
            muscle(rng, length, sampling_rate, 1.0),
            motion(rng, length, sampling_rate, 1.0, rate=0.5),
        )
        self._banks = torch.from_numpy(np.stack(banks).astype(np.float32)).to(device)
        self._cuts = self._banks.unfold(1, window, 1)
        self._place = torch.arange(window, dtype=torch.float32, device=device) - (window - 1) / 2
        self._around = math.ceil(PACE * window / 2) + 1

    def draw(self, count: int, *, seed: int, epoch: int) -> Distortions:
        """The distortions of so many records, on the banks' device; they follow seed and epoch alone."""
        draws = np.random.default_rng([seed, epoch, _STREAM])
        kinds = len(LEVELS_UV)
        level = draws.uniform(0, list(LEVELS_UV.values()), (count, kinds)) * (draws.random((count, kinds)) < NOISY)
        tables = (
            draws.uniform(1 - PACE, 1 + PACE, count).astype(np.float32),
            np.where(draws.random(count) < INVERTED, -1, 1).astype(np.float32),
            level.astype(np.float32),
            draws.integers(0, self._banks.shape[1] - self.window, (count, kinds), endpoint=True),
        )
        return Distortions(*(torch.from_numpy(table).to(self._banks.device) for table in tables))

    def __call__(self, ecg: Tensor, mask: Tensor, drawn: Distortions) -> tuple[Tensor, Tensor]:
        """(ecg [B, 1, T] in microvolts, mask [B, 1, T]), distorted; padding stays padding, of value zero.

        A record is resampled around its middle, linearly and round its ends, so that it stays a window long.
        """
        ecg, mask = self._resampled(ecg[:, 0], mask[:, 0], drawn.pace)
        ecg.mul_(drawn.sign[:, None])
        for kind, cuts in enumerate(self._cuts):
            ecg.addcmul_(cuts[drawn.begin[:, kind]], drawn.level[:, kind, None])
        return ecg.mul_(mask)[:, None], mask[:, None]

    def _resampled(self, ecg: Tensor, mask: Tensor, pace: Tensor) -> tuple[Tensor, Tensor]:
        # A record that goes on round its ends needs no remainder of a division, the dearest part of this otherwise.
        around = (self._around, self._around + 1)
        ecg = F.pad(ecg[:, None], around, mode="circular")[:, 0]
        place = self._place * pace[:, None] + (self._around + (self.window - 1) / 2)
        first = place.long()
        # A sample between a real one and padding has no value of its own: it becomes padding.
        if not mask.all():
            real = F.pad(mask[:, None].float(), around, mode="circular")[:, 0] > 0
            mask = (real[:, :-1] & real[:, 1:]).gather(1, first)
        return torch.lerp(ecg.gather(1, first), ecg[:, 1:].gather(1, first), place - first), mask
