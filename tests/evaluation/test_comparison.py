"""Both contenders face what crafts on either, each twin is held against its own file, and names tell them apart."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.evaluation.comparison import compare_summary, evaluate_both, share_sources
from edgeguard.evaluation.contender import Contender, open_contender
from edgeguard.evaluation.divergence_hunt import parties
from edgeguard.evaluation.evaluate import evaluate_contenders
from edgeguard.evaluation.masking_run import check_budgets, check_contender
from edgeguard.evaluation.portfolio import portfolio
from edgeguard.export.twin import build_twin
from edgeguard.models.run import Run

MakeRun = Callable[..., Run]
WriteFile = Callable[..., Path]
ATTACKS = portfolio(("clean", "pgd"), eps=20, alpha=5, steps=4)
EVERY = np.arange(90)


def names(contenders: list[Contender]) -> list[str]:
    """Of the shared sources, once both have the same in the same order."""
    first, second = contenders
    assert [s.identity for s in first.sources] == [s.identity for s in second.sources]
    assert [s.name for s in first.sources] == [s.name for s in second.sources]
    return [source.name for source in first.sources]


def test_sources_are_shared_under_names_that_tell_them_apart(make_run: MakeRun, write_file: WriteFile):
    run, other = make_run(), make_run("other", seed=1)
    beside, next_to_other = write_file("run/a.onnx", run), write_file("other/b.onnx", other)
    apart = write_file("apart.onnx", run)

    def shared(first: Path, second: Path, **options: object) -> list[str]:
        return names(share_sources([open_contender(path, None, ATTACKS, **options) for path in (first, second)]))

    assert shared(run.path, other.path) == ["run", "other run"]
    assert shared(beside, other.path) == ["twin", "other run"]
    assert shared(other.path, beside) == ["run", "other twin"]
    assert shared(beside, next_to_other) == ["twin", "other twin"]
    assert shared(beside, next_to_other, profile="strict") == ["twin", "parent", "other twin", "other parent"]
    # The run is the file's parent, whether it lies beside the file or is only named by its digest.
    assert shared(beside, run.path, profile="strict") == shared(apart, run.path) == ["twin", "parent"]
    assert shared(run.path, beside, profile="strict") == ["run", "other twin"]


def test_the_run_stands_for_the_twin_of_a_float_file(make_run: MakeRun, write_file: WriteFile):
    run, other = make_run(), make_run("other", seed=1)
    beside, apart = write_file("run/a.onnx", run), write_file("apart.onnx", run)

    def sources(path: Path, **options: object) -> list[str]:
        return [source.name for source in open_contender(path, None, ATTACKS, compared=True, **options).sources]

    assert sources(beside, profile="strict") == sources(beside) == ["parent"]
    assert sources(beside, gradients=("twin",)) == ["twin"]
    assert sources(apart) == ["twin"] and sources(other.path) == ["run"]


def test_unfair_comparisons_are_refused(make_run: MakeRun, write_file: WriteFile):
    run, copy, other = make_run(), make_run("copy"), make_run("other", seed=1)
    beside = write_file("run/a.onnx", run)

    def refused(*contenders: Contender) -> str:
        with pytest.raises(InputError) as caught:
            share_sources(contenders)
        return str(caught.value)

    own, theirs = (open_contender(path.path, None, ATTACKS) for path in (run, other))
    assert "the same network as" in refused(own, open_contender(copy.path, None, ATTACKS))
    assert "--source" in refused(own, open_contender(other.path, run.path, ATTACKS))
    assert "clean records" in refused(*(replace(one, sources=()) for one in (own, theirs)))
    by_parent = open_contender(beside, None, ATTACKS, gradients=("parent",))
    assert "crafted on parent alone" in refused(by_parent, own)
    assert "crafted on run alone" in refused(own, by_parent)


def test_what_is_crafted_on_the_other_is_situation_one(make_run: MakeRun, write_file: WriteFile, dataset: Dataset):
    run, other = make_run(), make_run("other", seed=1)
    pair = [open_contender(one.path, None, ATTACKS) for one in (run, other)]
    both = evaluate_both(pair, dataset, EVERY, ATTACKS)
    assert [[entry.situation for entry in one.judged] for one in both] == [[None, "II", "I"], [None, "I", "II"]]
    # Each outcome is that of an evaluation with this one source.
    for subject, evaluation in zip((run, other), both, strict=True):
        for crafting, entry in zip((run, other), evaluation.judged[1:], strict=True):
            alone = evaluate_contenders(
                [open_contender(subject.path, crafting.path, ATTACKS)], dataset, EVERY, ATTACKS
            )[0].judged[1]
            np.testing.assert_array_equal(entry.predicted, alone.predicted)
            assert entry.situation == alone.situation
    family = [open_contender(path, None, ATTACKS) for path in (write_file("apart.onnx", run), run.path)]
    for evaluation in evaluate_both(family, dataset, EVERY, ATTACKS):
        assert [entry.situation for entry in evaluation.judged] == [None, "II", "II"]


def test_the_verdict_counts_every_source(make_run: MakeRun, dataset: Dataset):
    pair = [open_contender(make_run(name, seed=seed).path, None, ATTACKS) for name, seed in (("a", 0), ("b", 1))]
    both = evaluate_both(pair, dataset, EVERY, ATTACKS, seed=3)
    found = compare_summary(both, margin=0.05, seed=3)
    right = [np.logical_and.reduce([e.predicted == one.labels for e in one.judged]) for one in both]
    assert found["table"]["only_exported"] == int((right[0] & ~right[1]).sum())
    assert found["table"]["only_reference"] == int((right[1] & ~right[0]).sum())
    assert found["worst_case"]["difference"] == pytest.approx(right[0].mean() - right[1].mean())
    direct = both[1].judged[2].predicted == both[1].labels
    clean = both[1].judged[0].predicted == both[1].labels
    assert found["transfer"]["other run"]["other"]["value"] == pytest.approx(direct.mean())
    assert found["clean"]["only_second"] == int((clean & (both[0].judged[0].predicted != both[0].labels)).sum())
    assert found["attacks"][2]["gradient"] == "other run" and found["margin"] == 0.05
    assert found["holds"] is (found["verdict"] == "survives")


class Negated(nn.Module):
    """A twin that says the opposite."""

    def __init__(self, twin: nn.Module) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, ecg: Tensor) -> Tensor:
        return -self.twin(ecg)


def test_each_twin_is_held_against_its_own_file(make_run: MakeRun, write_file: WriteFile, dataset: Dataset):
    """The second file's twin differs from the first file, which is no fault; from its own file it may not."""
    run = make_run()
    file = write_file("stranger.onnx")
    pair = [open_contender(path, None, ATTACKS) for path in (file, run.path)]
    assert evaluate_both(pair, dataset, EVERY, ATTACKS)[0].gradients() == ("twin", "other run")
    assert evaluate_both(pair[::-1], dataset, EVERY, ATTACKS)[0].gradients() == ("run", "other twin")

    def spoilt(opened: object, **options: object) -> nn.Module:
        return Negated(build_twin(opened, **options))  # type: ignore[arg-type]

    pair[0] = open_contender(file, None, ATTACKS, build=spoilt)
    for order in (pair, pair[::-1]):
        with pytest.raises(InputError, match=r"stranger\.onnx: its twin agrees with ONNX Runtime on 0\.0 %"):
            evaluate_both(order, dataset, EVERY, ATTACKS)


