"""Results as tables, and on one line."""

import sys
from pathlib import Path

import numpy as np
import pytest
from audits import example_audit

import edgeguard
from edgeguard.errors import InputError
from edgeguard.evaluation.audit.result import Rate
from edgeguard.evaluation.frames import frame
from edgeguard.evaluation.run_export import ExportResult
from edgeguard.evaluation.run_training import TrainingResult, Validation
from edgeguard.evaluation.run_verification import Verification
from edgeguard.export.rung import Rung
from edgeguard.report.attack_result import AttackResult, CurvePoint
from edgeguard.report.run_reproduction import ReproductionResult


def test_a_rate_fills_three_columns() -> None:
    table = frame([{"name": "a", "accuracy": Rate(0.5, 0.25, 0.75, 8)}, {"name": "b", "accuracy": None}])
    assert table.columns.tolist() == ["name", "accuracy", "accuracy_low", "accuracy_high"]
    assert table.iloc[0].tolist() == ["a", 0.5, 0.25, 0.75] and np.isnan(table.iloc[1]["accuracy"])


def test_pandas_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match="pip install pandas"):
        edgeguard.plan(discordant=(0.03,)).to_frame()


def test_an_audits_scores_are_a_table_and_its_repr_is_short(tmp_path: Path) -> None:
    audit = example_audit()
    table = audit.to_frame()
    assert len(table) == len(audit.scores) > 0
    assert table["accuracy_high"].tolist() == [score.accuracy.high for score in audit.scores]
    assert audit.verdict in repr(audit) and len(repr(audit)) < 400 and "\n" not in repr(audit)


def test_a_plan_is_a_table() -> None:
    plan = edgeguard.plan(discordant=(0.01, 0.03))
    table = plan.to_frame()
    assert table["records"].tolist() == [row.records for row in plan.rows] == [390, 715]


def test_an_attacks_curve_is_a_table() -> None:
    def point(queries: int, median: float | None) -> CurvePoint:
        return CurvePoint(median, median, (median, median), (median, median), {"10": Rate(0, 0, 0.4, 7)}, queries, {})

    result = AttackResult(
        *("file.onnx", "0" * 64, "smooth-geo", {}, "synthetic:9", 0, 9, 7, 2, 2000, 9000, 1.0, {}),
        *((point(10, None), point(2000, 412.0)), {}, {}, ()),
    )
    table = result.to_frame()
    assert table["queries"].tolist() == [10, 2000] and table["median_linf_uv"].tolist()[1] == 412
    assert table["success_10_high"].tolist() == [0.4, 0.4] and (table["n"] == 7).all()
    assert repr(result) == (
        "AttackResult(file.onnx, smooth-geo: 7 of 9 records attacked, 2,000 queries each; median 412 uV L-inf)"
    )


def test_results_print_on_one_line() -> None:
    rung = Rung("twin", False, 0.5, "share of rows that are equal")
    results = {
        "holds": Verification("file.onnx", "0" * 64, True, (rung,)),
        "does not hold (twin)": Verification("file.onnx", "0" * 64, False, (rung,)),
        "1 + 2 epochs; validation accuracy 0.750": TrainingResult(
            "runs/a", "adt", "edge-s", "fast", 3, 31_000, (1, 2), 9.0, 8, 24, Validation(0.75, 0.7)
        ),
        "int8 b.onnx; 0 checks": ExportResult("a.onnx", "b.onnx", None, {}, None, (), {}, {}),
        "tables: none": ReproductionResult({}, {}, {}),
    }
    for words, result in results.items():
        assert words in repr(result) and "\n" not in repr(result) and len(repr(result)) < 200
    assert results["holds"].to_frame()["name"].tolist() == ["twin"]
