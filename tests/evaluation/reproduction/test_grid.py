"""Which jobs a scope asks for, and that equal work is one job."""

from collections import Counter
from typing import Any

import pytest

from edgeguard.errors import InputError
from edgeguard.evaluation.portfolio import portfolio
from edgeguard.evaluation.reproduction.graph import Job
from edgeguard.evaluation.reproduction.grid import Grid
from edgeguard.evaluation.reproduction.scope import BASE, Point, Scope, curve_points, larger_step, scope_of

ALL = ("none", "jr", "nsr", "dd", "at", "init-adt", "dist-adt", "adt")


def grid_of(records: int = 768, **scope: Any) -> Grid:
    def network(defense: str, seed: int) -> Job:
        return Job("tests:network", {"defense": defense, "seed": seed})

    return Grid(Scope(**scope), network, {"fingerprint": "f"}, records=records, hints={}, resources={})


def kinds(grid: Grid) -> Counter[str]:
    return Counter(job.function.split(":")[1] for job in grid.jobs())


def test_every_table_and_figure_of_eight_defences() -> None:
    # PGD: the tables' own, 3 further eps of the paper's steps (20 and 25 are one) and 4 of larger ones.
    own, others = 8, 7
    assert kinds(grid_of()) == {
        "judge_clean": 8,
        "attack_pgd": 8 * own,
        "attack_sap": 8,
        "judge_transfer": others * (own + 1),
        "attack_strict": 8,
        "attack_boundary": 8,
        "judge_boundary": 7,
    }


def test_seeds_multiply_and_undefended_files_judge_each_other() -> None:
    found = kinds(grid_of(tables=(6,), figures=(), defenses=("none", "at"), seeds=3))
    # Each of three victims is judged by three files of at and two of none.
    assert found == {"attack_boundary": 6, "judge_boundary": 3 * (3 + 2)}
    control = kinds(grid_of(tables=(6,), figures=(), defenses=("none", "at"), control=True))
    assert control == {"attack_boundary": 3, "judge_boundary": 2 * (1 + 1)}


@pytest.mark.parametrize(
    "tables, figures, expected",
    [
        ((5,), (), {"judge_clean": 2, "attack_pgd": 2, "attack_strict": 2}),
        ((4,), (), {"judge_clean": 2, "attack_pgd": 1, "judge_transfer": 1}),
        ((2,), (), {"judge_clean": 2, "attack_sap": 1, "judge_transfer": 1}),
        ((), (1,), {"judge_clean": 1, "attack_pgd": 1, "attack_sap": 1}),
        ((), (3,), {"attack_pgd": 1, "attack_sap": 1, "judge_transfer": 2}),
        ((), (6,), {"attack_pgd": 16}),
    ],
)
def test_only_what_is_asked_for(tables: tuple[int, ...], figures: tuple[int, ...], expected: dict[str, int]) -> None:
    assert kinds(grid_of(tables=tables, figures=figures, defenses=("none", "at"))) == expected


def test_steps_that_cannot_reach_eps_make_one_attack_of_two() -> None:
    assert Point(25.0).same == Point(20.0).same == Point(20.0)
    assert Point(15.0).same == Point(15.0)
    assert [larger_step(eps).alpha for eps in (5, 10, 15, 20, 25)] == [1, 1.25, 1.875, 2.5, 3.125]
    assert larger_step(5.0) == Point(5.0) and len(curve_points()) == 8
    grid = grid_of()
    assert grid.pgd("at", 0, Point(25.0), swept=True) == grid.pgd("at", 0, Point(20.0), swept=True)


def test_the_tables_own_point_is_no_second_job() -> None:
    grid = grid_of(limit=500, sweep_limit=100)
    assert grid.pgd("at", 0, Point(10.0), swept=True) == grid.pgd("at", 0, BASE, swept=False)
    assert grid.pgd("at", 0, BASE, swept=False).arguments["limit"] == 500
    assert grid.pgd("at", 0, Point(15.0), swept=True).arguments["limit"] == 100
    # For the curves alone it need not be measured on more records than they have.
    alone = grid_of(tables=(), figures=(6,), limit=500, sweep_limit=100)
    assert alone.pgd("at", 0, BASE, swept=False).arguments["limit"] == 100


def test_a_further_defence_repeats_nothing() -> None:
    few, many = (set(grid_of(defenses=names).jobs()) for names in (("none", "at"), ALL))
    assert few < many
    assert set(grid_of(tables=(5,), figures=()).jobs()) < many


def test_both_situations_of_the_undefended_network_are_one_job() -> None:
    grid = grid_of()
    crafted = grid.sap("none", 0)
    assert grid.judged_by("none", 0, crafted) is crafted
    assert grid.judged_by("at", 0, crafted).needs[1] == crafted


def test_a_limit_beyond_the_records_is_none() -> None:
    assert set(grid_of(limit=5000, sweep_limit=9000).jobs()) == set(grid_of().jobs())


def test_crafting_costs_most() -> None:
    grid = grid_of(records=100, sweep_limit=10)
    # 20 gradients of two units and a look; 40 more and five looks.
    assert grid.pgd("at", 0, BASE, swept=False).cost == 100 * 41
    assert grid.sap("at", 0).cost == 100 * 85
    strict = portfolio(("pgd", "sap"), profile="strict")
    assert grid.strict("at", 0).cost == 10 * (2 * sum(attack.gradients for attack in strict) + 3 * len(strict))


def test_names_on_a_command_line() -> None:
    scope = scope_of(tables=("5", "2"), figures=("3",), defenses=("adt", "none"), seeds=2)
    assert scope == Scope((2, 5), (3,), ("none", "adt"), seeds=2)
    assert scope_of(only=("figure3", "table5", "table5")) == Scope((5,), (3,))


@pytest.mark.parametrize(
    "given, named",
    [
        ({"only": ("table7",)}, "--tables 7"),
        ({"only": ("figure2",)}, "--figures 2"),
        ({"only": ("fig3",)}, "--only fig3"),
        ({"tables": ("x",)}, "--tables x"),
        ({"only": ()}, "--only"),
        ({"only": ("table5",), "defenses": ("adt",)}, "none is missing"),
        ({"only": ("table5",), "defenses": ("none", "trade")}, "--defense trade: unknown; did you mean trades"),
        ({"only": ("table5",), "seeds": 0}, "--seeds 0"),
        ({"only": ("table5",), "sweep_limit": 0}, "--sweep-limit 0"),
    ],
)
def test_what_makes_no_sense_is_named(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        scope_of(**given)
