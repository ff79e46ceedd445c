"""One evaluation from what was named: runs, files, networks and arrays give the same figures, typed and as JSON."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from short_work import SHORT, STRICT
from torch import nn

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split_from
from edgeguard.errors import InputError
from edgeguard.evaluation.masking_check import Check
from edgeguard.evaluation.portfolio import Attack as PortfolioAttack
from edgeguard.evaluation.result import AttackScores, Comparison, EvaluationResult
from edgeguard.evaluation.run_evaluation import evaluate_model
from edgeguard.evaluation.survival import Survival

MakeRun = Callable[..., Any]
WriteFile = Callable[..., Path]
QUICK: dict[str, Any] = dict(steps=3, smooth_steps=2, alpha=4, checks=False)


def without_names(result: EvaluationResult) -> EvaluationResult:
    return replace(result, model="", data="", records="", notes=())


def arrays(dataset: Dataset, index: np.ndarray) -> tuple[list[np.ndarray], list[str]]:
    """Records without their padding, and their class names."""
    rows = [
        dataset.windows[i, left : left + length].astype(np.float32)
        for i, left, length in zip(index, dataset.left[index], dataset.length[index], strict=True)
    ]
    return rows, [dataset.classes[label] for label in dataset.labels[index]]


def test_a_run_a_network_and_arrays_give_the_same_figures(make_run: MakeRun, dataset: Dataset) -> None:
    run = make_run()
    of_run = evaluate_model(run.path, data=dataset, **QUICK)
    ecg, labels = arrays(dataset, split_from(dataset, run.config["split"]).test)
    of_network = evaluate_model(run.model, ecg=ecg, labels=labels, window=dataset.window, **QUICK)
    assert evaluate_model(run.model, data=dataset, **QUICK).n == len(dataset)
    assert without_names(of_network) == without_names(of_run)
    assert (of_network.model, of_network.data, of_run.n) == ("Balance", "arrays", len(ecg))
    assert of_run.accuracy == of_run.attacks[0].accuracy and of_run.worst_case.accuracy.value < of_run.accuracy.value


def test_a_network_is_judged_in_eval_mode_and_left_as_it_was(make_run: MakeRun, dataset: Dataset) -> None:
    network = nn.Sequential(make_run().model, nn.Dropout(0.9)).train()
    ecg, labels = arrays(dataset, np.arange(20))
    first, second = (evaluate_model(network, ecg=ecg, labels=labels, window=120, **QUICK) for _ in range(2))
    assert first == second
    assert all(module.training for module in network) and all(p.requires_grad for p in network.parameters())
    assert all(p.grad is None for p in network.parameters())


def test_whole_arrays_say_the_window_and_places_are_classes(make_run: MakeRun, dataset: Dataset) -> None:
    full = np.flatnonzero(dataset.length == dataset.window)
    network = make_run().model
    by_list = evaluate_model(network, ecg=arrays(dataset, full)[0], labels=dataset.labels[full], window=120, **QUICK)
    whole = dataset.windows[full].astype(np.float32)
    assert evaluate_model(network, ecg=whole, labels=dataset.labels[full].tolist(), **QUICK) == by_list


class Halves(nn.Module):
    """Two classes of its own, at 40 samples: whether the first half is the larger one."""

    def forward(self, ecg: torch.Tensor) -> torch.Tensor:
        first, second = ecg[:, 0, :20].mean(1), ecg[:, 0, 20:].mean(1)
        return torch.stack([first, second], 1)


def test_a_network_of_other_classes_and_length_without_parameters() -> None:
    """At distance 2 d between the halves' means an attack of eps turns what lies within eps < d, and nothing else."""
    ecg = np.zeros((4, 40), np.float32)
    ecg[:, :20] = np.array([[4], [16], [-4], [-16]])
    labels = ["early", "early", "late", "late"]
    attack: dict[str, Any] = dict(losses=("margin",), attacks=("clean", "pgd"), eps=5, alpha=5, steps=2, checks=False)
    result = evaluate_model(Halves(), ecg=ecg, labels=labels, classes=("early", "late"), sampling_rate=100, **attack)
    assert result.classes == ("early", "late")
    assert [attack.accuracy.value for attack in result.attacks] == [1.0, 0.5]
    assert result.attacks[1].confusion == ((1, 1), (1, 1)) and result.attacks[1].gradient == "run"


def test_a_file_takes_arrays_and_is_strict_unless_told(
    write_file: WriteFile, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STRICT, SHORT)
    ecg, labels = arrays(dataset, np.arange(12))
    file = write_file("a.onnx")
    strict = evaluate_model(str(file), ecg=ecg, labels=labels, checks=False)
    assert strict.profile == "strict" and len(strict.attacks) == 20 and strict.model == str(file)
    paper = evaluate_model(file, ecg=ecg, labels=labels, attacks=("clean",), steps=5, checks=False)
    assert paper.profile == "paper" and paper.attacks[0] == strict.attacks[0]


