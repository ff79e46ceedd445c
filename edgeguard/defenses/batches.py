"""Training batches: seeded order, augmentation, the whole data set in memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeguard.ecg.dataset import Dataset

SHIFT_SECONDS = 1.0
GAIN = (0.7, 1.4)

_AUGMENTATION = 1
_SHARE_OF_MEMORY = 0.5


class Records:
    """Windows, masks and labels of a data set, by record index, for training on one device.

    They lie on the device where they fill at most half of its free memory, else on the host, from where each batch is
    copied while the device works.

    Attributes:
        device: where batches are wanted.
        home: where the records lie; an index on it makes no step wait.
    """

    def __init__(self, dataset: Dataset, device: torch.device) -> None:
        self.device = device
        self.window = dataset.window
        self.furthest = round(SHIFT_SECONDS * dataset.sampling_rate)
        self._width = self.window + 2 * self.furthest
        self.home = _home(len(dataset) * self._width * dataset.windows.itemsize, device)
        self._slices = self._turnable(dataset.windows)
        self._outside_gaps = self._turnable(_outside_gaps(dataset)) if len(dataset.gaps) else None
        self._left = torch.as_tensor(dataset.left, device=self.home)
        self._length = torch.as_tensor(dataset.length, device=self.home)
        self._place = torch.arange(self.window, dtype=torch.int32, device=device)
        self.labels = torch.as_tensor(dataset.labels, device=device)

    def take(
        self, index: np.ndarray | Tensor, shift: Tensor | None = None, gain: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(ecg float32 [B, 1, T] in microvolts, mask bool [B, 1, T], labels int64 [B]), on the device.

        Args:
            index: int64 [B].
            shift: int64 [B], samples that each record is turned by, its padding with it, at most a second either way.
            gain: float32 [B], what each record is multiplied by.
        """
        rows = torch.as_tensor(index, device=self.home)
        turn = torch.zeros_like(rows) if shift is None else shift
        slices = rows * self._width + self.furthest - turn
        ecg = self._moved(self._slices[slices]).float()
        if gain is not None:
            ecg.mul_(self._moved(gain)[:, None])
        first = (self._left[rows] + turn) % self.window
        bounds = torch.stack([first, first + self._length[rows]]).to(torch.int32)
        valid = self._valid(self._moved(bounds))
        if self._outside_gaps is not None:
            valid &= self._moved(self._outside_gaps[slices])
        return ecg[:, None], valid[:, None], self.labels[self._moved(rows)]

    def _turnable(self, table: np.ndarray) -> Tensor:
        """[N * width - T + 1, T]: slices of [N, T] whose rows go on round their ends; a turned row is one of them."""
        around = np.pad(table, ((0, 0), (self.furthest, self.furthest)), mode="wrap")
        return torch.from_numpy(around).to(self.home).view(-1).unfold(0, self.window, 1)

    def _valid(self, bounds: Tensor) -> Tensor:
        """bool [B, T]: the samples from first to last [2, B], which may lie beyond the end, at the beginning then."""
        first, last = bounds[..., None]
        return ((self._place >= first) & (self._place < last)) | (self._place < last - self.window)

    def _moved(self, values: Tensor) -> Tensor:
        if self.home == self.device:
            return values
        return values.pin_memory().to(self.device, non_blocking=True)


@dataclass(frozen=True)
class Epoch:
    """What one pass over the items takes, and how each is augmented: drawn before it, on the records' home.

    Attributes:
        order: int64 [n], record indices.
        shift: int64 [n], samples.
        gain: float32 [n].
    """

    order: Tensor
    shift: Tensor
    gain: Tensor

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(order, shift, gain) of each batch in turn."""
        return zip(self.order.split(size), self.shift.split(size), self.gain.split(size), strict=True)


def draw_epoch(records: Records, order: np.ndarray, *, augment: bool, seed: int, epoch: int) -> Epoch:
    """Shifts of up to a second either way and gains of 0.7 to 1.4 for the items in that order, or none."""
    count = len(order)
    shift, gain = np.zeros(count, np.int64), np.ones(count, np.float32)
    if augment:
        draws = np.random.default_rng([seed, epoch, _AUGMENTATION])
        shift = draws.integers(-records.furthest, records.furthest, count, endpoint=True)
        gain = draws.uniform(*GAIN, count).astype(np.float32)
    return Epoch(*(torch.from_numpy(table).to(records.home) for table in (order, shift, gain)))


def epoch_order(items: np.ndarray, batch: int, seed: int, epoch: int, *, least: int = 2) -> Iterator[np.ndarray]:
    """The items in the order of that epoch, in batches; a last batch of fewer than `least` is left out.

    BatchNorm needs two records, and every process of a distributed training one; the only batch is never left out.
    """
    order = np.random.default_rng([seed, epoch]).permutation(items)
    for number in range(steps_per_epoch(len(items), batch, least=least)):
        yield order[number * batch : (number + 1) * batch]


def steps_per_epoch(items: int, batch: int, *, least: int = 2) -> int:
    """How many batches `epoch_order` yields."""
    return items // batch + (items % batch >= least or items == 1)


def _outside_gaps(dataset: Dataset) -> np.ndarray:
    """bool [N, T]: False where a sample is missing."""
    outside = np.ones(dataset.windows.shape, bool)
    for record, start, end in dataset.gaps:
        outside[record, start:end] = False
    return outside


def _home(size: int, device: torch.device) -> torch.device:
    """The device where it has room for `size` bytes, else the host."""
    if device.type == "cuda" and size > _SHARE_OF_MEMORY * torch.cuda.mem_get_info(device)[0]:
        return torch.device("cpu")
    return device
