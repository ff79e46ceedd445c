"""One training on several processes, started by torchrun, that takes the same steps as one process alone.

Every process holds the whole network and takes its share of the records of each batch. Losses and batch statistics are
those of the whole batch, on every process, by `summed`; each process differentiates the part that its own records have
in them, and DistributedDataParallel averages the gradients. `summed` adds up what comes back to it from all processes,
so that every process holds its part times their number, and the average is the gradient of the one loss, however
uneven the shares.

Without torchrun's environment variables there is one process, and nothing here does anything.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")

# The others wait while the first process evaluates.
_PATIENCE = timedelta(hours=2)


def world_size() -> int:
    """How many processes train together; 1 outside of `processes`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def is_main() -> bool:
    """Whether this is the process that evaluates, prints and writes files."""
    return rank() == 0


def local_device(kind: str) -> torch.device:
    """`cpu`, or for `cuda` the device of this process: torchrun numbers those of a host from 0."""
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if kind == "cuda" else torch.device(kind)


@contextmanager
def processes(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, NCCL on CUDA and Gloo elsewhere; without torchrun, nothing."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or world_size() > 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def from_main(compute: Callable[[], T]) -> T:
    """What `compute` returns, or raises, on the first process, on every process; the others do not call it.

    The result travels pickled.
    """
    if world_size() == 1:
        return compute()
    message: list[Any] = [None, None]
    if is_main():
        try:
            message[0] = compute()
        except Exception as error:
            message[1] = error
    dist.broadcast_object_list(message)
    result, failure = message
    if failure is not None:
        raise failure
    return result


def share(count: int) -> slice:
    """The rows of a batch of `count` that are this process's.

    An even number of rows lies before them, so that what alternates between the records of a batch does so in a share.
    """
    pairs, size = -(-count // 2), world_size()
    first, last = (2 * (pairs * number // size) for number in (rank(), rank() + 1))
    return slice(first, min(last, count))


def least_batch() -> int:
    """The smallest batch in which every process has a share, and BatchNorm the two records that it needs."""
    return max(2, 2 * world_size() - 1)


def summed(value: Tensor) -> Tensor:
    """The sum over all processes, the same on each, differentiable; the value itself where there is one process."""
    return value if world_size() == 1 else _AllReduce.apply(value)


def mean(values: Tensor) -> Tensor:
    """The mean of the whole batch's values, a scalar, from those of this process's records [b]."""
    if world_size() == 1:
        return values.mean()
    total, count = summed(torch.stack([values.sum(), values.new_tensor(values.numel())])).unbind()
    return total / count


def synchronised(model: nn.Module, device: torch.device) -> nn.Module:
    """The network with the whole batch's statistics in every BatchNorm; same names in its state, in place.

    Torch's own synchronised BatchNorm knows CUDA only.
    """
    if world_size() == 1:
        return model
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    if isinstance(model, _BatchNorm):
        return WholeBatchNorm.like(model)
    for name, child in model.named_children():
        setattr(model, name, synchronised(child, device))
    return model


def replicated(step: nn.Module) -> nn.Module:
    """`step`, a module from a share of a batch to the loss, whose gradients become those of all processes."""
    if world_size() == 1:
        return step
    # Statistics are already the same everywhere; broadcasting them would only cost.
    return DistributedDataParallel(step, broadcast_buffers=False)


class WholeBatchNorm(_BatchNorm):
    """BatchNorm over the records of all processes (Ioffe & Szegedy 2015), for [b, C, ...] on any device."""

    @classmethod
    def like(cls, norm: _BatchNorm) -> "WholeBatchNorm":
        """With the settings, parameters and statistics of `norm` themselves, not copies."""
        new = cls(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
        new._parameters, new._buffers, new.training = norm._parameters, norm._buffers, norm.training
        return new

    def _check_input_dim(self, input: Tensor) -> None:
        pass

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        # Also under autocast in float32, as torch's own.
        x = input.to(torch.promote_types(input.dtype, torch.float32))
        axes = [axis for axis in range(x.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(x.dim())]
        channels = x.shape[1]
        sums = torch.cat([x.sum(axes), x.new_tensor([x.numel() / channels])])
        total, count = summed(sums).split([channels, 1])
        average = total / count
        centred = x - average.view(shape)
        variance = summed(centred.square().sum(axes)) / count
        if self.track_running_stats:
            self._remember(average, variance * count / (count - 1))
        y = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)

    @torch.no_grad()
    def _remember(self, average: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        momentum = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
        self.running_mean.lerp_(average, momentum)
        self.running_var.lerp_(variance, momentum)


class _AllReduce(torch.autograd.Function):
    """Sum over processes; what comes back is summed over processes too."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        total = value.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total
