"""What crafts on a file: which sources, with which gradient, and only where the twin computes the file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeguard.attacks.losses import margin
from edgeguard.ecg.dataset import Dataset
from edgeguard.errors import InputError
from edgeguard.evaluation.contender import Contender, open_contender
from edgeguard.evaluation.evaluate import evaluate, evaluate_contenders, summary
from edgeguard.evaluation.portfolio import portfolio
from edgeguard.evaluation.sources import MeanGradient, Source, check_agreement, sources_of
from edgeguard.evaluation.subject import Subject, open_subject
from edgeguard.models.run import Run

MakeRun = Callable[..., Run]
WriteFile = Callable[..., Path]
ATTACKS = portfolio(("clean", "pgd"), eps=4)


class Mean(nn.Module):
    """The file of the fixtures: logits m, -m, -9999, -9999 of the mean m, times a scale; `none` has no gradient."""

    def __init__(self, gradient: str = "clipped", scale: float = 1.0) -> None:
        super().__init__()
        self.gradient, self.scale = gradient, scale

    def forward(self, ecg: Tensor) -> Tensor:
        mean = ecg.mean((1, 2)) * self.scale
        if self.gradient == "none":
            mean = mean * 0 + mean.detach()
        far = torch.full_like(mean, -9999)
        return torch.stack([mean, -mean, far, far], 1)


def build(file: object, *, gradient: str) -> nn.Module:
    return Mean(gradient)


def names(subject: Subject, **options: object) -> list[str]:
    return [source.name for source in sources_of(subject, build=build, **{"profile": "paper", **options})[0]]  # type: ignore[arg-type]


def test_what_crafts_by_default(make_run: MakeRun, write_file: WriteFile):
    run = make_run()
    beside, alone = open_subject(write_file("run/a.onnx", run)), open_subject(write_file("b.onnx"))
    assert [names(beside, profile=profile) for profile in ("paper", "strict", "full")] == [
        ["twin"],
        ["twin", "parent"],
        ["twin", "twin-pure", "parent", "mean"],
    ]
    assert [names(alone, profile=profile) for profile in ("paper", "strict", "full")] == [
        ["twin"],
        ["twin"],
        ["twin", "twin-pure"],
    ]
    assert [names(open_subject(run.path), profile=profile) for profile in ("paper", "strict", "full")] == [["run"]] * 3


def test_what_crafts_can_be_chosen(make_run: MakeRun, write_file: WriteFile):
    run = make_run()
    subject = open_subject(write_file("run/a.onnx", run))
    sources, note = sources_of(
        subject, profile="strict", chosen=("none", "mean", "parent", "twin-pure", "none"), build=build
    )
    assert note is None and [source.name for source in sources] == ["none", "mean", "parent", "twin-pure"]
    assert [getattr(source.model, "gradient", None) for source in sources] == ["none", None, None, "pure"]
    assert len({source.identity for source in sources}) == 4
    assert [source.twin_of is None for source in sources] == [False, False, True, False]


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("twin", "ste"), "--gradient ste: unknown; choose twin, twin-pure, parent, mean or none"),
        (("parent",), "--gradient parent: no run beside .*b.onnx; leave it out, or put the file there"),
        (("twin", "mean"), "--gradient mean: no run beside .*b.onnx"),
    ],
)
def test_what_is_not_at_hand_is_refused(write_file: WriteFile, chosen: tuple[str, ...], message: str):
    with pytest.raises(InputError, match=message):
        sources_of(open_subject(write_file("b.onnx")), profile="paper", chosen=chosen, build=build)


def test_the_mean_has_the_firsts_logits_and_the_mean_of_both_gradients():
    torch.manual_seed(0)
    first, second = (nn.Sequential(nn.Flatten(), nn.Linear(30, 8), nn.Tanh(), nn.Linear(8, 4)) for _ in range(2))
    ecg, labels = torch.randn(5, 1, 30), torch.tensor([0, 1, 2, 3, 0])

    def gradient(network: nn.Module, weights: Tensor) -> Tensor:
        given = ecg.clone().requires_grad_(True)
        (found,) = torch.autograd.grad((network(given) * weights).sum(), given)
        return found

    mean, weights = MeanGradient(first, second), torch.randn(5, 4)
    assert torch.equal(mean(ecg), first(ecg))
    expected = (gradient(first, weights) + gradient(second, weights)) / 2
    torch.testing.assert_close(gradient(mean, weights), expected)
    given = ecg.clone().requires_grad_(True)
    margin(mean(given), labels).sum().backward()
    assert given.grad is not None and given.grad.any()


def test_a_twin_that_computes_the_file_may_attack(write_file: WriteFile, dataset: Dataset):
    subject = open_subject(write_file("b.onnx"))
    ecg = dataset.batch(np.arange(90))[0]
    check_agreement(Source("twin", Mean(), "", "b.onnx"), subject, ecg)
    check_agreement(Source("twin", Mean(), "", "b.onnx"), subject, ecg[:0])


def test_a_twin_of_a_wrong_scale_is_refused(write_file: WriteFile, dataset: Dataset):
    file = write_file("b.onnx")
    message = (
        rf"{file}: its twin agrees with ONNX Runtime on [0-9]?[0-9].. % of 9 rows, 99.5 % needed to attack; "
        "see edgeguard verify"
    )
    wrong = open_contender(file, None, ATTACKS, build=lambda file, gradient: Mean(gradient, scale=1.01))
    with pytest.raises(InputError, match=message):
        evaluate_contenders([wrong], dataset, np.arange(9), ATTACKS)


@pytest.mark.parametrize(("wrong", "refused"), [(1, False), (2, True)])
def test_one_row_in_256_may_differ_and_the_rest_is_not_looked_at(
    write_file: WriteFile, dataset: Dataset, wrong: int, refused: bool
):
    """Two of 256 are 0.8 %; rows beyond the 256th are all wrong."""
    subject = open_subject(write_file("b.onnx"))
    ecg = np.resize(dataset.batch(np.arange(90))[0], (300, 1, 120))
    assert subject.file is not None
    spoilt = subject.logits(ecg)
    spoilt[[*range(wrong), *range(256, 300)], 2] += 100
    subject.file.outputs = lambda rows: spoilt[: len(rows)]  # type: ignore[method-assign]
    if refused:
        with pytest.raises(InputError, match=r"on 99\.2 % of 256 rows"):
            check_agreement(Source("twin", Mean(), "", "b.onnx"), subject, ecg)
    else:
        check_agreement(Source("twin", Mean(), "", "b.onnx"), subject, ecg)


def fooled(contender: Contender, dataset: Dataset) -> dict[str, np.ndarray]:
    """By source: records that PGD changed."""
    (result,) = evaluate_contenders([contender], dataset, np.arange(90), ATTACKS)
    clean, *attacked = result.judged
    assert clean.gradient is None
    return {entry.gradient or "": entry.predicted != clean.predicted for entry in attacked}


def test_each_source_has_a_row_and_the_worst_case_takes_all(make_run: MakeRun, write_file: WriteFile, dataset: Dataset):
    """The file's best perturbation is 4 uV of one sign; the run's, another network, and no gradient do less."""
    file = write_file("run/a.onnx", make_run())
    contender = open_contender(file, None, ATTACKS, gradients=("twin", "parent", "none"), build=build)
    changed = fooled(contender, dataset)
    mean = dataset.batch(np.arange(90))[0].mean((1, 2))
    share = dataset.mask(np.arange(90)).mean((1, 2))
    towards = np.where(dataset.labels == 0, -1, 1)
    after = mean + 4 * share * towards
    np.testing.assert_array_equal(changed["twin"], (mean < 0) != (after < 0))
    assert changed["twin"].sum() > changed["parent"].sum() and not changed["none"].any()
    (result,) = evaluate_contenders([contender], dataset, np.arange(90), ATTACKS)
    report = summary(result)
    assert [row["gradient"] for row in report["attacks"]] == [None, "twin", "parent", "none"]
    assert [row["zero_gradient"]["value"] for row in report["attacks"][1:]] == [0, 0, 1]
    alone = report["by_gradient"]
    assert set(alone) == {"twin", "parent", "none"} and alone["none"]["accuracy"] == report["attacks"][0]["accuracy"]
    for name in alone:
        np.testing.assert_array_equal(
            result.worst_case(name) == result.labels,
            np.all([e.predicted == result.labels for e in result.judged if e.gradient in (None, name)], axis=0),
        )
    together = np.all([entry.predicted == result.labels for entry in result.judged], axis=0)
    np.testing.assert_array_equal(result.worst_case() == result.labels, together)


def test_a_success_counts_only_where_the_file_itself_is_fooled(write_file: WriteFile, dataset: Dataset):
    """A file that always answers with the true class is not fooled, whatever its twin says."""
    contender = open_contender(write_file("b.onnx"), None, ATTACKS, build=build)
    asked = 0

    def logits(ecg: np.ndarray) -> np.ndarray:
        nonlocal asked
        assert (ecg == np.rint(ecg)).all()
        asked += 1
        return np.eye(4, dtype=np.float32)[dataset.labels[:20]]

    stubborn = replace(contender, subject=replace(contender.subject, logits=logits))
    (result,) = evaluate_contenders([stubborn], dataset, np.arange(20), ATTACKS)
    assert asked == 2 and (result.worst_case() == result.labels).all()


def test_what_several_share_crafts_once(
    make_run: MakeRun, write_file: WriteFile, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
):
    """The run's own network and the file's parent are the same weights; results are those of each alone."""
    from edgeguard.evaluation import adversarial as module

    run, index = make_run(), np.arange(40)
    file = open_contender(write_file("run/a.onnx", run), None, ATTACKS, gradients=("twin", "parent"), build=build)
    pair = [open_contender(run.path, None, ATTACKS), file]
    alone = [evaluate_contenders([one], dataset, index, ATTACKS)[0] for one in pair]
    crafted: list[str] = []
    craft = module.craft

    def counted(source: Source, *rest: object) -> np.ndarray:
        crafted.append(source.name)
        return craft(source, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "craft", counted)
    together = evaluate_contenders(pair, dataset, index, ATTACKS)
    assert sorted(crafted) == ["run", "run", "twin", "twin"]
    for ours, theirs in zip(together, alone, strict=True):
        for first, second in zip(ours.judged, theirs.judged, strict=True):
            assert (first.gradient, first.situation) == (second.gradient, second.situation)
            np.testing.assert_array_equal(first.predicted, second.predicted)
    plain = evaluate(open_subject(run.path), dataset, index, ATTACKS, source=run, situation="II")
    np.testing.assert_array_equal(plain.judged[1].predicted, together[0].judged[1].predicted)
