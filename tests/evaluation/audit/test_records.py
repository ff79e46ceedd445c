"""Which records an audit judges, and when they are too few."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from wave_run import FACTS, MEANS, float_file, wave_records

from edgeguard.attacks.campaign import load_windows
from edgeguard.ecg.cinc_writer import write_cinc
from edgeguard.ecg.origin import Named
from edgeguard.ecg.split import split
from edgeguard.errors import InputError
from edgeguard.evaluation.audit.forms import Forms, open_forms
from edgeguard.evaluation.audit.records import Records, choose_records, data_checks
from edgeguard.evaluation.audit.result import DataFacts
from edgeguard.evaluation.audit.thresholds import load_thresholds
from edgeguard.evaluation.audit.verdict import export_verdict
from edgeguard.evaluation.paired import tango

Waves = tuple[Path, Path]


def opened(model: Path, out: Path, **facts: object) -> Forms:
    return open_forms(model, None, profile="strict", out=out, data=(None, None), say=lambda line: None, **facts)


def chosen(forms: Forms, data: Path, limit: int | None = None, calibration: int = 99) -> Records:
    return choose_records(
        forms, load_windows(forms.file, Named(str(data))), limit=limit, calibration=calibration, seed=0
    )


def facts_of(n: int, **by_class: int) -> DataFacts:
    return DataFacts("here", "f", n, "all", by_class or {"N": n})


def test_the_test_part_is_judged_and_the_validation_part_calibrates(waves: Waves, tmp_path: Path) -> None:
    records = chosen(opened(waves[0], tmp_path), waves[1])
    parts = split(records.dataset, seed=0, fractions=(0.4, 0.2, 0.4))
    np.testing.assert_array_equal(records.index, parts.test)
    np.testing.assert_array_equal(records.calibration, parts.validation)
    few = chosen(opened(waves[0], tmp_path), waves[1], limit=8, calibration=4)
    assert set(few.index) < set(parts.test) and len(few.index) == 8 and "8 of them" in few.part
    assert np.bincount(few.labels).tolist() == [2, 2, 2, 2] and len(few.calibration) == 4
    assert few.digest != records.digest == chosen(opened(waves[0], tmp_path), waves[1]).digest


def test_other_data_are_judged_whole_and_calibrate_nothing(waves: Waves, tmp_path: Path) -> None:
    write_cinc(tmp_path / "other", wave_records(20, seed=3))
    records = chosen(opened(waves[0], tmp_path), tmp_path / "other")
    assert len(records.index) == 20 and len(records.calibration) == 0 and records.part.endswith("is unknown")


def test_classes_are_those_of_the_file_in_its_order(waves: Waves, tmp_path: Path) -> None:
    two = MEANS.replace("FACTOR", "1").replace("float[batch,4]", "float[batch,2]")
    two = two.replace("float[4] bias = {0, 0, -1, -1}", "float[2] bias = {0, 0}")
    two = two.replace("float[1,4] weight = {1, -1, 0.5, -0.5}", "float[1,2] weight = {1, -1}")
    onnx.save(onnx.parser.parse_model(two), tmp_path / "two.onnx")
    records = chosen(opened(tmp_path / "two.onnx", tmp_path, **{**FACTS, "classes": ["A", "N"]}), waves[1])
    assert records.facts().by_class == {"A": 18, "N": 18}
    assert "36 of classes that the file lacks left out" in records.part
    true = [record.label for record in sorted(wave_records(72), key=lambda record: record.name)]
    assert [records.dataset.classes[label] for label in records.labels] == [one for one in true if one in "NA"]


def test_data_without_any_class_of_the_file_are_refused(waves: Waves, tmp_path: Path) -> None:
    forms = opened(float_file(tmp_path), tmp_path, **{**FACTS, "classes": ["w", "x", "y", "z"]})
    with pytest.raises(InputError, match="are none of"):
        chosen(forms, waves[1])


@pytest.mark.parametrize("size", ["default", "quick"])
def test_the_least_number_is_where_the_margin_can_be_decided(size: str) -> None:
    """Without a discordant record Tango's interval clears the margin from that number on, and not before."""
    demands = load_thresholds(size=size)
    (least,) = {int(check.bar or 0) for check in data_checks(facts_of(1000), demands) if check.name == "records"}
    assert tango(0, 0, least)[0] >= -demands.margin > tango(0, 0, least - 1)[0]
    below, enough = (data_checks(facts_of(n), demands)[0] for n in (least - 1, least))
    assert (enough.holds, enough.needed) == (True, None)
    assert (below.holds, below.needed) == (None, least) and f"{least} needed" in below.reason


@pytest.mark.parametrize("size", ["default", "quick"])
def test_too_few_records_and_a_class_without_any_are_inconclusive(size: str) -> None:
    demands = replace(load_thresholds(size=size), class_records=2)
    for facts in (facts_of(8), facts_of(900, N=899, A=1), facts_of(900, N=900, A=0)):
        found = export_verdict(data_checks(facts, demands), size=size, compared=True)
        assert found.verdict == "inconclusive" and len(found.reasons) == 1
    assert found.reasons[0].startswith("0 records of class A, 2 needed") and "give data" in found.reasons[0]
    enough = data_checks(facts_of(900, N=898, A=2), demands)
    assert export_verdict(enough, size="quick", compared=True).verdict == "survives"
