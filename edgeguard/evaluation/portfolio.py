"""Which attacks an evaluation runs: the paper's, as published, or the strict profile, fixed."""

from dataclasses import dataclass

from edgeguard.attacks.losses import LOSSES
from edgeguard.errors import InputError

ATTACKS = ("clean", "pgd", "sap")
PROFILES = ("paper", "strict")
_STRICT_STEPS = 40


@dataclass(frozen=True)
class Attack:
    """One white-box attack, or none (`clean`); microvolts.

    Attributes:
        random_start: begin at a uniform perturbation instead of zero.
        best: keep each record's iterate of highest loss instead of the last.
    """

    name: str
    eps: float = 0.0
    alpha: float = 0.0
    steps: int = 0
    smooth_steps: int = 0
    loss: str = "ce"
    kernels: str = "nest25"
    mask_at: str = "loop"
    random_start: bool = False
    best: bool = False

    @property
    def reach(self) -> float:
        """Largest perturbation that the steps can make, microvolts."""
        steps = max(self.steps, self.smooth_steps)
        return self.eps if self.random_start else min(self.eps, steps * self.alpha)


def portfolio(
    names: tuple[str, ...],
    *,
    profile: str = "paper",
    losses: tuple[str, ...] | None = None,
    eps: float = 10.0,
    alpha: float = 1.0,
    steps: int = 20,
    smooth_steps: int = 40,
    kernels: str = "nest25",
    mask_at: str = "loop",
) -> list[Attack]:
    """The attacks of a profile.

    `paper`: the ADT paper's settings unless told otherwise: cross-entropy, one start at zero, last iterate; each attack
    runs once with each of `losses`.
    `strict`, fixed but for eps: PGD and SAP, cross-entropy and margin, two starts (zero and random), 40 steps of
    2.5 eps / 40 (for SAP, 40 before and 40 after smoothing), best iterate.

    Raises InputError for an unknown attack, profile or loss, for losses named in the strict profile, or for a value
    out of range.
    """
    if not names:
        raise InputError(f"--attack: names none; choose from {', '.join(ATTACKS)}")
    for name in names:
        if name not in ATTACKS:
            raise InputError(f"--attack {name}: unknown; choose from {', '.join(ATTACKS)}")
    if profile not in PROFILES:
        raise InputError(f"--profile {profile}: unknown; choose {' or '.join(PROFILES)}")
    for option, value in (("eps", eps), ("alpha", alpha), ("steps", steps), ("smooth-steps", smooth_steps)):
        if not 0 <= value < float("inf"):
            raise InputError(f"--{option} {value:g}: at least 0 needed")
    if losses is not None:
        _check_losses(losses, profile)
    attacks = []
    for name in names:
        if name == "clean":
            attacks.append(Attack("clean"))
        elif profile == "paper":
            after = smooth_steps if name == "sap" else 0
            attacks += [
                Attack(name, eps, alpha, steps, after, loss, kernels, mask_at)
                for loss in dict.fromkeys(losses or ("ce",))
            ]
        else:
            after = _STRICT_STEPS if name == "sap" else 0
            attacks += [
                Attack(
                    name,
                    eps,
                    2.5 * eps / _STRICT_STEPS,
                    _STRICT_STEPS,
                    after,
                    loss,
                    kernels,
                    "loop",
                    start,
                    True,
                )
                for loss in ("ce", "margin")
                for start in (False, True)
            ]
    return attacks


def _check_losses(losses: tuple[str, ...], profile: str) -> None:
    if profile == "strict":
        raise InputError("--loss: the strict profile has its own, ce and margin; leave it out, or use --profile paper")
    if not losses:
        raise InputError(f"--loss: names none; choose from {', '.join(LOSSES)}")
    for loss in losses:
        if loss not in LOSSES:
            raise InputError(f"--loss {loss}: unknown; choose from {', '.join(LOSSES)}")