def test_masking_checks_of_a_run_and_of_a_file(make_run: MakeRun, write_file: WriteFile, dataset: Dataset):
    run, other = make_run(), make_run("other", seed=1)
    found = {
        check.name: check for check in check_contender(open_contender(run.path, None, ATTACKS), dataset, EVERY, ATTACKS)
    }
    assert len(found) == 13 and "of 64 " in found["unbounded"].message
    assert all(found[name].holds for name in ("unbounded", "reach", "identity_at_zero", "random_noise", "black_box"))
    assert found["straight_through"].figure is None and found["transfer"].figure is None
    beside = open_contender(write_file("run/a.onnx", run), None, ATTACKS)
    few = {check.name: check for check in check_contender(beside, dataset, EVERY[:9], ATTACKS)}
    # Nothing is rounded in this file, and its run is another network to transfer from.
    assert few["straight_through"].figure is None and few["transfer"].figure == 0
    short = portfolio(("clean", "pgd"), eps=20, alpha=2, steps=4)
    (reach,) = (check for check in check_contender(beside, dataset, EVERY[:9], short) if check.name == "reach")
    assert (reach.holds, reach.figure) == (False, 0.4)
    for contender, attacks in (
        (open_contender(run.path, other.path, ATTACKS), ATTACKS),
        (beside, ATTACKS[:1]),
        (beside, portfolio(("pgd",), eps=0)),
        (beside, portfolio(("pgd",), steps=0)),
    ):
        assert check_contender(contender, dataset, EVERY[:9], attacks) == []


def test_who_hunts_by_which_gradient(make_run: MakeRun, write_file: WriteFile, dataset: Dataset):
    run, other = make_run(), make_run("other", seed=1)
    file = write_file("run/a.onnx", run)

    def by(*gradients: str) -> Contender:
        return open_contender(file, None, ATTACKS, gradients=gradients)

    own, theirs = (open_contender(one.path, None, ATTACKS) for one in (run, other))
    first, second = parties([by("none", "parent", "twin-pure"), theirs])
    assert first.network is not run.model and second.sha256 == other.weights_sha256
    ecg, _, labels = dataset.batch(EVERY[:5])
    with torch.no_grad():
        assert torch.equal(second.network(torch.from_numpy(ecg)), other.model(torch.from_numpy(ecg)))
    np.testing.assert_array_equal(first.judge(ecg, labels), by("twin").subject.judge(ecg, labels))
    with pytest.raises(InputError, match=r"a\.onnx has no gradient to follow; add twin to --gradient"):
        parties([by("none"), theirs])
    with pytest.raises(InputError, match="have one gradient, parent; add twin to --gradient"):
        parties([by("none", "parent"), own])


def test_every_budget_has_its_masking_checks(make_run: MakeRun, dataset: Dataset):
    """All thirteen at the smallest, then the eight that depend on eps, under names of their own."""
    budgets = {eps: portfolio(("clean", "pgd"), eps=eps, alpha=eps, steps=3) for eps in (4.0, 20.0, 50.0)}
    found = check_budgets(open_contender(make_run().path, None, ATTACKS), dataset, EVERY[:9], budgets)
    names = [check.name for check in found]
    assert len(names) == len(set(names)) == 13 + 2 * 8
    for eps in budgets:
        own = [check for check in found if check.eps_uv == eps]
        assert len(own) == 8 and all(check.name.endswith(f"_{eps:g}") for check in own) is (eps > 4)
