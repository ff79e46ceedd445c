"""Which attacks an evaluation runs: the paper's, as published, the strict profile, fixed, or everything there is."""

from dataclasses import dataclass
from itertools import product

from edgeguard.attacks import catalogue
from edgeguard.attacks.losses import LEAST_CLASSES, LOSSES, check_losses
from edgeguard.ecg.record import CLASSES
from edgeguard.errors import InputError

ATTACKS = ("clean", "pgd", "sap", "cw-smooth")
REGISTRY = catalogue.REGISTRY.sharing(dict.fromkeys(ATTACKS))
"""The white-box attacks; a user's own are `edgeguard.attacks.own_white_box.WhiteBox` functions."""
PROFILES = ("paper", "strict", "full")
_STRICT_STEPS = 40
_FULL_STEPS = 100
_FULL_RESTARTS = 4


@dataclass(frozen=True)
class Attack:
    """One white-box attack, or none (`clean`); microvolts.

    Attributes:
        random_start: begin at a uniform perturbation instead of zero; SAP's is one before smoothing.
        best: keep each record's iterate of highest loss instead of the last.
        schedule: how the step shrinks from alpha on.
        restart: number of the random start, so that each draws its own.
        target: 0 for any wrong class, k for the class k places behind the true one, cyclically; smooth C&W only.
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
    schedule: str = "constant"
    restart: int = 0
    target: int = 0

    @property
    def reach(self) -> float:
        """Largest perturbation that the steps can make, microvolts."""
        steps = max(self.steps, self.smooth_steps)
        return self.eps if self.random_start else min(self.eps, steps * self.alpha)


def portfolio(
    names: tuple[str, ...] | None = None,
    *,
    profile: str = "paper",
    losses: tuple[str, ...] | None = None,
    eps: float = 10.0,
    alpha: float = 1.0,
    steps: int = 20,
    smooth_steps: int = 40,
    kernels: str = "nest25",
    mask_at: str = "loop",
    classes: int = len(CLASSES),
) -> list[Attack]:
    """The attacks of a profile; by default clean, pgd and sap, and in `full` cw-smooth too.

    `paper`: the ADT paper's settings unless told otherwise: cross-entropy, one start at zero, last iterate; each attack
    runs once with each of `losses`.
    `strict`, fixed but for eps: PGD and SAP, cross-entropy and margin, two starts (zero and random), 40 steps that
    shrink as a cosine from 2 eps on (for SAP, 40 before and 40 after smoothing), best iterate. What it is fixed to has
    a version (`edgeguard.evaluation.profiles`).
    `full`, fixed but for eps: cross-entropy, margin and DLR, five starts, 100 such steps, best iterate. SAP's first
    start is PGD's end as in the paper, its four others are random perturbations before smoothing.
    The smooth C&W attack has its own loss and one start: any wrong class, and in `full` each of them.
    An attack of a user's own is told eps, and alpha and steps of the paper's profile, else eps / 10 and the number of
    the profile's steps.

    Args:
        classes: of the model; DLR needs three, and is left out of `full` below.

    Raises InputError for an unknown attack, profile or loss, for losses named in a fixed profile, or for a value
    out of range.
    """
    if profile not in PROFILES:
        raise InputError(f"--profile {profile}: unknown; choose {', '.join(PROFILES[:-1])} or {PROFILES[-1]}")
    if names is None:
        names = ATTACKS if profile == "full" else ATTACKS[:3]
    if not names:
        raise InputError(f"--attack: names none; choose from {', '.join(ATTACKS)}")
    for name in names:
        if name not in ATTACKS:
            _check_own(name)
    for option, value in (("eps", eps), ("alpha", alpha), ("steps", steps), ("smooth-steps", smooth_steps)):
        if not 0 <= value < float("inf"):
            raise InputError(f"--{option} {value:g}: at least 0 needed")
    if losses is not None:
        _check_losses(losses, profile, classes)
    attacks = []
    for name in names:
        if name == "clean":
            attacks.append(Attack("clean"))
        elif name not in ATTACKS:
            own = {"paper": (alpha, steps), "strict": (eps / 10, _STRICT_STEPS), "full": (eps / 10, _FULL_STEPS)}
            attacks.append(Attack(name, eps, *own[profile]))
        elif profile == "strict":
            attacks += _strict(name, eps, kernels)
        elif profile == "full":
            attacks += _full(name, eps, kernels, classes)
        elif name == "cw-smooth":
            attacks.append(Attack(name, eps, alpha, steps, loss="margin", best=True))
        else:
            after = smooth_steps if name == "sap" else 0
            attacks += [
                Attack(name, eps, alpha, steps, after, loss, kernels, mask_at)
                for loss in dict.fromkeys(losses or ("ce",))
            ]
    return attacks


def _check_own(name: str) -> None:
    if not callable(REGISTRY.get(name)) or hasattr(REGISTRY.get(name), "walk"):
        raise InputError(
            f"--attack {name}: is no function; an attack by gradients is one, an attack by labels is for "
            "edgeguard attack-onnx"
        )


def _strict(name: str, eps: float, kernels: str) -> list[Attack]:
    if name == "cw-smooth":
        return [Attack(name, eps, eps / 10, _STRICT_STEPS, loss="margin", best=True)]
    after = _STRICT_STEPS if name == "sap" else 0
    return [
        Attack(name, eps, 2 * eps, _STRICT_STEPS, after, loss, kernels, "loop", start, True, "cosine")
        for loss, start in product(("ce", "margin"), (False, True))
    ]


def _full(name: str, eps: float, kernels: str, classes: int) -> list[Attack]:
    if name == "cw-smooth":
        return [
            Attack(name, eps, eps / 10, _FULL_STEPS, loss="margin", best=True, target=target)
            for target in range(classes)
        ]
    after = _FULL_STEPS if name == "sap" else 0
    losses = [loss for loss in ("ce", "margin", "dlr") if classes >= LEAST_CLASSES.get(loss, 2)]
    attacks = []
    for loss, start in product(losses, range(1 + _FULL_RESTARTS)):
        before = 0 if name == "sap" and start else _FULL_STEPS
        attacks.append(
            Attack(
                name, eps, 2 * eps, before, after, loss, kernels, "loop", start > 0, True, "cosine", max(start - 1, 0)
            )
        )
    return attacks


def _check_losses(losses: tuple[str, ...], profile: str, classes: int) -> None:
    if profile != "paper":
        own = {"strict": "ce and margin", "full": "ce, margin and dlr"}[profile]
        raise InputError(f"--loss: the {profile} profile has its own, {own}; leave it out, or use --profile paper")
    if not losses:
        raise InputError(f"--loss: names none; choose from {', '.join(LOSSES)}")
    check_losses(losses, classes=classes)
