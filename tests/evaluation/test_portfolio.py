import math
from dataclasses import replace
from itertools import product

import pytest
import torch

from edgeguard.errors import InputError
from edgeguard.evaluation.portfolio import SEARCH_QUERIES, Attack, portfolio


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


def test_the_strict_profile_is_a_fixed_cascade():
    """Cheapest first: signed steps, Auto-PGD, Auto-PGD to each wrong class, each in both spaces; a search last."""
    clean, *attacks, search = portfolio(profile="strict", eps=25, alpha=9, steps=1, smooth_steps=1, mask_at="end")
    assert clean == Attack("clean")
    assert search == Attack(
        "square", 25, steps=SEARCH_QUERIES, loss="margin", random_start=True, best=True, cascade=True
    )
    assert SEARCH_QUERIES >= 1000
    aimed = {space: [(space, "dlr", target, "adaptive") for target in (1, 2, 3)] for space in ("apgd", "apgd-sap")}
    assert [(a.name, a.loss, a.target, a.schedule) for a in attacks] == [
        ("pgd", "ce", 0, "cosine"),
        ("sap", "ce", 0, "cosine"),
        ("apgd", "ce", 0, "adaptive"),
        ("apgd-sap", "ce", 0, "adaptive"),
        *aimed["apgd"],
        *aimed["apgd-sap"],
        ("apgd", "ce", 0, "adaptive"),
        *aimed["apgd"],
        ("apgd-sap", "ce", 0, "adaptive"),
        *aimed["apgd-sap"],
    ]
    assert [attack.close for attack in attacks] == [False] * 10 + [True] * 8
    assert all(attack.random_start == (attack.schedule == "adaptive") for attack in attacks)
    assert len(set(attacks)) == len(attacks)
    for attack in attacks:
        assert (attack.eps, attack.alpha, attack.best, attack.mask_at, attack.cascade) == (25, 50, True, "loop", True)
        assert (attack.steps == 0) == (attack.family == "sap") and attack.gradients > 0 and attack.reach == 25
    other = portfolio(profile="strict", eps=10)
    assert [replace(attack, eps=0, alpha=0) for attack in other[1:]] == [
        replace(attack, eps=0, alpha=0) for attack in (*attacks, search)
    ]


def test_one_space_of_the_strict_profile_may_be_named():
    whole = portfolio(profile="strict")
    for space in ("pgd", "sap", "square"):
        assert portfolio((space,), profile="strict") == [attack for attack in whole if attack.family == space]


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 10, 30])
def test_the_strict_profile_takes_no_more_gradients_than_its_first_version(classes: int):
    """`strict/1`: 40 steps of PGD from each of two losses and two starts, and 40 of SAP from where each ended."""
    first = 2 * 2 * (40 + 40)
    assert sum(attack.gradients for attack in portfolio(profile="strict", classes=classes)) <= first


@pytest.mark.parametrize("classes", [2, 3, 4, 5, 9])
def test_the_full_profile_is_for_any_number_of_classes(classes: int):
    """Smooth C&W for any wrong class and for each of them, and DLR where there are three logits to rank."""
    attacks = portfolio(profile="full", classes=classes)
    assert [a.target for a in attacks if a.name == "cw-smooth"] == list(range(classes))
    assert {a.loss for a in attacks if a.family == "pgd"} == {"ce", "margin", *(["dlr"] if classes > 2 else [])}
    for family in ("pgd", "sap"):
        aimed = {a.target for a in attacks if a.family == family and a.loss == "dlr"}
        assert aimed == (set(range(1, classes)) if classes > 2 else set())
    labels = torch.arange(classes)
    targets = {tuple(((labels + a.target) % classes).tolist()) for a in attacks if a.name == "cw-smooth" and a.target}
    assert len(targets) == classes - 1 and all(label != wrong[label] for wrong in targets for label in labels.tolist())


def test_a_loss_that_needs_more_classes_is_refused():
    with pytest.raises(InputError, match="--loss dlr: needs 3 classes, the model has 2; take margin"):
        portfolio(("pgd",), losses=("ce", "dlr"), classes=2)
    assert len(portfolio(("pgd",), losses=("ce", "dlr"), classes=3)) == 2


def test_the_full_profile_begins_with_the_strict_cascade():
    """Then longer attacks from other starts, the margin loss, and smooth C&W to each class; the search is longer."""
    attacks, strict = portfolio(profile="full", eps=25), portfolio(profile="strict", eps=25)
    assert attacks[: len(strict) - 1] == strict[:-1] and len(set(attacks)) == len(attacks)
    longer = [attack for attack in attacks[len(strict) - 1 :] if attack.family in ("pgd", "sap")]
    assert {(a.name, a.loss) for a in longer} == {
        *product(("pgd", "sap"), ("ce", "margin")),
        *product(("apgd", "apgd-sap"), ("ce", "dlr")),
    }
    assert sum(a.gradients for a in longer) > 5 * sum(a.gradients for a in strict)
    starts = [a.restart for a in longer if a.name == "apgd" and a.loss == "ce"]
    had = {a.restart for a in strict if a.name == "apgd" and a.loss == "ce"}
    assert len(starts) == len(set(starts)) == 8 and not had.intersection(starts)
    assert [a.target for a in attacks if a.name == "cw-smooth"] == [0, 1, 2, 3]
    assert attacks[-1].name == "square" and attacks[-1].steps > strict[-1].steps


def test_smooth_cw_runs_once_where_it_is_named():
    assert [a.name for a in portfolio()] == ["clean", "pgd", "sap"]
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
        (("clean", "fgsm"), {}, "--attack fgsm: unknown; choose clean, pgd, sap, cw-smooth, square or MODULE:NAME"),
        ((), {}, "--attack: names none; choose from clean, pgd, sap, cw-smooth, square"),
        (("pgd",), {"profile": "lax"}, "--profile lax: unknown; choose paper, strict or full"),
        (("pgd",), {"eps": -1.0}, "--eps -1: at least 0 needed"),
        (("pgd",), {"eps": math.nan}, "--eps nan: at least 0 needed"),
        (("pgd",), {"eps": math.inf}, "--eps inf: at least 0 needed"),
        (("pgd",), {"alpha": -1.0}, "--alpha -1: at least 0 needed"),
        (("pgd",), {"steps": -1}, "--steps -1: at least 0 needed"),
        (("pgd",), {"losses": ("ce", "cw")}, "--loss cw: unknown; choose ce, margin, dlr or rescaled"),
        (("pgd",), {"losses": ()}, "--loss: names none; choose from ce, margin, dlr, rescaled"),
        (
            ("pgd",),
            {"losses": ("ce",), "profile": "strict"},
            "--loss: the strict profile has its own, ce and dlr; leave it out, or use --profile paper",
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
