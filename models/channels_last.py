"""Layers on features [B, time, channels], the layout in which a processor computes small convolutions fastest.

The same numbers as the layers on [B, channels, time] but for rounding. There convolutions and skips reorder memory,
which costs a small network more than its arithmetic.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, dilation: int = 1) -> Tensor:
    """[B, L, C] to [B, L', C'] with a weight [C', C, kernel], without padding."""
    if weight.shape[2] == 1:
        return F.linear(x[:, ::stride], weight[:, :, 0], bias)
    # [B, time, channels] is the channels-last layout of a picture of height one.
    kernel = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)
    return _features(F.conv2d(_picture(x), kernel, bias, (1, stride), 0, (1, dilation)))


def normalize(x: Tensor, norm: nn.BatchNorm1d) -> Tensor:
    """[B, L, C] as `norm` in train mode has it, its running statistics moved on."""
    assert norm.running_mean is not None and norm.running_var is not None
    assert norm.num_batches_tracked is not None and norm.momentum is not None
    norm.num_batches_tracked.add_(1)
    # On a picture: in three dimensions batch_norm would reorder it to [B, channels, time] first.
    return _features(
        F.batch_norm(
            _picture(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, True, norm.momentum, norm.eps
        )
    )


def convolve_signal(signal: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1) -> Tensor:
    """[B, 1, T] to [B, L', C'] with a weight [C', 1, kernel], without padding.

    A strided convolution of one channel is a convolution without stride of its phases, `stride` channels that are the
    signal itself seen as frames [B, T / stride, stride] (polyphase form, Vaidyanathan 1990); the gradient by the
    signal above all is far faster.
    """
    kernel, samples = weight.shape[2], signal.shape[2]
    taps = -(-kernel // stride)
    phases = F.pad(weight, (0, taps * stride - kernel)).view(-1, taps, stride).transpose(1, 2)
    frames = (samples - kernel) // stride + taps
    return convolve(F.pad(signal, (0, frames * stride - samples)).view(-1, frames, stride), phases, bias)


def _picture(x: Tensor) -> Tensor:
    return x.transpose(1, 2).unsqueeze(2)


def _features(picture: Tensor) -> Tensor:
    return picture.squeeze(2).transpose(1, 2)
