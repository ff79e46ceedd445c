"""The running average of a network's weights, which is judged and kept instead of the weights themselves.

Izmailov et al. 2018 (arXiv 1803.05407); with augmentation it also narrows the gap of adversarially trained networks
(Rebuffi et al. 2021, arXiv 2111.05328).
"""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def averaged(model: nn.Module, horizon: int) -> AveragedModel | None:
    """An exponential average of the network over about `horizon` steps, buffers included; None for no horizon.

    It begins at the weights after the first step, and forgets with a factor of 1 - 1 / horizon a step.
    """
    if horizon < 1:
        return None
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(1 - 1 / horizon), use_buffers=True)
