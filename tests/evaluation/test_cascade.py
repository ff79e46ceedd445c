"""A cascade says what its attacks say one by one, asks less, and tells how many records each was run on."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from short_work import SHORT, STRICT

from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation import cascade
from edgeguard.evaluation.contender import Contender, open_contender
from edgeguard.evaluation.evaluate import Evaluation, evaluate_contenders, summary
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.evaluation.sources import Source, run_source
from edgeguard.evaluation.subject import open_subject
from edgeguard.models.run import Run

MakeRun = Callable[..., Run]
INDEX = np.arange(60)


@pytest.fixture
def attacks(monkeypatch: pytest.MonkeyPatch) -> list[Attack]:
    monkeypatch.setattr(STRICT, SHORT)
    return portfolio(profile="strict", eps=4)


def judged(contenders: list[Contender], dataset: Dataset, attacks: list[Attack]) -> list[Evaluation]:
    return evaluate_contenders(contenders, dataset, INDEX, attacks)


def test_it_finds_what_its_attacks_find_one_by_one(make_run: MakeRun, dataset: Dataset, attacks: list[Attack]) -> None:
    """Without `cascade` every attack is run on every record; those for close records alone add nothing here."""
    one = open_contender(make_run().path, None, attacks)
    (found,) = judged([one], dataset, attacks)
    everywhere = [replace(attack, cascade=False) for attack in attacks if attack.name != "square"]
    (whole,) = judged([one], dataset, everywhere)
    np.testing.assert_array_equal(found.worst_case() == found.labels, whole.worst_case() == whole.labels)
    assert 0 < (found.worst_case() == found.labels).sum() < (found.judged[0].predicted == found.labels).sum()


def test_each_attack_runs_on_what_stands(make_run: MakeRun, dataset: Dataset, attacks: list[Attack]) -> None:
    one = open_contender(make_run().path, None, attacks)
    (found,) = judged([one], dataset, attacks)
    clean, rows = found.judged[0], found.judged[1:]
    assert clean.attacked is None
    for family in ("pgd", "sap"):
        stands = clean.predicted == found.labels
        for entry in (entry for entry in rows if entry.attack.family == family):
            assert entry.attacked is not None
            assert not (entry.attacked & ~stands).any()
            assert entry.attack.close or (entry.attacked == stands).all()
            after = entry.predicted == found.labels
            assert (after <= stands).all() and (after == stands)[~entry.attacked].all()
            stands = after
    search = rows[-1]
    assert search.attack.name == "square" and search.attacked is not None and search.gradient is None
    left = np.logical_and.reduce([entry.predicted == found.labels for entry in found.judged[:-1]])
    np.testing.assert_array_equal(search.attacked, left)


def test_the_summary_counts_records_and_has_both_spaces(
    make_run: MakeRun, dataset: Dataset, attacks: list[Attack]
) -> None:
    one = open_contender(make_run().path, None, attacks)
    (found,) = judged([one], dataset, attacks)
    report = summary(found)
    clean, *rows = report["attacks"]
    assert "records" not in clean and all({"records", "felled", "close"} <= set(row) for row in rows)
    right = round(clean["accuracy"]["value"] * len(INDEX))
    for names in (("pgd", "apgd"), ("sap", "apgd-sap")):
        own = [row for row in rows if row["name"] in names]
        assert own[0]["records"] == right
        left = right - np.cumsum([row["felled"] for row in own])
        np.testing.assert_allclose([row["accuracy"]["value"] for row in own], left / len(INDEX))
        space = report["by_space"]["plain" if names[0] == "pgd" else "smooth"]["accuracy"]["value"]
        assert space == left[-1] / len(INDEX)
    assert report["worst_case"]["accuracy"]["value"] <= min(
        one["accuracy"]["value"] for one in report["by_space"].values()
    )


def test_the_search_takes_the_records_nearest_to_a_wrong_class(
    make_run: MakeRun, dataset: Dataset, attacks: list[Attack], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = open_contender(make_run().path, None, attacks)
    everyone = judged([one], dataset, attacks)[0].judged[-1]
    monkeypatch.setattr(cascade, "SEARCHED", 3)
    few = judged([one], dataset, attacks)[0].judged[-1]
    assert everyone.attacked is not None and few.attacked is not None
    assert few.attacked.sum() == 3 < everyone.attacked.sum() and (few.attacked <= everyone.attacked).all()
    # A linear network's margin falls by the same on every record, but for padding.
    assert one.subject.run is not None
    logits = open_subject(one.subject.run.path).logits(dataset.batch(INDEX)[0])
    gap = np.abs(logits[:, 0] - logits[:, 1])
    assert gap[few.attacked].max() < gap[everyone.attacked & ~few.attacked].min()


def test_those_that_share_a_source_are_judged_on_the_same_records(
    make_run: MakeRun, dataset: Dataset, attacks: list[Attack], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two networks, each attacked through both: what one alone would be judged to be, and each record crafted once."""
    first, second = make_run(), make_run("other", seed=5)
    sources: tuple[Source, ...] = (run_source(first, "run"), run_source(second, "other"))
    pair = [replace(open_contender(run.path, None, attacks), sources=sources) for run in (first, second)]
    alone = [judged([one], dataset, attacks)[0] for one in pair]
    made: list[Any] = []
    craft = cascade.craft
    monkeypatch.setattr(cascade, "craft", lambda *given: made.append((given[0].name, given[3])) or craft(*given))
    together = judged(pair, dataset, attacks)
    assert len(made) <= 2 * (len(attacks) - 2) * -(-len(INDEX) // cascade.BATCH)
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours.worst_case(), theirs.worst_case())
        for name in ("run", "other"):
            np.testing.assert_array_equal(ours.worst_case(name), theirs.worst_case(name))
