"""Which attacks an evaluation runs: the paper's, as published, the strict profile, fixed, or everything there is."""

from dataclasses import dataclass
from typing import Any

from edgeguard.attacks import catalogue
from edgeguard.attacks.losses import LOSSES, check_losses
from edgeguard.ecg.record import CLASSES
from edgeguard.errors import InputError, unknown

ATTACKS = ("clean", "pgd", "sap", "cw-smooth", "square")
"""What may be named; in the strict and full profiles `pgd` and `sap` stand for a cascade of attacks each."""
_AUTO = {"pgd": "apgd", "sap": "apgd-sap"}
_FAMILIES = {auto: family for family, auto in _AUTO.items()}
REGISTRY = catalogue.REGISTRY.sharing(dict.fromkeys(ATTACKS))
"""The attacks of an evaluation; a user's own are `edgeguard.attacks.own_white_box.WhiteBox` functions."""
_BY_PROFILE = {"paper": ATTACKS[:3], "strict": ("clean", "pgd", "sap", "square"), "full": ATTACKS}
PROFILES = tuple(_BY_PROFILE)
_OWN_STEPS = {"strict": 40, "full": 100}
SEARCH_QUERIES = 1000
"""Of Square Attack, a record, at least."""
SEARCHED = 64
"""Records that Square Attack searches at most: those nearest to a wrong class of all that still stand."""
_TARGETS, _MOST_TARGETS = 3, 9


@dataclass(frozen=True)
class Depth:
    """How long the attacks of a cascade are.

    Attributes:
        signed: steps of the first, plain descent.
        adaptive: of Auto-PGD under cross-entropy.
        targeted: of Auto-PGD towards each of the three likeliest wrong classes.
        pressed: of Auto-PGD under cross-entropy on the records that are close.
        aimed: of Auto-PGD on these towards the nine likeliest wrong classes, all together.
        restarts: random starts of each.
        queries: of Square Attack.
    """

    signed: int
    adaptive: int
    targeted: int
    pressed: int
    aimed: int
    restarts: int
    queries: int


STRICT = Depth(signed=20, adaptive=15, targeted=5, pressed=30, aimed=75, restarts=1, queries=SEARCH_QUERIES)
FULL = Depth(signed=100, adaptive=50, targeted=25, pressed=100, aimed=300, restarts=4, queries=5 * SEARCH_QUERIES)


