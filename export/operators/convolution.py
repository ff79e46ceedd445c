"""Convolutions and pools in one dimension: geometry, and the layouts in which a processor computes them fastest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edgeguard.export.operators.registry import Node
from edgeguard.models.channels_last import convolve_signal


@dataclass(frozen=True)
class Geometry:
    """Kernel, strides, dilations and pads of a convolution or a pool, an entry an axis.

    Attributes:
        pads: (before, after) an axis, as stored; None where `auto_pad` asks for the size to stay the same.
        late: with `auto_pad`, whether an odd sample of padding goes to the end.
        ceil: whether a window that overhangs the end counts.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...] | None
    groups: int = 1
    late: bool = True
    ceil: bool = False

    @classmethod
    def of(cls, node: Node, kernel: Sequence[int]) -> "Geometry":
        """The geometry that a node's attributes state.

        Raises InputError for more than two axes of time.
        """
        axes = len(kernel)
        if axes not in (1, 2):
            raise node.refused(f"it has {axes} axes, one needed")
        stated = node.attributes
        flat = stated.get("pads", [0] * (2 * axes))
        kind = stated.get("auto_pad", b"NOTSET")
        kind = kind.decode() if isinstance(kind, bytes) else kind
        pads = tuple((flat[axis], flat[axes + axis]) for axis in range(axes))
        if kind == "VALID":
            pads = ((0, 0),) * axes
        return cls(
            tuple(kernel),
            tuple(stated.get("strides", [1] * axes)),
            tuple(stated.get("dilations", [1] * axes)),
            None if kind.startswith("SAME") else pads,
            stated.get("group", 1),
            kind != "SAME_LOWER",
            bool(stated.get("ceil_mode", 0)),
        )

    def padding(self, sizes: Sequence[int]) -> list[tuple[int, int]]:
        """(before, after) an axis, for an input of these sizes, overhang of `ceil` included."""
        pads = []
        for axis, size in enumerate(sizes):
            reach, stride = (self.kernel[axis] - 1) * self.dilations[axis] + 1, self.strides[axis]
            if self.pads is None:
                total = max((-(-size // stride) - 1) * stride + reach - size, 0)
                less, more = total // 2, total - total // 2
                pads.append((less, more) if self.late else (more, less))
                continue
            before, after = self.pads[axis]
            if self.ceil:
                rest = (size + before + after - reach) % stride
                # A window that would start in the padding behind the end does not count.
                starts = -(-(size + before + after - reach) // stride) * stride
                if rest and starts < size + before:
                    after += stride - rest
            pads.append((before, after))
        return pads

    def padded(self, x: Tensor, value: float = 0.0) -> Tensor:
        """The input with its padding."""
        pads = self.padding(x.shape[2:])
        return F.pad(x, [side for pair in reversed(pads) for side in pair], value=value) if any(map(any, pads)) else x

    def highest(self, x: Tensor) -> Tensor:
        """Maximum over each window; padding never wins."""
        padded = self.padded(x, -torch.inf)
        pool = F.max_pool1d if len(self.kernel) == 1 else F.max_pool2d
        return pool(padded, self.kernel, self.strides, 0, self.dilations)

    def sums(self, x: Tensor) -> Tensor:
        """Sum over each window, one sample of the kernel after another, as ONNX Runtime adds."""
        return self._sum(self.padded(x))

    def average(self, x: Tensor, *, count_padding: bool) -> Tensor:
        """Mean over each window, its stated padding counted as zeros or left out; an overhang never counts."""
        total = self.sums(x)
        counted = torch.ones_like(x[:1, :1])
        if count_padding:
            stated = Geometry(self.kernel, self.strides, self.dilations, self.pads, self.groups, self.late)
            overhang = [
                (whole[0] - own[0], whole[1] - own[1])
                for whole, own in zip(self.padding(x.shape[2:]), stated.padding(x.shape[2:]), strict=True)
            ]
            ones = F.pad(counted, [side for pair in reversed(stated.padding(x.shape[2:])) for side in pair], value=1.0)
            counted = self._sum(F.pad(ones, [side for pair in reversed(overhang) for side in pair]))
        else:
            counted = self._sum(self.padded(counted))
        return total / counted

    def _sum(self, padded: Tensor) -> Tensor:
        total: Tensor | None = None
        sizes = [
            (size - (kernel - 1) * dilation - 1) // stride + 1
            for size, kernel, stride, dilation in zip(
                padded.shape[2:], self.kernel, self.strides, self.dilations, strict=True
            )
        ]
        for place in _places(self.kernel):
            view = padded
            for axis, offset in enumerate(place):
                first = offset * self.dilations[axis]
                last = first + (sizes[axis] - 1) * self.strides[axis] + 1
                view = view.narrow(2 + axis, first, last - first)
                view = view[(slice(None),) * (2 + axis) + (slice(None, None, self.strides[axis]),)]
            total = view if total is None else total + view
        assert total is not None
        return total


def _places(kernel: Sequence[int]) -> list[tuple[int, ...]]:
    places: list[tuple[int, ...]] = [()]
    for size in kernel:
        places = [(*place, offset) for place in places for offset in range(size)]
    return places


def convolution(weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Callable[[Tensor], Tensor]:
    """Convolution of [B, C, L] (or [B, C, H, L]) with constant weights.

    In one dimension it is computed as one over a picture of height one in channels-last order, which on a processor is
    far faster than over [B, C, L].
    """
    if len(geometry.kernel) == 2:
        return lambda x: F.conv2d(
            geometry.padded(x),
            weight.to(x.device),
            _on(bias, x),
            geometry.strides,
            0,
            geometry.dilations,
            geometry.groups,
        )
    stride, dilation = geometry.strides[0], geometry.dilations[0]
    if weight.shape[1] == 1 and geometry.groups == 1 and dilation == 1:

        def signal(x: Tensor) -> Tensor:
            return convolve_signal(geometry.padded(x), weight.to(x.device), _on(bias, x), stride=stride).transpose(1, 2)

        return signal
    kernel = weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)

    def features(x: Tensor) -> Tensor:
        picture = geometry.padded(x).unsqueeze(2).contiguous(memory_format=torch.channels_last)
        return F.conv2d(
            picture, kernel.to(x.device), _on(bias, x), (1, stride), 0, (1, dilation), geometry.groups
        ).squeeze(2)

    return features


def _on(value: Tensor | None, x: Tensor) -> Tensor | None:
    return None if value is None else value.to(x.device)
