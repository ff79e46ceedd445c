"""Scores of a network in all of its forms, held against what was evaluated form by form."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from short_work import SHORT, STRICT

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split_from, stratified
from edgeguard.errors import InputError
from edgeguard.evaluation.adversarial import craft
from edgeguard.evaluation.contender import open_contender
from edgeguard.evaluation.evaluate import evaluate, evaluate_contenders
from edgeguard.evaluation.metrics import confusion_matrix, macro_f1
from edgeguard.evaluation.paired import paired_difference
from edgeguard.evaluation.portfolio import portfolio
from edgeguard.evaluation.run_evaluation import evaluate_model
from edgeguard.evaluation.subject import open_subject
from edgeguard.evaluation.zoo.scores import Forms, Trial, merged, restricted, score_forms
from edgeguard.models.run import load_run

EPS = 16.0
FORMS = ("torch", "fp32", "int8", "int8-streaming")
ATTACKED = ("pgd", "sap", "worst_case")
LIMIT = 12
STRICT_ROWS = 1 + 2 * 18 + 1


@pytest.fixture(scope="module")
def scores(forms: Forms, records: Dataset) -> dict[str, Any]:
    """The paper's profile on all test records, the strict one, shortened, on twelve."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(STRICT, SHORT)
        return score_forms(forms, records, [Trial("paper", EPS), Trial("strict", EPS, LIMIT)])


Row = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def row(scores: dict[str, Any]) -> Row:
    """The row of a form and a profile."""

    def find(form: str, profile: str = "paper") -> dict[str, Any]:
        (found,) = (row for row in scores["rows"] if (row["form"], row["profile"]) == (form, profile))
        return found

    return find


@pytest.fixture(scope="module")
def test_part(records: Dataset, forms: Forms) -> np.ndarray:
    return split_from(records, load_run(forms.torch).config["split"]).test


def judged_rows(scores: dict[str, Any], profile: str) -> list[dict[str, Any]]:
    return [row for row in scores["rows"] if row["profile"] == profile]


def test_every_form_has_a_row_a_trial(scores: dict[str, Any], test_part: np.ndarray) -> None:
    found = [(row["form"], row["profile"], row["eps_uv"], row["n"]) for row in scores["rows"]]
    assert found == [(form, "paper", EPS, len(test_part)) for form in FORMS] + [
        (form, "strict", EPS, LIMIT) for form in FORMS
    ]
    assert scores["schema"] == "edgeguard.scores/2" and scores["data"] == "waves"
    assert scores["records"] == f"{len(test_part)} test records, {80 - len(test_part)} seen ones left out"


def test_clean_torch_is_a_forward_pass(row: Row, forms: Forms, records: Dataset, test_part: np.ndarray) -> None:
    ecg, _, labels = records.batch(test_part)
    with torch.no_grad():
        predicted = load_run(forms.torch).model(torch.from_numpy(ecg)).argmax(1).numpy()
    found = row("torch")["clean"]
    assert found["accuracy"]["value"] == np.mean(predicted == labels) and found["accuracy"]["n"] == len(labels)
    assert 0.5 < found["accuracy"]["value"] < 1
    assert found["f1"]["value"] == pytest.approx(macro_f1(confusion_matrix(labels, predicted, 4)))


@pytest.mark.parametrize("form", ["torch", "int8"])
def test_the_papers_row_is_a_forms_own_evaluation(row: Row, forms: Forms, records: Dataset, form: str) -> None:
    chosen: dict[str, Any] = {} if form == "torch" else {"gradients": ("twin",)}
    alone = evaluate_model(getattr(forms, form), data=records, profile="paper", eps=EPS, checks=False, **chosen)
    found = row(form)
    assert [(one.name, one.accuracy.value) for one in alone.attacks] == [
        (name, found[name]["accuracy"]["value"]) for name in ("clean", "pgd", "sap")
    ]
    assert alone.worst_case.accuracy.value == found["worst_case"]["accuracy"]["value"]
    assert alone.worst_case.f1.value == pytest.approx(found["worst_case"]["f1"]["value"])
    # As strong as the oracle needs: neither attack does all, nor is the worst case one of them.
    values = {name: found[name]["accuracy"]["value"] for name in ("clean", *ATTACKED)}
    assert 0 < values["worst_case"] < values["sap"] < values["clean"] and values["pgd"] < values["clean"]


def test_a_forms_own_gradient_is_meant(row: Row, forms: Forms, records: Dataset, test_part: np.ndarray) -> None:
    """The int8 file falls otherwise to its run's gradient than to its twin's, and the row is the twin's."""
    labels = records.labels[test_part]
    (twin,) = open_contender(forms.int8, None, portfolio(), gradients=("twin",)).sources
    file, pgd = open_subject(forms.int8), portfolio(("pgd",), eps=EPS)[0]
    by_twin, by_run = (craft(source, records, test_part, pgd) for source in (twin, load_run(forms.torch)))
    assert not np.array_equal(file.logits(by_twin), file.logits(by_run))
    assert row("int8")["pgd"]["accuracy"]["value"] == np.mean(file.judge(by_twin, labels) == labels)
    assert row("int8")["pgd"] != row("torch")["pgd"]


