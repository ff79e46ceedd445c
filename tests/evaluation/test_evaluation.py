"""Accuracy under attack of a linear network, against its closed form."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.attacks import losses
from edgeguard.attacks.gradient import pgd, sap
from edgeguard.attacks.smoothing import smoothing_taps
from edgeguard.ecg.dataset import Dataset
from edgeguard.evaluation import adversarial, cascade
from edgeguard.evaluation import evaluate as module
from edgeguard.evaluation.adversarial import craft, whole_codes, zero_gradient
from edgeguard.evaluation.evaluate import Evaluation, Judged, evaluate, summary
from edgeguard.evaluation.metrics import confusion_matrix
from edgeguard.evaluation.portfolio import Attack, portfolio
from edgeguard.evaluation.subject import Subject, open_subject
from edgeguard.models.run import Run

MakeRun = Callable[..., Run]
WriteFile = Callable[..., Path]


def weight(run: Run) -> np.ndarray:
    return next(run.model.parameters()).detach().numpy().astype(float)


def smoothed(row: np.ndarray) -> np.ndarray:
    return np.convolve(row, smoothing_taps(), mode="same")


def perturbation(run: Run, dataset: Dataset, record: int, attack: Attack) -> np.ndarray:
    """Closed form: what a signed-gradient attack of enough steps ends at, float64 [T]."""
    real = dataset.mask(np.array([record]))[0, 0]
    away = -weight(run) if dataset.labels[record] == 0 else weight(run)
    if attack.name == "pgd":
        return attack.reach * np.sign(away) * real
    return smoothed(attack.eps * np.sign(smoothed(away * real) * real)) * real


def expected(run: Run, source: Run, dataset: Dataset, index: np.ndarray, attack: Attack) -> np.ndarray:
    """Classes that `run` gives to records attacked on `source`."""
    out = []
    for record in index:
        ecg = dataset.batch(np.array([record]))[0][0, 0].astype(float)
        if attack.name != "clean":
            ecg = ecg + perturbation(source, dataset, record, attack)
        out.append(0 if weight(run) @ ecg >= 0 else 1)
    return np.array(out)


ATTACKS = [
    *portfolio(("clean", "pgd", "sap"), eps=4, steps=20, smooth_steps=20),
    Attack("pgd", eps=20, alpha=1, steps=3, loss="margin"),
]


@pytest.mark.parametrize("source", ["own", "other"])
def test_predictions_are_those_of_the_closed_form(make_run: MakeRun, dataset: Dataset, source: str):
    run, index = make_run(), np.arange(3, 90)
    other = run if source == "own" else make_run("other", seed=5)
    result = evaluate(
        open_subject(run.path), dataset, index, ATTACKS, source=other, situation="II" if other is run else "I"
    )
    np.testing.assert_array_equal(result.labels, dataset.labels[index])
    for entry, attack in zip(result.judged, ATTACKS, strict=True):
        assert entry.attack == attack
        assert entry.situation == (None if attack.name == "clean" else "II" if source == "own" else "I")
        np.testing.assert_array_equal(entry.predicted, expected(run, other, dataset, index, attack))
    fooled = [(entry.predicted != result.judged[0].predicted).sum() for entry in result.judged[1:]]
    assert min(fooled) > 0


def test_a_transferred_attack_is_weaker_than_ones_own(make_run: MakeRun, dataset: Dataset):
    run, other, index = make_run(), make_run("other", seed=5), np.arange(90)
    subject = open_subject(run.path)
    attack = portfolio(("pgd",), eps=4)
    rights = []
    for source, situation in ((run, "II"), (other, "I")):
        result = evaluate(subject, dataset, index, attack, source=source, situation=situation)
        rights.append((result.judged[0].predicted == result.labels).sum())
    assert rights[0] < rights[1]


LOSSES = ("ce", "margin", "dlr", "rescaled")


def test_a_saturated_network_is_masked_under_cross_entropy_alone(make_run: MakeRun, dataset: Dataset):
    """Logits 64 times larger decide alike, but beyond a gap of 104 cross-entropy has no float32 gradient."""
    run, index = make_run(), np.arange(90)
    attacks = portfolio(("clean", "pgd"), eps=4, losses=LOSSES)
    subject = open_subject(run.path)
    plain = evaluate(subject, dataset, index, attacks, source=run, situation="II")
    run.model.weight.data *= 64
    stretched = evaluate(subject, dataset, index, attacks, source=run, situation="II")
    z = dataset.batch(index)[0][:, 0].astype(float) @ weight(run)
    gap = np.where(dataset.labels == 0, 2 * z, -2 * z)
    assert not (np.abs(gap - 104) < 1).any()
    masked = gap > 104
    assert 10 < masked.sum() < 80
    np.testing.assert_array_equal(zero_gradient(run, dataset, index, "ce"), masked)
    for loss, before, after in zip(LOSSES, plain.judged[1:], stretched.judged[1:], strict=True):
        assert after.attack.loss == loss and after.zero_gradient is not None
        np.testing.assert_array_equal(after.zero_gradient, masked if loss == "ce" else np.zeros(90, bool))
        expected = np.where(masked, dataset.labels, before.predicted) if loss == "ce" else before.predicted
        np.testing.assert_array_equal(after.predicted, expected)
    assert (plain.worst_case() == stretched.worst_case()).all()
    clean, ce, *others = summary(stretched)["attacks"]
    assert clean["zero_gradient"] is None and [row["zero_gradient"]["value"] for row in others] == [0, 0, 0]
    assert ce["zero_gradient"] == {**ce["zero_gradient"], "value": masked.sum() / 90, "n": 90}


def test_a_gradient_on_padding_alone_is_none(make_run: MakeRun, dataset: Dataset):
    run = make_run()
    padded = dataset.mask(np.array([0]))[0, 0]
    assert not padded.all()
    run.model.weight.data *= torch.from_numpy(~padded)
    assert zero_gradient(run, dataset, np.array([0, 1]), "margin").tolist() == [True, False]


@pytest.mark.parametrize("batch", [1, 7])
def test_results_do_not_depend_on_the_batch(
    make_run: MakeRun, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, batch: int
):
    run, index = make_run(), np.arange(0, 90, 8)
    attacks = portfolio(("clean", "pgd", "sap"), profile="strict", eps=3)
    subject = open_subject(run.path)
    whole = evaluate(subject, dataset, index, attacks, source=run, situation="II")
    for where in (module, cascade):
        monkeypatch.setattr(where, "BATCH", batch)
    parts = evaluate(subject, dataset, index, attacks, source=run, situation="II")
    for first, second in zip(whole.judged, parts.judged, strict=True):
        np.testing.assert_array_equal(first.predicted, second.predicted)


def test_attacks_that_share_their_first_steps_are_those_run_alone(make_run: MakeRun, dataset: Dataset):
    network = torch.nn.Sequential(torch.nn.Conv1d(1, 3, 9, stride=5), torch.nn.Tanh(), torch.nn.Flatten())
    run, index = replace(make_run(), model=network), np.array([4, 9, 30])
    ecg, mask, labels = (torch.from_numpy(part) for part in dataset.batch(index))
    paths: adversarial.Paths = {}
    for attack in portfolio(("pgd", "sap"), eps=6, alpha=1.5, steps=5, smooth_steps=7):
        options: dict[str, Any] = dict(eps=attack.eps, alpha=attack.alpha, steps=attack.steps)
        options |= dict(loss=losses.LOSSES[attack.loss], best=attack.best, schedule=attack.schedule)
        if attack.name == "pgd":
            alone = pgd(network, ecg, labels, mask, **options)
        else:
            alone = sap(network, ecg, labels, mask, smooth_steps=attack.smooth_steps, **options)
        np.testing.assert_array_equal(craft(run, dataset, index, attack, 0, paths), alone.numpy())
    assert len(paths) == 1


def test_a_records_random_start_is_its_own(make_run: MakeRun, dataset: Dataset):
    run = make_run()
    attack = Attack("pgd", eps=10, alpha=0, steps=1, random_start=True)
    together = craft(run, dataset, np.array([4, 9, 30]), attack, seed=2)
    np.testing.assert_array_equal(craft(run, dataset, np.array([30]), attack, seed=2), together[2:])
    clean, mask, _ = dataset.batch(np.array([4, 9, 30]))
    delta = together - clean
    assert np.abs(delta).max() <= 10 + 1e-3 and np.abs(delta).max() > 9 and not delta[~mask].any()
    assert not np.array_equal(delta[0], delta[1])
    assert not np.array_equal(together, craft(run, dataset, np.array([4, 9, 30]), attack, seed=3))


def test_a_file_is_given_whole_codes_and_clean_records_as_they_are(
    make_run: MakeRun, write_file: WriteFile, dataset: Dataset
):
    run = make_run()
    shifted = replace(dataset, windows=dataset.windows.astype(np.float32) + 0.25)
    seen: list[np.ndarray] = []

    def logits(ecg: np.ndarray) -> np.ndarray:
        seen.append(ecg)
        return np.zeros((len(ecg), 4), np.float32)

    index, attacks = np.arange(6), portfolio(("clean", "sap"), eps=7)
    for path in (run.path, write_file("run/a.onnx", run)):
        seen.clear()
        subject: Subject = replace(open_subject(path), logits=logits)
        (row, _) = evaluate(subject, shifted, index, attacks, source=run, situation="II").judged[::-1]
        clean, attacked = seen
        np.testing.assert_array_equal(clean, shifted.batch(index)[0])
        crafted = craft(run, shifted, index, attacks[1])
        if subject.is_file:
            assert row.gradient == "parent"
            np.testing.assert_array_equal(attacked, whole_codes(crafted, clean, 7))
        else:
            assert row.gradient == "run"
            np.testing.assert_array_equal(attacked, crafted)


@given(
    clean=st.lists(st.integers(-2000, 2000), min_size=1, max_size=20),
    eps=st.integers(0, 30),
    share=st.floats(-1, 1),
)
@settings(max_examples=100, deadline=None)
def test_whole_records_are_rounded_to_the_nearest_code(clean: list[int], eps: int, share: float):
    ecg = np.array(clean, np.float32)[None, None]
    crafted = (ecg + np.float32(share * eps)).astype(np.float32)
    codes = whole_codes(crafted, ecg, eps)
    np.testing.assert_array_equal(codes, np.rint(crafted))
    assert np.abs(codes - ecg).max() <= eps and codes.dtype == np.float32


@given(
    clean=st.floats(-3000, 3000, width=32),
    eps=st.floats(0, 30),
    share=st.floats(-1, 1),
)
@settings(max_examples=200, deadline=None)
def test_codes_are_within_eps_also_of_records_between_codes(clean: float, eps: float, share: float):
    ecg = np.full((1, 1, 1), clean, np.float32)
    (code,) = whole_codes((ecg + share * eps).astype(np.float32), ecg, eps).ravel().astype(float)
    inside = [c for c in range(math.floor(clean - 31), math.ceil(clean + 32)) if abs(c - clean) <= eps]
    assert (code in inside) if inside else code == ecg.item()
    if inside and min(inside) <= clean + share * eps <= max(inside):
        assert abs(code - (clean + share * eps)) <= 0.5 + 1e-3


def test_without_a_budget_a_record_is_its_own_code():
    ecg = np.array([[[0.25, -3.0, 7.5]]], np.float32)
    np.testing.assert_array_equal(whole_codes(ecg, ecg, 0.0), ecg)


def judged(*rows: list[int], labels: list[int]) -> Evaluation:
    entries = [Judged(Attack(f"a{i}"), "II", np.array(row)) for i, row in enumerate(rows)]
    return Evaluation(("N", "A", "O", "~"), np.array(labels), entries)


def test_the_worst_case_is_taken_record_by_record():
    evaluation = judged([0, 1, 3, 3, 0], [0, 2, 2, 1, 0], [2, 3, 2, 3, 0], labels=[0, 1, 2, 3, 1])
    assert evaluation.worst_case().tolist() == [2, 2, 3, 1, 0]
    report = summary(evaluation)
    assert report["worst_case"]["accuracy"]["value"] == 0
    assert [row["accuracy"]["value"] for row in report["attacks"]] == [0.6, 0.4, 0.4]
    assert evaluation.labels.tolist() == [0, 1, 2, 3, 1]


def test_a_summary_has_the_keys_of_the_contract():
    predicted, labels = [0, 0, 1, 2, 2, 3, 0], [0, 0, 1, 1, 2, 3, 3]
    report = summary(judged(predicted, labels=labels))
    assert set(report) == {"attacks", "worst_case", "by_gradient", "by_space"}
    assert set(report["worst_case"]) == {"accuracy", "f1", "f1_nao", "classes"} and report["by_gradient"] == {}
    row: dict[str, Any] = report["attacks"][0]
    contract = [
        "name",
        "situation",
        "gradient",
        "eps_uv",
        "steps",
        "smooth_steps",
        "loss",
        "accuracy",
        "f1",
        "confusion",
    ]
    assert set(contract) <= set(row)
    assert row["confusion"] == confusion_matrix(np.array(labels), np.array(predicted), 4).tolist()
    for rate in (row["accuracy"], row["f1"], report["worst_case"]["accuracy"], report["worst_case"]["f1"]):
        assert set(rate) == {"value", "low", "high", "n"} and rate["n"] == 7
        assert rate["low"] <= rate["value"] <= rate["high"]
    assert report["worst_case"]["accuracy"] == row["accuracy"]
    assert row["classes"]["A"]["recall"]["value"] == 0.5 and row["classes"]["A"]["precision"]["value"] == 1
    assert row["classes"]["N"]["precision"]["n"] == 3 and row["classes"]["~"]["f1"] == pytest.approx(2 / 3)


def test_what_accuracy_hides_stands_beside_it():
    """Of 3 A two are found; of 5 others one is called A. The official F1 leaves noise out."""
    labels, predicted = [0, 0, 1, 1, 1, 2, 3, 3], [0, 1, 1, 1, 0, 2, 3, 0]
    report = summary(judged(predicted, labels=labels))
    for row in (report["attacks"][0], report["worst_case"]):
        found = row["classes"]["A"]
        assert (found["recall"]["value"], found["recall"]["n"]) == (2 / 3, 3)
        assert (found["false_alarms"]["value"], found["false_alarms"]["n"]) == (1 / 5, 5)
        n, a, o = 2 * 1 / (2 + 3), 2 * 2 / (3 + 3), 1.0
        assert row["f1_nao"]["value"] == pytest.approx((n + a + o) / 3) != row["f1"]["value"]
        assert row["f1_nao"]["low"] <= row["f1_nao"]["value"] <= row["f1_nao"]["high"]


def test_without_its_classes_there_is_no_official_score():
    entry = Judged(Attack("clean"), None, np.array([0, 1, 1]))
    report = summary(Evaluation(("N", "A"), np.array([0, 1, 0]), [entry]))
    assert "f1_nao" not in report["attacks"][0] and "f1_nao" not in report["worst_case"]
    assert report["worst_case"]["classes"]["A"]["false_alarms"]["value"] == 0.5


def test_a_class_that_nobody_is_has_no_scores():
    row = summary(judged([0, 0], labels=[0, 0]))["attacks"][0]
    assert math.isnan(row["classes"]["O"]["f1"]) and row["classes"]["O"]["recall"]["n"] == 0
    assert row["f1"]["value"] == 1
