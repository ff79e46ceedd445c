"""White-box attacks of a user's own: a function in a module of theirs."""

from typing import Protocol

import torch
from torch import Tensor, nn

from edgeguard.attacks.gradient import eval_mode
from edgeguard.errors import InputError
from edgeguard.runtime.registry import reported


class WhiteBox(Protocol):
    """A white-box attack: records, and the network that it may differentiate, to adversarial records."""

    def __call__(
        self,
        model: nn.Module,
        ecg: Tensor,
        labels: Tensor,
        mask: Tensor,
        *,
        eps: float,
        alpha: float,
        steps: int,
        draws: torch.Generator,
    ) -> Tensor:
        """Adversarial ecg [B, 1, T]; what goes beyond eps or changes padding is cut back.

        Args:
            model: from ecg [B, 1, T] in microvolts to logits [B, C], in evaluation mode.
            ecg: float32 [B, 1, T], microvolts.
            labels: int64 [B], true classes.
            mask: bool [B, 1, T], False on padding.
            eps, alpha: largest perturbation and step, microvolts.
            steps: how many steps are asked for.
            draws: of random starts.
        """
        ...


def own_white_box(
    attack: WhiteBox,
    named: str,
    model: nn.Module,
    ecg: Tensor,
    labels: Tensor,
    mask: Tensor,
    *,
    eps: float,
    alpha: float,
    steps: int,
    seed: int,
) -> Tensor:
    """Adversarial ecg [B, 1, T] by a user's own attack, within eps of the records and unchanged on padding.

    Args:
        named: what the user typed, for messages.

    Raises InputError for whatever the attack raises, and where it returns no finite records of their shape.
    """
    whose = f"--attack {named}"
    draws = torch.Generator(ecg.device).manual_seed(seed)
    with reported(whose), eval_mode(model):
        made = attack(model, ecg.clone(), labels, mask, eps=eps, alpha=alpha, steps=steps, draws=draws)
    if not isinstance(made, Tensor) or made.shape != ecg.shape:
        found = f"a tensor {list(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise InputError(f"{whose}: returned {found}; return the records' tensor {list(ecg.shape)}, attacked")
    change = made.detach().to(ecg) - ecg
    if not change.isfinite().all():
        raise InputError(f"{whose}: returned records that are not finite; mend its code")
    return ecg + change.clamp(-eps, eps) * mask
