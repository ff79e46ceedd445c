"""SAP's Gaussian smoothing in torch: all its kernels collapsed into one symmetric filter."""

import torch
from torch import Tensor
from torch.nn import functional as F

from edgeguard.attacks.kernels import KERNELS, SIGMAS, SIZES, gaussian, kernel_pairs, smoothing_taps

__all__ = ["KERNELS", "SIGMAS", "SIZES", "gaussian", "kernel_pairs", "smooth", "smoothing_taps", "taps_like"]


def smooth(delta: Tensor, taps: Tensor) -> Tensor:
    """[B, 1, T] filtered with symmetric odd taps [K], same length, zero outside. Its own adjoint."""
    return F.conv1d(delta, taps.view(1, 1, -1), padding=len(taps) // 2)


def taps_like(reference: Tensor, kernels: str = "nest25") -> Tensor:
    """The taps on the device and in the dtype of `reference`."""
    return torch.as_tensor(smoothing_taps(kernels), dtype=reference.dtype, device=reference.device)