@dataclass(frozen=True)
class Attack:
    """One white-box attack, or none (`clean`); microvolts.

    Attributes:
        random_start: begin at a uniform perturbation instead of zero; SAP's is one before smoothing.
        best: keep each record's iterate of highest loss instead of the last.
        schedule: how the step shrinks from alpha on; Auto-PGD chooses itself (`adaptive`).
        restart: number of the random start, so that each draws its own.
        target: 0 for any wrong class, k for one of them. Smooth C&W: the class k places behind the true one,
            cyclically; Auto-PGD: the k-th likeliest wrong class of the clean record.
        cascade: run only on the records that no earlier attack of the same family and gradient source has turned.
        close: of these, only on those that earlier attacks have brought at least half of the way to a wrong class.
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
    cascade: bool = False
    close: bool = False

    @property
    def family(self) -> str:
        """`pgd` for every attack by gradients on the samples, `sap` for those in SAP's space, else its own name."""
        return _FAMILIES.get(self.name, self.name)

    @property
    def gradients(self) -> int:
        """Gradients that it takes of a record; 0 where it is no attack by signed gradients."""
        return self.steps + self.smooth_steps if self.family in ("pgd", "sap") else 0

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
    `strict`, fixed but for eps: a cascade in each of two spaces, every perturbation within eps (`pgd`) and SAP's
    smoothed ones (`sap`). Each next attack runs only on the records that still stand: signed steps that shrink as a
    cosine from 2 eps on, then Auto-PGD under cross-entropy, then Auto-PGD towards wrong classes under targeted DLR
    (of two classes, under the margin), then the same for longer on the records that are close. Last Square Attack, by
    the logits alone, on up to 64 records that stand in both spaces. What it is fixed to has a version
    (`edgeguard.evaluation.profiles`).
    `full`, fixed but for eps: the same cascade, and behind it longer attacks with more restarts, the margin loss, and
    the smooth C&W attack towards each class.
    The smooth C&W attack has its own loss and one start: any wrong class, and in `full` each of them.
    An attack of a user's own is told eps, and alpha and steps of the paper's profile, else eps / 10 and 40 steps
    (`full`: 100).

    Args:
        classes: of the model; DLR needs three, and is left out of `full` below.

    Raises InputError for an unknown attack, profile or loss, for losses named in a fixed profile, or for a value
    out of range.
    """
    if profile not in PROFILES:
        raise unknown("--profile", profile, PROFILES)
    if names is None:
        names = _BY_PROFILE[profile]
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
    if profile != "paper":
        return _fixed(tuple(dict.fromkeys(names)), profile, eps, kernels, classes)
    attacks = []
    for name in names:
        if name in ("clean", "square"):
            attacks.append(_search(eps, STRICT) if name == "square" else Attack(name))
        elif name not in ATTACKS:
            attacks.append(Attack(name, eps, alpha, steps))
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


def _fixed(names: tuple[str, ...], profile: str, eps: float, kernels: str, classes: int) -> list[Attack]:
    """The attacks of `strict` or `full`, cheapest first, the black-box search last."""
    attacks = [Attack("clean")] if "clean" in names else []
    spaces = [name for name in ("pgd", "sap") if name in names]
    for depth in (STRICT,) if profile == "strict" else (STRICT, FULL):
        for stage in (_signed, _adaptive, _targeted, _pressed):
            for space in spaces:
                attacks += stage(space, eps, kernels, classes, depth)
    if "cw-smooth" in names:
        targets = range(classes) if profile == "full" else (0,)
        own: dict[str, Any] = dict(alpha=eps / 10, steps=_OWN_STEPS[profile], loss="margin", best=True)
        attacks += [Attack("cw-smooth", eps, target=target, cascade=True, **own) for target in targets]
    attacks += [Attack(name, eps, eps / 10, _OWN_STEPS[profile]) for name in names if name not in ATTACKS]
    return [*attacks, *([_search(eps, FULL if profile == "full" else STRICT)] if "square" in names else [])]


def _signed(space: str, eps: float, kernels: str, classes: int, depth: Depth) -> list[Attack]:
    losses = ("ce",) if depth is STRICT else ("ce", "margin")
    return [_by_gradient(space, eps, depth.signed, loss, kernels, schedule="cosine") for loss in losses]


def _adaptive(space: str, eps: float, kernels: str, classes: int, depth: Depth) -> list[Attack]:
    return _auto(space, eps, kernels, depth, depth.adaptive, 0, "ce", (0,))


def _targeted(space: str, eps: float, kernels: str, classes: int, depth: Depth) -> list[Attack]:
    return _auto(space, eps, kernels, depth, depth.targeted, 0, *_aims(classes, _TARGETS))


def _pressed(space: str, eps: float, kernels: str, classes: int, depth: Depth) -> list[Attack]:
    """Longer, from other starts, on the records that are close."""
    loss, targets = _aims(classes, _MOST_TARGETS)
    first, close = depth.restarts, True
    return [
        *_auto(space, eps, kernels, depth, depth.pressed, first, "ce", (0,), close=close),
        *_auto(space, eps, kernels, depth, depth.aimed // len(targets), first, loss, targets, close=close),
    ]


def _aims(classes: int, most: int) -> tuple[str, tuple[int, ...]]:
    """Loss and targets that lead towards wrong classes; of two classes the margin knows the way."""
    return ("dlr", tuple(range(1, min(classes - 1, most) + 1))) if classes > 2 else ("margin", (0,))


def _auto(
    space: str,
    eps: float,
    kernels: str,
    depth: Depth,
    steps: int,
    first: int,
    loss: str,
    targets: tuple[int, ...],
    *,
    close: bool = False,
) -> list[Attack]:
    """Auto-PGD from every random start of the depth, towards every target.

    Args:
        first: of the starts' numbers, counted from those that the shorter cascade has had.
    """
    had = 0 if depth is STRICT else 2 * STRICT.restarts
    options: dict[str, Any] = dict(random_start=True, schedule="adaptive", close=close)
    return [
        _by_gradient(_AUTO[space], eps, steps, loss, kernels, restart=restart, target=target, **options)
        for restart in range(had + first, had + first + depth.restarts)
        for target in targets
    ]


def _by_gradient(name: str, eps: float, steps: int, loss: str, kernels: str, **options: Any) -> Attack:
    smooth = _FAMILIES.get(name, name) == "sap"
    before, after = (0, steps) if smooth else (steps, 0)
    return Attack(name, eps, 2 * eps, before, after, loss, kernels, best=True, cascade=True, **options)


def _search(eps: float, depth: Depth) -> Attack:
    return Attack("square", eps, steps=depth.queries, loss="margin", random_start=True, best=True, cascade=True)


def _check_losses(losses: tuple[str, ...], profile: str, classes: int) -> None:
    if profile != "paper":
        own = {"strict": "ce and dlr", "full": "ce, margin and dlr"}[profile]
        raise InputError(f"--loss: the {profile} profile has its own, {own}; leave it out, or use --profile paper")
    if not losses:
        raise InputError(f"--loss: names none; choose from {', '.join(LOSSES)}")
    check_losses(losses, classes=classes)
