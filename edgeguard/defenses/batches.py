"""Training batches: seeded order, augmentation, the whole data set in memory."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from edgeguard.ecg.dataset import Dataset

SHIFT_SECONDS = 1.0
GAIN = (0.7, 1.4)


class Records:
    """Windows, masks and labels of a data set as tensors on one device, by record index."""

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.windows = torch.from_numpy(np.array(dataset.windows)).to(device)
        self.left = torch.as_tensor(dataset.left, device=device)
        self.length = torch.as_tensor(dataset.length, device=device)
        self.labels = torch.as_tensor(dataset.labels, device=device)
        self.device = device
        self._place = torch.arange(dataset.window, device=device)

    def take(self, index: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """(ecg float32 [B, 1, T] in microvolts, mask bool [B, 1, T], labels int64 [B])."""
        rows = torch.as_tensor(index, device=self.device)
        left, length = self.left[rows, None], self.length[rows, None]
        mask = (self._place >= left) & (self._place < left + length)
        return self.windows[rows].float()[:, None], mask[:, None], self.labels[rows]


def epoch_order(items: np.ndarray, batch: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The items in the order of that epoch, in batches; a last batch of one is left out (BatchNorm needs two)."""
    order = np.random.default_rng([seed, epoch]).permutation(items)
    for first in range(0, len(order), batch):
        part = order[first : first + batch]
        if len(part) > 1 or len(order) == 1:
            yield part


def steps_per_epoch(items: int, batch: int) -> int:
    """How many batches `epoch_order` yields."""
    return items // batch + (items % batch > 1 or items == 1)


def augment(ecg: Tensor, mask: Tensor, sampling_rate: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each record shifted circularly by up to a second either way, its padding with it, and scaled by 0.7 to 1.4."""
    count, _, samples = ecg.shape
    furthest = round(SHIFT_SECONDS * sampling_rate)
    shift = torch.randint(-furthest, furthest + 1, (count, 1), generator=generator).to(ecg.device)
    gain = torch.empty(count, 1, 1).uniform_(*GAIN, generator=generator).to(ecg.device)
    place = ((torch.arange(samples, device=ecg.device) - shift) % samples)[:, None]
    return ecg.gather(2, place) * gain, mask.gather(2, place)
