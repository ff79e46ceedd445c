"""What a stage is fed with: its batches, epoch by epoch, all that is random in them drawn from seed, epoch and step."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import crafting
from edgeguard.defenses import distributed
from edgeguard.defenses.batch import Batch
from edgeguard.defenses.batches import Records, draw_epoch, epoch_order, steps_per_epoch
from edgeguard.defenses.config import TrainConfig
from edgeguard.defenses.distortions import Distorter
from edgeguard.errors import InputError

CRAFTING, DROPOUT = 0, 1
"""What a stream of random numbers is for."""
_SHARES = 3
"""Of NumPy's streams of an epoch; augmentation and distortions have 1 and 2."""

Teacher = Callable[[Tensor], Tensor]
"""ecg [B, 1, T] in microvolts to soft labels, probabilities float32 [B, C]."""


@dataclass(frozen=True)
class Feed:
    """What stays the same from epoch to epoch.

    Attributes:
        targets: what each record of the data set teaches, int64 [N] or probabilities float32 [N, C].
        items: int64, record indices of one epoch.
        distorter: of the augmented records; None leaves them as they are.
        teacher: labels each augmented record anew, instead of `targets`.
    """

    config: TrainConfig
    records: Records
    targets: Tensor
    items: np.ndarray
    seed: int
    distorter: Distorter | None = None
    teacher: Teacher | None = None

    @property
    def per_epoch(self) -> int:
        """Steps of one epoch."""
        return steps_per_epoch(len(self.items), self.config.batch, least=distributed.least_batch())

    @property
    def total(self) -> int:
        """Steps of the stage."""
        return self.per_epoch * self.config.stage_epochs

    def check(self) -> None:
        """InputError where a whole batch has too few records for the processes to share."""
        smallest, needed = min(self.config.batch, len(self.items)), distributed.least_batch()
        if distributed.world_size() > 1 and smallest < needed:
            raise InputError(
                f"--batch {self.config.batch}: {distributed.world_size()} processes need {needed} records in a batch, "
                f"not {smallest}; start fewer processes"
            )

    def batches(self, epoch: int) -> Iterator[tuple[Batch, torch.Generator]]:
        """This process's share of every batch of the epoch, and the draws of its crafting.

        All that is random follows seed, epoch and step: order and augmentation are drawn before the first batch.
        """
        order = list(epoch_order(self.items, self.config.batch, self.seed, epoch, least=distributed.least_batch()))
        drawn = draw_epoch(
            self.records, np.concatenate(order), augment=self.config.augment, seed=self.seed, epoch=epoch
        )
        device, window = self.records.device, self.records.window
        distortions = self.distorter.draw(len(drawn.order), seed=self.seed, epoch=epoch) if self.distorter else None
        shares = self._shares(epoch, len(drawn.order))
        draws = torch.Generator(device)
        for step, (rows, shift, gain) in enumerate(drawn.batches(self.config.batch)):
            own = distributed.share(len(rows))
            draws.manual_seed(stream(self.seed, epoch, CRAFTING, step))
            # The records before this process's have their draws too, so that a record's do not depend on the sharing.
            torch.rand(own.start * window, generator=draws, device=device)
            ecg, mask, _ = self.records.take(rows[own], shift[own], gain[own])
            first = step * self.config.batch
            part = slice(first + own.start, first + own.stop)
            if self.distorter and distortions:
                ecg, mask = self.distorter(ecg, mask, distortions.part(part))
            share = None if shares is None else shares[part].to(device, non_blocking=True)
            yield Batch(ecg, mask, self._target(ecg, rows[own]), share), draws

    def _shares(self, epoch: int, count: int) -> Tensor | None:
        """float32 [N, 1, 1], the part of eps that each record of the epoch is attacked with; None: all of it."""
        if not (self.config.crafts and self.config.eps_spread):
            return None
        draws = np.random.default_rng([self.seed, epoch, _SHARES])
        share = draws.uniform(1 - self.config.eps_spread, 1, count).astype(np.float32)
        return torch.from_numpy(share)[:, None, None]

    def _target(self, ecg: Tensor, rows: Tensor) -> Tensor:
        if self.teacher:
            return self.teacher(ecg)
        return self.targets[rows.to(self.records.device, non_blocking=True)]


def stream(*key: int) -> int:
    """Seed of the stream of random numbers that a key names."""
    return int(np.random.SeedSequence(key).generate_state(1)[0])


def labelling(teachers: Sequence[nn.Module], config: TrainConfig) -> Teacher:
    """The teachers as they are now, in eval mode: softmax(z / T), their mean, of whatever they are shown."""
    for teacher in teachers:
        teacher.eval()

    def opinion(teacher: nn.Module, ecg: Tensor) -> Tensor:
        with crafting(teacher, ecg.device.type) as forward:
            return torch.softmax(forward(ecg) / config.temperature, 1)

    @torch.no_grad()
    def label(ecg: Tensor) -> Tensor:
        return torch.stack([opinion(teacher, ecg) for teacher in teachers]).mean(0)

    return label