def test_the_float_file_is_attacked_by_its_run(row: Row, forms: Forms, records: Dataset, test_part: np.ndarray) -> None:
    source = load_run(forms.torch)
    attacks = portfolio(eps=EPS)
    found = evaluate(open_subject(forms.fp32), records, test_part, attacks, source=source, situation="II")
    right = [float(np.mean(one.predicted == found.labels)) for one in found.judged]
    assert [row("fp32")[name]["accuracy"]["value"] for name in ("clean", "pgd", "sap")] == right


@pytest.mark.parametrize(("steps", "limit"), [(2, None), (4, None), (4, LIMIT)])
def test_the_strict_row_is_the_worst_of_run_and_twin(
    forms: Forms,
    records: Dataset,
    test_part: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    limit: int | None,
) -> None:
    """At 12 uV the int8 file keeps a record more under the run alone in four steps, and under its twin alone in two."""
    monkeypatch.setattr(STRICT, replace(SHORT, signed=steps))
    attacks = portfolio(profile="strict", eps=12.0)
    found = score_forms(forms, records, [Trial("strict", 12.0, limit)])
    index = test_part if limit is None else limited(records, test_part)
    labels = records.labels[index]
    twin = open_contender(forms.int8, None, attacks, gradients=("twin",))
    for form in ("torch", "fp32", "int8"):
        subject = open_subject(getattr(forms, form))
        through_run = evaluate(subject, records, index, attacks, source=load_run(forms.torch), situation="II")
        own = tuple(replace(source, twin_of=None) for source in twin.sources)
        (through_twin,) = evaluate_contenders([replace(twin, subject=subject, sources=own)], records, index, attacks)
        (row,) = (row for row in found["rows"] if row["form"] == form)
        for name in ("pgd", "sap"):
            right = np.ones(len(index), bool)
            for entry in (*through_run.judged, *through_twin.judged):
                right &= (entry.predicted == labels) | (entry.attack.family != name)
            assert row[name]["accuracy"]["value"] == right.mean()
            assert 0 < right.mean() < row["clean"]["accuracy"]["value"]
        worst = (through_run.worst_case() == labels) & (through_twin.worst_case() == labels)
        assert row["worst_case"]["accuracy"]["value"] == worst.mean()


def limited(records: Dataset, test_part: np.ndarray) -> np.ndarray:
    """Twelve test records, three a class."""
    index = stratified(records.labels, test_part, LIMIT, seed=0)
    assert np.bincount(records.labels[index]).tolist() == [3, 3, 3, 3]
    return index


def test_scores_merge_by_profile_and_budget(scores: dict[str, Any]) -> None:
    """A budget beside the others, then one in place of itself; taken away again, all is as before."""
    other = {**scores, "rows": [{**one, "eps_uv": 4.0} for one in scores["rows"][4:]], "checks": []}
    other["differences"] = [{**one, "eps_uv": 4.0} for one in scores["differences"][2:]]
    both = merged({**scores, "seeds": [1]}, other)
    assert [(one["profile"], one["eps_uv"]) for one in both["rows"]] == (
        [("paper", EPS)] * 4 + [("strict", 4.0)] * 4 + [("strict", EPS)] * 4
    )
    assert [one["form"] for one in both["rows"]] == [*FORMS] * 3
    windows = scores["stream"]["compared"] + STRICT_ROWS * LIMIT
    assert both["stream"] == {"compared": windows, "equal": windows}
    assert (both["checks"], both["seeds"]) == (scores["checks"], [1])
    assert merged(both, other) == both
    assert restricted(both, [Trial("paper", EPS), Trial("strict", EPS)]) == {**scores, "seeds": [1]}


def test_the_stream_is_the_int8_file(scores: dict[str, Any], row: Row, test_part: np.ndarray) -> None:
    """Clean, PGD and SAP; then clean, eighteen attacks by two networks, and the search."""
    windows = 3 * len(test_part) + STRICT_ROWS * LIMIT
    assert scores["stream"] == {"compared": windows, "equal": windows}
    for profile, own in (("paper", 3 * len(test_part)), ("strict", STRICT_ROWS * LIMIT)):
        streamed = {**row("int8-streaming", profile), "form": "int8"}
        assert streamed.pop("stream") == {"compared": own, "equal": own}
        assert streamed == row("int8", profile)