def test_the_object_and_its_json_are_the_same(make_run: MakeRun, dataset: Dataset) -> None:
    run, other = make_run("a"), make_run("b", seed=1)
    options = {**QUICK, "checks": True, "attacks": ("clean", "pgd")}
    result = evaluate_model(run.path, data=dataset, compare=other.path, hunt=run.path / "d.npz", margin=0.3, **options)
    value = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert EvaluationResult.from_json(value) == result or _only_nan_differs(value, result)
    assert result.checks and all(isinstance(check, Check) for check in result.checks)
    assert result.compare is not None and result.compare.margin == 0.3
    assert result.compare.holds == (result.compare.verdict == "survives")
    assert result.hunt is not None and Path(result.hunt.witnesses).is_file()
    assert "compare" not in evaluate_model(run.path, data=dataset, **QUICK).to_json()


def test_nothing_of_a_comparison_is_lost_on_the_way() -> None:
    assert {field.name for field in fields(Survival)} <= {field.name for field in fields(Comparison)}
    assert {field.name for field in fields(PortfolioAttack)} - {"eps", "alpha", "mask_at", "best", "cascade"} <= {
        field.name for field in fields(AttackScores)
    }


def _only_nan_differs(value: Any, result: EvaluationResult) -> bool:
    """NaN is not equal to itself; as JSON it is null."""
    return EvaluationResult.from_json(value).to_json() == result.to_json()


def test_what_falls_short_is_in_the_notes(make_run: MakeRun, dataset: Dataset) -> None:
    told: list[str] = []
    result = evaluate_model(make_run().path, data=dataset, steps=2, smooth_steps=2, checks=False, say=told.append)
    assert result.notes == tuple(
        f"{name}: 2 steps of 1 uV cannot reach eps 10 uV; add steps or a larger --alpha" for name in ("pgd", "sap")
    )
    assert told == [*result.notes, f"data: noise, {result.records}"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(ecg=np.zeros((2, 120))), "labels: the classes of ecg are needed"),
        (dict(ecg=np.zeros((2, 120)), labels="REFERENCE.csv"), "labels: the classes of ecg are needed"),
        (dict(ecg=np.zeros((2, 120)), labels=[0, 1], data="synthetic"), "data and ecg: give one of the two"),
        (dict(data="synthetic", labels=[0, 1], window=120), "labels: of data a reference CSV is needed"),
        (dict(ecg=np.zeros((2, 60)), labels=[0, 1]), r"Balance: fails on ecg \[2, 1, 60\]"),
        (dict(ecg=np.zeros((2, 120)), labels=[0, 1], classes=("a", "b")), r"Balance: makes \[2, 4\]"),
        (dict(ecg=np.zeros((2, 120)), labels=[0, 1], margin=0.02), "--margin 2: nothing to compare with"),
        (dict(ecg=np.zeros((2, 120)), labels=[0, 1], gradients=("twin",)), "--gradient twin: Balance is a run"),
    ],
)
def test_what_cannot_be_is_refused(make_run: MakeRun, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        evaluate_model(make_run().model, **options)


@pytest.mark.parametrize("names", [("N", "A"), ("N", "A", "O"), ("N", "A", "O", "~", "X")])
def test_the_full_profile_judges_any_number_of_classes(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
    """Each class is reached by an attack of its own; DLR, which ranks three logits, is left out of two."""
    monkeypatch.setattr(STRICT, SHORT)
    monkeypatch.setattr("edgeguard.evaluation.portfolio.FULL", replace(SHORT, signed=6))
    monkeypatch.setattr("edgeguard.evaluation.portfolio._OWN_STEPS", {"full": 6})
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(1, 4, 15, stride=15), nn.Tanh(), nn.Flatten(), nn.Linear(16, len(names)))
    ecg = np.rint(np.random.default_rng(0).normal(0, 2, (4, 60))).astype(np.float32)
    labels = network(torch.from_numpy(ecg)[:, None]).argmax(1).numpy()
    options: dict[str, Any] = dict(attacks=("clean", "pgd", "cw-smooth"), profile="full", checks=False)
    found = evaluate_model(network, ecg=ecg, labels=labels, part="all", classes=names, window=60, **options)
    assert found.profile_version == "full/2"
    assert {attack.loss for attack in found.attacks} >= {"ce", "margin"}
    assert ("dlr" in {attack.loss for attack in found.attacks}) is (len(names) > 2)
    assert {attack.target for attack in found.attacks if attack.name == "cw-smooth"} == set(range(len(names)))
    assert found.accuracy is not None and found.accuracy.value == 1 > found.worst_case.accuracy.value


def test_dlr_on_two_classes_is_refused() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(60, 2))
    ecg, labels = np.zeros((4, 60), np.float32), np.zeros(4, np.int64)
    with pytest.raises(InputError, match="--loss dlr: needs 3 classes, the model has 2; take margin"):
        evaluate_model(network, ecg=ecg, labels=labels, classes=("N", "A"), losses=("dlr",), window=60)
