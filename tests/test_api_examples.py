"""Every example of docs/api.md runs, in order, in one namespace, as a reader would type it."""

import re
from pathlib import Path
from typing import Any

import pytest
from short_work import SHORT, STRICT

from edgeguard.evaluation.audit.result import Audit, Rate
from edgeguard.evaluation.audit.sizes import SIZES, Size
from edgeguard.evaluation.plan import Plan
from edgeguard.evaluation.result import EvaluationResult
from edgeguard.evaluation.run_simulation import Simulation
from edgeguard.evaluation.run_verification import Verification

DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of its own, and an audit of a few records, steps and checks."""
    monkeypatch.setitem(SIZES, "quick", Size(8, "strict", 3, 20, 4, 5, 60.0, 8, 1))
    monkeypatch.setattr(STRICT, SHORT)
    monkeypatch.setattr("edgeguard.evaluation.audit.findings.check_budgets", lambda *_, **__: [])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_examples_run(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {}
    for number, example in enumerate(EXAMPLES):
        exec(compile(example, f"{DOCUMENT.name}, example {number + 1}", "exec"), names)
    printed = capsys.readouterr().out
    assert "no-such-file.onnx: neither a run folder nor an ONNX file; check the path" in printed
    result, compared = names["result"], names["compared"]
    assert isinstance(result, EvaluationResult) and isinstance(result.worst_case.accuracy, Rate) and result.n == 8
    assert compared.compare.verdict in ("survives", "degraded", "inconclusive")
    assert names["arrays"].attacks[0].accuracy.n == 8 and len(names["mine"].checks) == 13
    assert isinstance(names["plan"], Plan) and names["plan"].rows[0].records == 715
    assert isinstance(names["proof"], Verification) and names["proof"].holds
    assert isinstance(names["watch"], Simulation) and names["watch"].result.decisions == 31
    assert isinstance(names["audit"], Audit) and (small / "audit" / "report.html").is_file()
    assert Path(names["files"].int8).is_file() and not (small / "runs" / "reproduce").exists()
