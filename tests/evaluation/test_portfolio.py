import math
from itertools import product

import pytest
import torch

from edgeguard.errors import InputError
from edgeguard.evaluation.portfolio import Attack, portfolio


def test_the_paper_profile_is_as_published():
    assert portfolio(("clean", "pgd", "sap")) == [
        Attack("clean"),
        Attack("pgd", eps=10, alpha=1, steps=20, smooth_steps=0, loss="ce"),
        Attack("sap", eps=10, alpha=1, steps=20, smooth_steps=40, loss="ce"),
    ]
    assert all(not a.random_start and not a.best and a.mask_at == "loop" for a in portfolio(("pgd", "sap")))


def test_the_paper_profile_takes_other_values():
    (attack,) = portfolio(("sap",), eps=5, alpha=2, steps=7, smooth_steps=3, kernels="zip5", mask_at="end")
    assert attack == Attack("sap", 5, 2, 7, 3, kernels="zip5", mask_at="end")


def test_the_paper_profile_runs_each_attack_with_each_loss():
    attacks = portfolio(("clean", "pgd", "sap"), losses=("ce", "rescaled", "ce"))
    assert [(a.name, a.loss) for a in attacks] == [
        ("clean", "ce"),
        *product(("pgd", "sap"), ("ce", "rescaled")),
    ]
    assert attacks[4] == Attack("sap", eps=10, alpha=1, steps=20, smooth_steps=40, loss="rescaled")


def test_the_strict_profile_is_fixed():
    """PGD and SAP, CE and margin, two starts, 40 steps that shrink from 2 eps on, best iterate, inner mask."""
    attacks = portfolio(("clean", "pgd", "sap"), profile="strict", alpha=9, steps=1, smooth_steps=1, mask_at="end")
    assert attacks[0] == Attack("clean")
    assert len(set(attacks[1:])) == len(attacks[1:]) == 8
    assert {(a.name, a.loss, a.random_start) for a in attacks[1:]} == set(
        product(("pgd", "sap"), ("ce", "margin"), (False, True))
    )
    for attack in attacks[1:]:
        assert (attack.eps, attack.alpha, attack.steps, attack.best, attack.schedule) == (10, 20, 40, True, "cosine")
        assert attack.smooth_steps == (40 if attack.name == "sap" else 0)
        assert attack.mask_at == "loop" and attack.reach == attack.eps
    assert {a.alpha for a in portfolio(("pgd",), profile="strict", eps=25)} == {50}


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 9])
def test_the_full_profile_is_for_any_number_of_classes(classes: int):
    """Smooth C&W for any wrong class and for each of them, and DLR where there are three logits to rank."""
    attacks = portfolio(profile="full", classes=classes)
    assert [a.target for a in attacks if a.name == "cw-smooth"] == list(range(classes))
    assert {a.loss for a in attacks if a.name == "pgd"} == {"ce", "margin", *(["dlr"] if classes > 2 else [])}
    labels = torch.arange(classes)
    targets = {tuple(((labels + a.target) % classes).tolist()) for a in attacks if a.target}
    assert len(targets) == classes - 1 and all(label != wrong[label] for wrong in targets for label in labels.tolist())


def test_a_loss_that_needs_more_classes_is_refused():
    with pytest.raises(InputError, match="--loss dlr: needs 3 classes, the model has 2; take margin"):
        portfolio(("pgd",), losses=("ce", "dlr"), classes=2)
    assert len(portfolio(("pgd",), losses=("ce", "dlr"), classes=3)) == 2


def test_the_full_profile_is_fixed():
    """Three losses, five starts of their own, 100 steps that shrink, best iterate; smooth C&W to each class."""
    attacks = portfolio(profile="full", eps=25, alpha=9, steps=1, smooth_steps=1, mask_at="end")
    assert attacks[0] == Attack("clean") and len(set(attacks)) == len(attacks) == 1 + 2 * 15 + 4
    signed = [a for a in attacks if a.name in ("pgd", "sap")]
    assert {(a.name, a.loss, a.random_start, a.restart) for a in signed} == set(
        product(("pgd", "sap"), ("ce", "margin", "dlr"), (True,), range(4))
    ) | set(product(("pgd", "sap"), ("ce", "margin", "dlr"), (False,), (0,)))
    for attack in signed:
        assert (attack.eps, attack.best, attack.mask_at, attack.schedule) == (25, True, "loop", "cosine")
        assert attack.smooth_steps == (100 if attack.name == "sap" else 0)
        assert attack.steps == (0 if attack.name == "sap" and attack.random_start else 100)
        assert attack.reach == 25
    assert [a.target for a in attacks if a.name == "cw-smooth"] == [0, 1, 2, 3]


def test_smooth_cw_runs_once_where_it_is_named():
    assert [a.name for a in portfolio()] == [a.name for a in portfolio(profile="strict") if not a.best] + ["pgd", "sap"]
    assert portfolio(("cw-smooth",), losses=("ce", "dlr"), alpha=3, steps=7) == [
        Attack("cw-smooth", 10, 3, 7, loss="margin", best=True)
    ]
    (strict,) = portfolio(("cw-smooth",), profile="strict", eps=20, alpha=9)
    assert (strict.alpha, strict.steps, strict.target, strict.loss) == (2, 40, 0, "margin")


def test_how_far_the_steps_reach():
    assert Attack("pgd", eps=25, alpha=1, steps=20).reach == 20
    assert Attack("pgd", eps=5, alpha=1, steps=20).reach == 5
    assert Attack("sap", eps=25, alpha=1, steps=10, smooth_steps=40).reach == 25
    assert Attack("pgd", eps=25, alpha=1, steps=2, random_start=True).reach == 25
    assert Attack("clean").reach == 0


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (("clean", "fgsm"), {}, "--attack fgsm: unknown; choose from clean, pgd, sap, cw-smooth"),
        ((), {}, "--attack: names none; choose from clean, pgd, sap, cw-smooth"),
        (("pgd",), {"profile": "lax"}, "--profile lax: unknown; choose paper, strict or full"),
        (("pgd",), {"eps": -1.0}, "--eps -1: at least 0 needed"),
        (("pgd",), {"eps": math.nan}, "--eps nan: at least 0 needed"),
        (("pgd",), {"eps": math.inf}, "--eps inf: at least 0 needed"),
        (("pgd",), {"alpha": -1.0}, "--alpha -1: at least 0 needed"),
        (("pgd",), {"steps": -1}, "--steps -1: at least 0 needed"),
        (("pgd",), {"losses": ("ce", "cw")}, "--loss cw: unknown; choose from ce, margin, dlr, rescaled"),
        (("pgd",), {"losses": ()}, "--loss: names none; choose from ce, margin, dlr, rescaled"),
        (
            ("pgd",),
            {"losses": ("ce",), "profile": "strict"},
            "--loss: the strict profile has its own, ce and margin; leave it out, or use --profile paper",
        ),
        (
            ("pgd",),
            {"losses": ("ce",), "profile": "full"},
            "--loss: the full profile has its own, ce, margin and dlr; leave it out, or use --profile paper",
        ),
        (("sap",), {"smooth_steps": -2}, "--smooth-steps -2: at least 0 needed"),
    ],
)
def test_what_is_no_attack_is_refused(names: tuple[str, ...], options: dict, message: str):
    with pytest.raises(InputError) as caught:
        portfolio(names, **options)
    assert str(caught.value) == message
