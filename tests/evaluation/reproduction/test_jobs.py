"""What the jobs measure, against `edgeguard evaluate` on the very same networks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgeguard.ecg.split import split
from edgeguard.errors import InputError
from edgeguard.evaluation.evaluate import evaluate
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.evaluation.reproduction.local import run_graph
from edgeguard.evaluation.reproduction.measurement import Measurement, read_measurement
from edgeguard.evaluation.reproduction.network_jobs import NETWORK
from edgeguard.evaluation.reproduction.prepare import Reproduction
from edgeguard.evaluation.reproduction.records import about_records, open_data
from edgeguard.evaluation.reproduction.scope import BASE, Point
from edgeguard.evaluation.subject import Subject, open_subject


@pytest.fixture(scope="module")
def done(records: Path, make_tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Reproduction:
    """Everything white-box of two defences."""
    torch.set_num_threads(1)
    made: Reproduction = make_tiny(records, tmp_path_factory.mktemp("done"), tables=(2, 3, 4, 5), figures=(3, 4, 6))
    run_graph(made.jobs, made.store, progress=False)
    return made


def measured(done: Reproduction, job: Any) -> Measurement:
    return read_measurement(done.store.path(job))


def network(done: Reproduction, defense: str) -> Subject:
    return open_subject(done.store.path(done.networks.get(defense, 0).job) / NETWORK)


def evaluated(done: Reproduction, attacks: list[Attack], defense: str, source: str) -> list[np.ndarray]:
    """Predictions of `edgeguard evaluate`."""
    crafter = network(done, source).run
    index = measured(done, done.grid.clean("none", 0)).records
    found = evaluate(network(done, defense), done.dataset, index, attacks, source=crafter, situation="II")
    return [entry.predicted for entry in found.judged]


@pytest.mark.parametrize("defense", ["none", "at"])
def test_situation_ii_is_what_evaluate_says(done: Reproduction, defense: str) -> None:
    clean, pgd, sap = evaluated(done, portfolio(), defense, defense)
    assert np.array_equal(measured(done, done.grid.clean(defense, 0)).predicted["clean"], clean)
    assert np.array_equal(measured(done, done.grid.pgd(defense, 0, BASE, swept=False)).predicted["pgd"], pgd)
    assert np.array_equal(measured(done, done.grid.sap(defense, 0)).predicted["sap-40"], sap)
    # Else the attacks would be told apart by nothing.
    assert not np.array_equal(clean, pgd)


def test_situation_i_is_what_evaluate_says_with_a_source(done: Reproduction) -> None:
    grid = done.grid
    _, pgd, sap = evaluated(done, portfolio(), "at", "none")
    crafted = grid.pgd("none", 0, BASE, swept=False)
    assert np.array_equal(measured(done, grid.judged_by("at", 0, crafted)).predicted["pgd"], pgd)
    assert np.array_equal(measured(done, grid.judged_by("at", 0, grid.sap("none", 0))).predicted["sap-40"], sap)


@pytest.mark.parametrize("steps", [10, 30])
def test_shorter_attacks_are_looks_at_the_longest(done: Reproduction, steps: int) -> None:
    (alone,) = evaluated(done, portfolio(("sap",), smooth_steps=steps), "none", "none")
    assert np.array_equal(measured(done, done.grid.sap("none", 0)).predicted[f"sap-{steps}"], alone)


@pytest.mark.parametrize("point", [Point(25.0), Point(25.0, 3.125), Point(5.0)])
def test_sweeps_are_what_evaluate_says(done: Reproduction, point: Point) -> None:
    (alone,) = evaluated(done, portfolio(("pgd",), eps=point.eps, alpha=point.alpha), "at", "at")
    assert np.array_equal(measured(done, done.grid.pgd("at", 0, point, swept=True)).predicted["pgd"], alone)


def test_eps_20_and_25_are_one_attack_in_truth(done: Reproduction) -> None:
    attacks = portfolio(("pgd",), eps=20) + portfolio(("pgd",), eps=25)
    first, second = evaluated(done, attacks, "none", "none")
    assert np.array_equal(first, second)


def test_the_strict_profile_is_what_evaluate_says(done: Reproduction) -> None:
    attacks = portfolio(("pgd", "sap"), profile="strict")
    found = measured(done, done.grid.strict("none", 0)).predicted
    said = evaluated(done, attacks, "none", "none")
    names = [f"{place:02d}-{attack.name}" for place, attack in enumerate(attacks, 1)]
    assert list(found) == ["clean", *names] and len(said) == len(attacks)
    for name, expected in zip(names, said, strict=True):
        assert np.array_equal(found[name], expected)


def test_tables_and_curves_say_the_same_of_the_same_attack(done: Reproduction) -> None:
    found = done.collect()
    tables = {number: {row["defense"]: row for row in found.table(number)["rows"]} for number in (2, 3, 4, 5)}
    # Crafted on the undefended network and judged by it, both situations are one.
    for first, second in ((2, 3), (4, 5)):
        assert tables[first]["none"]["attacked"] == tables[second]["none"]["attacked"]
    assert tables[2]["none"]["attacked"] != tables[4]["none"]["attacked"]
    for table, figure, place in ((3, 4, 4), (5, 4, 0), (2, 3, 4), (4, 3, 0), (5, 6, 1)):
        line = found.figure(figure)["lines"]["at"]
        assert line["accuracy"]["value"][place] == tables[table]["at"]["attacked"]["accuracy"]["value"]
    radii = found.figure(6)
    assert radii["lines"]["none"]["x"] == [5, 10, 15, 20, 25]
    value = radii["lines"]["none"]["accuracy"]["value"]
    assert value[3] == value[4]
    assert radii["larger_step"]["none"]["accuracy"]["value"][0] == value[0]


def test_other_records_under_the_same_name_are_refused(done: Reproduction) -> None:
    about = about_records(done.dataset, split(done.dataset))
    assert open_data(about, {"data": done.setting.data})[0].fingerprint == about["fingerprint"]
    with pytest.raises(InputError, match="other records or labels"):
        open_data({**about, "fingerprint": "of something else"}, {"data": done.setting.data})
