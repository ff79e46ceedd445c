"""Several lengths of one SAP attack for the price of the longest.

With a constant step and no choice among the iterates, an attack of ten smooth steps is the first ten steps of one of
forty. The curves over t' of the ADT paper (Figures 3 and 4) are then one run, looked at on the way.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from edgeguard.attacks.gradient import crafting, loss_and_gradient
from edgeguard.attacks.losses import Loss, cross_entropy
from edgeguard.attacks.smoothing import smooth, taps_like


def sap_snapshots(
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    start: Tensor,
    *,
    after: Sequence[int],
    eps: float = 10.0,
    alpha: float = 1.0,
    kernels: str = "nest25",
    loss: Loss = cross_entropy,
) -> dict[int, Tensor]:
    """The perturbation [B, 1, T] after each number of smooth steps in `after`, before its smoothing.

    `smoothed_ecg` of one after t' steps is what `sap` with `smooth_steps` = t' returns, bit for bit, padding masked in
    the loop.

    Args:
        start: where PGD ended, as `pgd_path` gives it.
        after: numbers of steps (t'), in any order; the perturbation after none is `start` itself.
        Others as in `sap`; the step is constant.
    """
    taps = taps_like(ecg, kernels)

    def smoothed(perturbation: Tensor) -> Tensor:
        return smooth(perturbation * mask, taps) * mask

    delta = start.clamp(-eps, eps)
    found = {}
    with crafting(model, ecg.device.type) as forward:
        for done in range(max(after, default=-1) + 1):
            if done in after:
                found[done] = delta
            if done < max(after):
                _, gradient = loss_and_gradient(forward, ecg + smoothed(delta), labels, loss)
                delta = (delta + alpha * smoothed(gradient).sign()).clamp(-eps, eps)
    return found


def smoothed_ecg(ecg: Tensor, delta: Tensor, mask: Tensor, kernels: str = "nest25") -> Tensor:
    """The adversarial ecg [B, 1, T] that SAP makes of a perturbation."""
    return ecg + smooth(delta * mask, taps_like(ecg, kernels)) * mask