def test_another_stream_is_told_apart(forms: Forms, records: Dataset, tmp_path: Path) -> None:
    """With another bias all of its logits are different, and its row is that of a file that always says O."""
    graph = onnx.load(forms.streaming)
    (bias,) = (one for one in graph.graph.initializer if one.data_type == 1 and list(one.dims) == [4])
    bias.CopyFrom(numpy_helper.from_array(np.array([0, 0, 99, 0], np.float32), bias.name))
    onnx.save(graph, tmp_path / "other.onnx")
    other = score_forms(replace(forms, streaming=tmp_path / "other.onnx"), records, [Trial("paper", EPS, LIMIT)])
    assert other["stream"] == {"compared": 3 * LIMIT, "equal": 0}
    (row,) = (row for row in other["rows"] if row["form"] == "int8-streaming")
    assert {name: one["value"] for name, one in row["recall"].items()} == {"N": 0, "A": 0, "O": 1, "~": 0}


def test_the_worst_case_is_no_better_than_any_attack(scores: dict[str, Any]) -> None:
    for row in scores["rows"]:
        least = min(row[name]["accuracy"]["value"] for name in ("clean", "pgd", "sap"))
        assert row["worst_case"]["accuracy"]["value"] <= least
        assert all(row[name]["accuracy"]["n"] == row[name]["f1"]["n"] == row["n"] for name in ("clean", *ATTACKED))
    strict, paper = (judged_rows(scores, profile) for profile in ("strict", "paper"))
    assert all(row["worst_case"]["accuracy"]["value"] < row["clean"]["accuracy"]["value"] for row in strict + paper)


def test_recalls_weighted_by_their_classes_are_the_worst_case(
    scores: dict[str, Any], records: Dataset, test_part: np.ndarray
) -> None:
    for row, index in zip(scores["rows"], [test_part] * 4 + [limited(records, test_part)] * 4, strict=True):
        counts = np.bincount(records.labels[index], minlength=4)
        assert [rate["n"] for rate in row["recall"].values()] == counts.tolist() and list(row["recall"]) == [*"NAO~"]
        right = sum(rate["value"] * rate["n"] for rate in row["recall"].values())
        assert right / len(index) == pytest.approx(row["worst_case"]["accuracy"]["value"])
        assert len({rate["value"] for rate in row["recall"].values()}) > 1


def test_differences_are_int8_less_another_form(scores: dict[str, Any], row: Row) -> None:
    found = [(one["profile"], one["eps_uv"], one["form"], one["reference"]) for one in scores["differences"]]
    assert found == [(profile, EPS, "int8", other) for profile in ("paper", "strict") for other in ("torch", "fp32")]
    for one in scores["differences"]:
        int8, other = (row(one[key], one["profile"]) for key in ("form", "reference"))
        for name in ("clean", "worst_case"):
            expected = int8[name]["accuracy"]["value"] - other[name]["accuracy"]["value"]
            assert one[name]["difference"] == pytest.approx(expected)
            assert one[name]["n"] == int8["n"] and one[name]["low"] <= one[name]["difference"] <= one[name]["high"]


def test_a_difference_is_told_record_by_record(
    scores: dict[str, Any], forms: Forms, records: Dataset, test_part: np.ndarray
) -> None:
    """The int8 file is right on fewer records than its run."""
    attacks, right = portfolio(eps=EPS), []
    for form, gradients in ((forms.int8, ("twin",)), (forms.torch, None)):
        contender = open_contender(form, None, attacks, gradients=gradients)
        (one,) = evaluate_contenders([contender], records, test_part, attacks)
        right.append(one.worst_case() == one.labels)
    found = next(one for one in scores["differences"] if (one["profile"], one["reference"]) == ("paper", "torch"))
    assert found["worst_case"] == paired_difference(*right) and found["worst_case"]["difference"] < 0


def test_the_checks_are_those_of_the_int8_file(scores: dict[str, Any], forms: Forms, records: Dataset) -> None:
    alone = evaluate_model(forms.int8, data=records, profile="paper", eps=EPS, gradients=("twin",))
    assert scores["checks"] == alone.to_json()["checks"] and len(scores["checks"]) > 5


def test_without_a_budget_nothing_falls(forms: Forms, records: Dataset) -> None:
    found = score_forms(forms, records, [Trial("paper", 0.0)])
    assert len(found["rows"]) == 4 and found["checks"] == []
    for row in found["rows"]:
        assert row["pgd"] == row["sap"] == row["worst_case"] == row["clean"]
    assert all(one["worst_case"] == one["clean"] for one in found["differences"])


def test_no_more_records_are_judged_than_asked_for(forms: Forms, records: Dataset, test_part: np.ndarray) -> None:
    found = score_forms(forms, records, [Trial("paper", EPS, 5), Trial("paper", EPS, 1000)])
    assert [row["n"] for row in found["rows"]] == [5] * 4 + [len(test_part)] * 4
    assert found["stream"]["compared"] == 3 * (5 + len(test_part))


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_is_not_there_is_refused(forms: Forms, records: Dataset, tmp_path: Path, form: str) -> None:
    gone = replace(forms, **{form.removeprefix("int8-"): tmp_path / "gone.onnx"})
    with pytest.raises(InputError, match=r"gone\.onnx"):
        score_forms(gone, records, [Trial("paper", EPS)])
