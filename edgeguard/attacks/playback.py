"""A perturbation played into a stream, and what a model that scores windows of the stream makes of it.

Whoever plays it does not know where the watch's windows begin. The loss is then its mean over windows drawn at
random: expectation over transformations (Athalye et al. 2018, arXiv 1707.07397), the transformation being the shift.
`edgeguard.attacks.gradient.sap` and `pgd` take a `Playback` for the network and zeros for the ecg.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from edgeguard.attacks.losses import Loss

Starts = Callable[[], Tensor]
"""int64 [B, K]: the first sample of each of K windows in each of B streams, anew at every call."""


class Playback(nn.Module):
    """Perturbation [B, 1, P] in microvolts to logits [B, K, C] of K windows of each stream."""

    def __init__(
        self, network: nn.Module, ecg: Tensor, starts: Starts, *, window: int, path: nn.Module | None = None
    ) -> None:
        """
        Args:
            network: float32 [B, 1, window] microvolts to logits [B, C].
            ecg: float32 [B, 1, n] microvolts, what the perturbation is added to; one shorter than that is repeated.
            starts: of the windows, in samples of what leaves the path.
            path: microvolts [B, 1, n] to microvolts [B, 1, m] at the model's rate; None: nothing lies between.
        """
        super().__init__()
        self.network = network
        self.path = nn.Identity() if path is None else path
        self._ecg = ecg
        self._starts = starts
        self._within = torch.arange(window, device=ecg.device)

    def forward(self, perturbation: Tensor) -> Tensor:
        """Logits [B, K, C] of the windows that `starts` names this time."""
        stream: Tensor = self.path(self._ecg + repeated(perturbation, self._ecg.shape[-1]))
        starts = self._starts()
        samples = (starts[..., None] + self._within).flatten(1)
        windows = stream[:, 0].gather(1, samples).view(-1, 1, len(self._within))
        logits: Tensor = self.network(windows)
        return logits.view(*starts.shape, -1)


def repeated(perturbation: Tensor, count: int) -> Tensor:
    """[B, 1, count]: a perturbation [B, 1, P] played over and over."""
    return perturbation.repeat(1, 1, -(-count // perturbation.shape[-1]))[..., :count]


def mean_over_windows(loss: Loss) -> Loss:
    """The mean [B] of a loss over K windows, from logits [B, K, C] and labels [B] or [B, C]."""

    def mean(logits: Tensor, labels: Tensor) -> Tensor:
        windows = logits.shape[1]
        return loss(logits.flatten(0, 1), labels.repeat_interleave(windows, 0)).view(-1, windows).mean(1)

    return mean


def known_windows(streams: int, samples: int, window: int, *, lag: int = 0) -> Starts:
    """The same windows always: one after another from sample `lag` on, the last one flush with the end of `samples`."""
    last = samples - window
    first = [min(lag + k * window, last) for k in range(-(-samples // window))]
    starts = torch.tensor(first).expand(streams, -1)
    return lambda: starts


def any_windows(seeds: Sequence[Sequence[int]], samples: int, window: int, draws: int) -> Starts:
    """`draws` windows at random, one in each equal share of all places where a window of `samples` may begin.

    Args:
        seeds: of each stream, so that it does not matter which streams are attacked together.
    """
    generators = [np.random.default_rng(seed) for seed in seeds]

    def draw() -> Tensor:
        places = np.stack([generator.random(draws) for generator in generators]) + np.arange(draws)
        return torch.from_numpy((places / draws * (samples - window + 1)).astype(np.int64))

    return draw
