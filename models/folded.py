"""A convolution and the BatchNorm after it as one constant convolution, on features [B, time, channels].

For a network whose weights stand still while its input is searched, as in an attack: normalisation costs nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from edgeguard.models.channels_last import convolve, convolve_signal

Transform = Callable[[Tensor], Tensor]


def fold(conv: nn.Conv1d, norm: nn.BatchNorm1d) -> Transform:
    """`norm(conv(x))` in eval mode, the weights as they are now: [B, L, C] to [B, L', C'].

    Raises ValueError for a convolution with padding, groups or a bias of its own.
    """
    weight, bias = _folded(conv, norm)
    options = {"stride": conv.stride[0], "dilation": conv.dilation[0]}
    return lambda x: convolve(x, weight, bias, **options)


def fold_stem(conv: nn.Conv1d, norm: nn.BatchNorm1d, *, gain: float) -> Transform:
    """`norm(conv(gain * signal))` in eval mode, the weights as they are now: [B, 1, T] to [B, L', C'].

    Raises ValueError for a convolution with padding, groups, dilation, several channels or a bias of its own.
    """
    if conv.dilation != (1,) or conv.in_channels != 1:
        raise ValueError("only a convolution of one channel, without dilation, has a polyphase form")
    weight, bias = _folded(conv, norm)
    return lambda signal: convolve_signal(signal, weight * gain, bias, stride=conv.stride[0])


def _folded(conv: nn.Conv1d, norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Weight [C', C, kernel] and bias [C'] of both, copies without gradients."""
    if conv.padding != (0,) or conv.groups != 1 or conv.bias is not None:
        raise ValueError("only convolutions without padding, groups and bias are folded")
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        weight = conv.weight * scale[:, None, None]
        # In the order in which it is used, once and for all.
        return weight.transpose(1, 2).contiguous().transpose(1, 2), norm.bias - norm.running_mean * scale
