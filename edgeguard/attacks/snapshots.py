"""Several lengths of one SAP attack for the price of the longest.

With a constant step and no choice among the iterates, an attack of ten smooth steps is the first ten steps of one of
forty. The curves over t' of the ADT paper (Figures 3 and 4) are then one run, looked at on the way.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from edgeguard.attacks.gradient import crafting, loss_and_gradient, pgd_path
from edgeguard.attacks.losses import Loss, cross_entropy
from edgeguard.attacks.smoothing import smooth, taps_like


def sap_snapshots(
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    after: Sequence[int],
    eps: float = 10.0,
    alpha: float = 1.0,
    steps: int = 20,
    kernels: str = "nest25",
    loss: Loss = cross_entropy,
) -> tuple[Tensor, dict[int, Tensor]]:
    """What `pgd` of `steps` returns, and for each t' in `after` what `sap` of as many smooth steps returns.

    Bit for bit, but for t' = 0: here it is the end of PGD smoothed once, as Han et al.'s code has it, where `sap` takes
    the ADT paper's word that no step after smoothing is PGD.

    Args:
        after: numbers of steps on the smoothed perturbation, in any order.
        Others as in `sap`; the start is at zero, the step constant, padding masked inside every step.

    Returns:
        (PGD's ecg, t' -> ecg), each [B, 1, T].
    """
    _, delta = pgd_path(model, ecg, labels, mask, eps=eps, alpha=alpha, steps=steps, loss=loss, start=None, best=False)
    plain = (ecg + delta * mask).detach()
    taps = taps_like(ecg, kernels)

    def smoothed(perturbation: Tensor) -> Tensor:
        return smooth(perturbation * mask, taps) * mask

    found = {}
    with crafting(model, ecg.device.type) as forward:
        for done in range(max(after, default=-1) + 1):
            if done in after:
                found[done] = (ecg + smoothed(delta)).detach()
            if done < max(after):
                _, gradient = loss_and_gradient(forward, ecg + smoothed(delta), labels, loss)
                delta = (delta + alpha * smoothed(gradient).sign()).clamp(-eps, eps)
    return plain, found
