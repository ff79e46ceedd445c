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
