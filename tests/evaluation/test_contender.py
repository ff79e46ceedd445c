from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from edgeguard.ecg.dataset import Dataset
from edgeguard.ecg.split import split
from edgeguard.errors import InputError
from edgeguard.evaluation.contender import check_fit, open_contender, records_for_all
from edgeguard.evaluation.portfolio import portfolio
from edgeguard.models.run import Run
from edgeguard.runtime.files import write_json

MakeRun = Callable[..., Run]
WriteFile = Callable[..., Path]
ATTACKS = portfolio(("clean", "pgd"))


def test_a_run_crafts_against_itself_unless_a_source_is_named(make_run: MakeRun):
    run, other = make_run(), make_run("other", seed=1, defense="adt")
    own = open_contender(run.path, None, ATTACKS)
    assert own.crafter is not None and own.crafter.path == run.path
    assert (own.situation, own.title) == ("II", "none")
    transferred = open_contender(other.path, run.path, ATTACKS)
    assert transferred.crafter is not None and transferred.crafter.path == run.path
    assert (transferred.situation, transferred.title) == ("I", "adt")
    assert open_contender(make_run("twin").path, run.path, ATTACKS).situation == "II"


def no_twin(*_: object, **__: object) -> nn.Module:
    raise InputError("stranger.onnx: operator Erf (node erf, opset 21) is not in the twin")


def test_a_stranger_is_attacked_through_its_twin(write_file: WriteFile):
    file = write_file("stranger.onnx")
    stranger = open_contender(file, None, ATTACKS)
    assert (stranger.situation, stranger.title, stranger.crafter) == ("II", "stranger.onnx", None)
    assert [source.name for source in stranger.sources] == ["twin"] and stranger.note is None
    with pytest.raises(InputError, match=r"Erf .*; or craft on another network with --source RUN"):
        open_contender(file, None, ATTACKS, build=no_twin)
    assert open_contender(file, None, ATTACKS[:1], build=no_twin).sources == ()


def test_a_file_whose_twin_cannot_be_built_falls_back_on_its_run(make_run: MakeRun, write_file: WriteFile):
    run = make_run()
    beside = open_contender(write_file("run/a.onnx", run), None, ATTACKS, build=no_twin)
    assert [source.name for source in beside.sources] == ["parent"] and beside.situation == "II"
    assert beside.note is not None and beside.note.endswith(
        "Erf (node erf, opset 21) is not in the twin; crafting on its float run alone"
    )
    with pytest.raises(InputError, match="Erf"):
        open_contender(run.path / "a.onnx", None, ATTACKS, gradients=("twin",), build=no_twin)


def test_files_craft_in_their_own_situation(make_run: MakeRun, write_file: WriteFile):
    run = make_run()
    beside, stranger = write_file("run/a.onnx", run), write_file("b.onnx")
    assert open_contender(run.path, beside, ATTACKS).situation == "II"
    assert open_contender(run.path, stranger, ATTACKS).situation == "I"
    assert open_contender(stranger, beside, ATTACKS).situation == "I"
    assert open_contender(stranger, stranger, ATTACKS).situation == "II"


@pytest.mark.parametrize("which", ["subject", "crafting"])
def test_data_of_another_window_or_other_classes_are_refused(make_run: MakeRun, dataset: Dataset, which: str):
    fits = open_contender(make_run().path, None, ATTACKS)
    dataset = replace(dataset, classes=fits.subject.classes)
    check_fit([fits, fits], dataset)
    for change in ({"window": 60}, {"classes": ("N", "A")}, {"sampling_rate": 250.0}):
        spec = replace(fits.subject.spec, **change)
        spoilt = replace(fits, **{which: replace(fits.subject, name="it", spec=spec)})
        with pytest.raises(InputError, match=r"^it: takes .*; noise has 120 samples at 300 Hz of classes N,A,O,~"):
            check_fit([fits, spoilt], dataset)


def test_one_contender_is_judged_as_it_may_be_alone(make_run: MakeRun, dataset: Dataset):
    one = open_contender(make_run().path, None, ATTACKS)
    index, which = records_for_all([one], dataset, part="test")
    np.testing.assert_array_equal(index, split(dataset, seed=0).test)
    assert which == f"{len(index)} test records, {90 - len(index)} seen ones left out"
    few, which = records_for_all([one], dataset, part="test", limit=4, seed=1)
    assert len(few) == 4 and set(few) <= set(index) and which.endswith(", 4 of them")
    assert len(records_for_all([one], dataset, part="all")[0]) == 90


def test_two_contenders_are_compared_on_what_neither_has_seen(make_run: MakeRun, dataset: Dataset):
    fractions = {"fractions": [0.4, 0.1, 0.5], "test_records": None}
    runs = [make_run(f"r{seed}", split={"seed": seed, **fractions}) for seed in (0, 1)]
    pair = [open_contender(run.path, None, ATTACKS) for run in runs]
    tests = [set(split(dataset, seed=seed, fractions=(0.4, 0.1, 0.5)).test.tolist()) for seed in (0, 1)]
    index, which = records_for_all(pair, dataset, part="test")
    assert set(index.tolist()) == tests[0] & tests[1] and 0 < len(index) < min(map(len, tests))
    assert which == f"{len(index)} records that neither has seen in training or validation"
    with pytest.raises(InputError, match="--split all: a comparison is on records that neither has seen; leave it out"):
        records_for_all(pair, dataset, part="all")


def test_nothing_left_for_both_is_refused(make_run: MakeRun, dataset: Dataset):
    strange = {"data": {"fingerprint": "0" * 64, "source": "elsewhere"}}
    runs = [make_run("first", **strange), make_run("second", **strange)]
    write_json(runs[0].path / "split.json", {"train": [f"R{i:02d}" for i in range(50)], "validation": []})
    write_json(runs[1].path / "split.json", {"train": [], "validation": [f"R{i:02d}" for i in range(50, 90)]})
    pair = [open_contender(run.path, None, ATTACKS) for run in runs]
    with pytest.raises(InputError, match=r"first and .*second have seen every record between them; give other data"):
        records_for_all(pair, dataset, part="test")
